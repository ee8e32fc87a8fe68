"""Everything that is private to aiohttp and is used here all the same.

aiohttp has no public way to learn on which connection a request goes out, to end a read that waits, or to read what
had arrived before an error. Each hook has a canary: where a newer aiohttp does not call it any more, the call fails
with :func:`unknown_aiohttp`, rather than wait without limit or take framing for text.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import ssl
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from multidict import CIMultiDict, CIMultiDictProxy

from ...errors import TransportError
from .framing import LARGE_READ_SIZE, MAX_FIELDS, MAX_HEAD_BYTES, READ_SIZE, Framing
from .sockets import is_stale, read_before_the_end, set_read_size, underlying, unread

LARGE_BODY = 1024 * 1024
"""Bytes of a request from which aiohttp wants a file instead of one bytes object."""

SMALL_BODY = 64 * 1024
"""Bytes of a request that are written at once, and of a larger one at a time: sockets buffer about as much."""

_SEND = next((name for name in ("send", "_send") if hasattr(aiohttp.ClientRequest, name)), None)
"""Where a request goes out: ``send`` in aiohttp 3, ``_send`` in its main branch."""

_AT_ONCE = [*inspect.signature(aiohttp.ClientResponse.__init__).parameters] == [
    *("self", "method", "url", "writer", "continue100", "timer", "request_info", "traces", "loop", "session"),
    "stream_writer",
]
"""Whether a response can be made here; else aiohttp sends as it always does."""


class Sending(Protocol):
    """A request on its way, which learns of its connection."""

    @property
    def body(self) -> bytes:
        """What it carries."""
        ...

    def expect(self) -> None:
        """A connection was found: :meth:`connected` must follow before anything is waited for."""

    def connected(self, connection: Any) -> None:
        """The request is about to go out on ``connection``."""


current: ContextVar[list[Sending]] = ContextVar("aichatfree_sending")
"""What this task is sending: aiohttp has no way to hand anything to a request. It is in a list, which is emptied after
the sending: a connection that is made then keeps the context of its making for life."""


_to_proxies: ContextVar[list[Any]] = ContextVar("aichatfree_to_proxies")
"""The connection to a proxy that this task is making."""


def unknown_aiohttp(what: str) -> TransportError:
    """The exception where aiohttp is not what this library was written for."""
    return TransportError(
        f"aiohttp {aiohttp.__version__} is not known here ({what}), so that limits would not hold: "
        f"install another version of aiohttp, or of aichatfree"
    )


def check_hooks() -> None:
    """Refuse an aiohttp whose hooks are certain to have other names.

    Raises:
        TransportError: It is one.
    """
    if _SEND is None:
        raise unknown_aiohttp("ClientRequest.send is missing")
    for name in ("set_response_params", "data_received", "connection_lost", "force_close", "abort"):
        if not hasattr(ResponseHandler, name):
            raise unknown_aiohttp(f"ResponseHandler.{name} is missing")
    if not hasattr(aiohttp.StreamReader, "_read_nowait"):
        raise unknown_aiohttp("StreamReader._read_nowait is missing")


class Watched(ResponseHandler):
    """aiohttp's side of a connection, with an eye for how the connection ended."""

    ended = False
    """The other end has said that nothing more comes: under TLS too, where anybody on the way could cut it short."""

    def eof_received(self) -> None:
        """The other end sends nothing more."""
        super().eof_received()
        transport = self.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        try:
            self.ended = tls is None or tls.read(1) == b""  # b"" after a close_notify only
        except ssl.SSLError:
            self.ended = False

    def frame(self) -> None:
        """Read the next answer with :class:`Framing`."""
        if not hasattr(self._parser, "feed_data"):
            raise unknown_aiohttp("ResponseHandler has no parser")
        self._parser = Framing(self, self._parser)  # type: ignore[assignment]

    @property
    def framed(self) -> bool:
        """Whether what arrives is read with :class:`Framing`."""
        return isinstance(self._parser, Framing)

    def read_more(self) -> None:
        """Nothing: how much a session that is not ours reads at a time is its own matter."""


class Handler(Watched):
    """The same, with the framing of this library."""

    _reads_more = False

    def set_response_params(self, **options: Any) -> None:
        """Prepare for an answer."""
        early, self._tail = self._tail, b""  # what the server said before it was asked, such as "overloaded"
        super().set_response_params(**options)
        if hasattr(self._parser, "feed_data"):  # else it is complained of where that closes the connection
            self.frame()
        if early:
            self.data_received(early)

    def frame(self) -> None:
        """The same, and at the pace of small pieces again."""
        super().frame()
        if self._reads_more:
            self._reads_more = False
            set_read_size(self.transport, READ_SIZE)

    def read_more(self) -> None:
        """Read more at a time, as far as the end of this answer."""
        if not self._reads_more:
            self._reads_more = True
            set_read_size(self.transport, LARGE_READ_SIZE)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        parser: Any = self._parser
        if isinstance(exc, OSError) and self.transport is not None and self.framed and not parser.done:
            # Writing failed. The answer that tells why may lie there unread.
            for data in unread(self.transport):
                self.data_received(data)
        super().connection_lost(exc)


def adopt(connection: Any) -> None:
    """Make a :class:`Handler` of a connection's protocol; one of another make is left as it is."""
    protocol = connection.protocol
    if type(protocol) in (ResponseHandler, Watched):
        protocol.__class__ = Handler  # the connector has a fixed class for it
        set_read_size(protocol.transport, READ_SIZE)


def watch(connection: Any) -> None:
    """Make a :class:`Watched` of a connection's protocol, for a session that is not ours."""
    protocol = connection.protocol
    if type(protocol) is ResponseHandler:
        protocol.__class__ = Watched


class Noticed(aiohttp.BaseConnector):
    """What every connector of ours adds: it adopts connections, passes over stale ones, and tells who sends."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        """A connection for a request."""
        while True:
            connection = await super().connect(req, traces, timeout)
            known = isinstance(connection.protocol, Handler)
            adopt(connection)
            if not known or not is_stale(connection):
                break
            connection.close()
        for sending in current.get(()):
            sending.expect()
        return connection

    def __del__(self, _warnings: Any = None) -> None:
        """Say nothing: who made the connector closes what it holds."""


class Connector(Noticed, aiohttp.TCPConnector):
    """A connector of ours."""

    async def _create_proxy_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        """As aiohttp's, but what comes to nothing is gone at once: TLS would wait for the proxy to end it."""
        opened: list[Any] = []
        token = _to_proxies.set(opened)
        try:
            return await super()._create_proxy_connection(req, traces, timeout)
        except BaseException:
            for transport in opened:
                transport.abort()
            raise
        finally:
            _to_proxies.reset(token)

    async def _create_direct_connection(self, *args: Any, **kwargs: Any) -> Any:
        made: Any = await super()._create_direct_connection(*args, **kwargs)
        if (opened := _to_proxies.get(None)) is not None:
            opened.append(underlying(made[0]))
            made[1].set_response_params = partial(made[1].set_response_params, **session_options())
        return made


class Request(aiohttp.ClientRequest):
    """A request that tells who sends it when, and on which connection, it goes out, and goes out as one block."""

    def update_body_from_data(self, body: Any, *args: Any, **kwargs: Any) -> None:
        """Prepare the body. What is written at once needs no payload of aiohttp's."""
        if _AT_ONCE and isinstance(body, bytes) and current.get([]):
            self.headers["Content-Length"] = str(len(body))
        else:
            large = isinstance(body, bytes) and len(body) >= LARGE_BODY
            super().update_body_from_data(io.BytesIO(body) if large else body, *args, **kwargs)

    async def _goes_out(self, connection: Any) -> Any:
        for sending in current.get(()):
            sending.connected(connection)
            if _AT_ONCE:
                return await self._go_at_once(connection, sending.body)
        assert _SEND is not None
        return await getattr(super(), _SEND)(connection)

    async def _go_at_once(self, connection: Any, body: bytes) -> aiohttp.ClientResponse:
        """As aiohttp sends, but without a task that writes the body, where it is small."""
        protocol = connection.protocol
        writer = StreamWriter(protocol, self.loop)
        if connection._connector.force_close:
            self.headers["Connection"] = "close"
        if self.proxy and not self.is_ssl():
            target = str(self.url)
        else:  # not raw_path_qs: yarl keeps that with the URL, and keeps many URLs
            target = f"{self.url.raw_path}{'?' if self.url.raw_query_string else ''}{self.url.raw_query_string}"
        await writer.write_headers(f"{self.method} {target} HTTP/1.1", self.headers)
        task = None
        try:
            if len(body) <= SMALL_BODY:
                await writer.write(body, drain=False)
                writer.set_eof()
            else:
                writer.send_headers()
                read_before_the_end(protocol.transport)
                task = asyncio.create_task(_upload(connection, writer, body))
        except ConnectionError:
            pass  # the connection was lost a moment ago; what is said of that, or the answer, is read next
        response: Any = self.response_class
        return response(  # type: ignore[no-any-return]
            self.method,
            self.original_url,
            writer=task,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=[],
            loop=self.loop,
            session=self._session,
            stream_writer=writer,
        )


if _SEND is not None:
    setattr(Request, _SEND, Request._goes_out)


async def _upload(connection: Any, writer: AbstractStreamWriter, body: bytes) -> None:
    """Write a body. Where that fails, the reader learns it when the connection ends, after what has arrived."""
    rest = memoryview(body)
    try:
        while rest and (transport := connection.transport) is not None and not transport.is_closing():
            transport.write(rest[:SMALL_BODY])
            rest = rest[SMALL_BODY:]
            await asyncio.sleep(0)  # for what has arrived meanwhile, be it the end, and for everybody else
            with suppress(ConnectionError):
                await writer.drain()
    except BaseException:  # cancelled: an answer has come already
        connection.close()
        raise


def session_options() -> dict[str, Any]:
    """The bounds of heads, as far as this aiohttp has them."""
    known = inspect.signature(aiohttp.ClientSession.__init__).parameters
    wanted = {"max_line_size": MAX_HEAD_BYTES, "max_field_size": MAX_HEAD_BYTES, "max_headers": MAX_FIELDS}
    return {name: value for name, value in wanted.items() if name in known}


def arrived(content: aiohttp.StreamReader) -> bytes:
    """What had arrived before an error: aiohttp raises the error first, and has no public way to the bytes."""
    try:
        data: bytes = content._read_nowait(-1)
    except AssertionError:  # it is empty
        return b""
    return data


def middlewares_of(session: aiohttp.ClientSession) -> Sequence[Any]:
    """What a session does with each request; a request's own would replace that."""
    return tuple(getattr(session, "_middlewares", ()))


def loop_of(thing: aiohttp.ClientSession | aiohttp.BaseConnector) -> asyncio.AbstractEventLoop | None:
    """The loop that a session or connector belongs to."""
    return getattr(thing, "_loop", None)


def forget_headers(error: aiohttp.ClientResponseError) -> None:
    """Take the request's headers, which may bear credentials, from an error that shows them in its repr."""
    if error.request_info is not None:
        error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict()))
        error.args = (error.request_info, error.history)


def new_protocol(loop: asyncio.AbstractEventLoop) -> asyncio.Protocol:
    """What reads and writes on a new connection."""
    return ResponseHandler(loop)
