"""Everything that is private to aiohttp and is used here all the same.

aiohttp has no public way to learn on which connection a request goes out, to end a read that waits, or to read what
had arrived before an error. Each hook has a canary: where a newer aiohttp does not call it any more, the call fails
with :func:`unknown_aiohttp`, rather than wait without limit or take framing for text.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict, CIMultiDictProxy

from ..._core.wire.chunks import MAX_FIELDS, MAX_HEAD_BYTES
from ...errors import TransportError
from .framing import LARGE_READ_SIZE, READ_SIZE, Framing
from .outgoing import SEND, current
from .sockets import has_unsent, poller, set_read_size, underlying, unread

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
    if SEND is None:
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

    @property
    def used_up(self) -> bool:
        """Whether no request may go out: the connection has ended, or something has come that would be its answer."""
        return bool(self.should_close or (isinstance(self._parser, Framing) and self._parser.begun))

    @property
    def unsent(self) -> bool:
        """Whether part of the request has not gone out yet."""
        return has_unsent(self.transport)

    def read_more(self) -> None:
        """Nothing: how much a session that is not ours reads at a time is its own matter."""


class Handler(Watched):
    """The same, with the framing of this library."""

    turn = 0
    """How many requests it has been given to, ours or not, since it was adopted."""
    _reads_more = False
    _poll: Callable[[int], object] | None = None

    @property
    def stale(self) -> bool:
        """Whether something has come while the connection lay idle: its end, or bytes that nobody asked for."""
        if self.transport is None:
            return True
        if self._poll is None:
            self._poll = poller(self.transport)
        return bool(self._poll(0))

    def set_response_params(self, **options: Any) -> None:
        """Prepare for an answer."""
        self.turn += 1
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
            protocol = connection.protocol
            if not isinstance(protocol, Handler):
                adopt(connection)
                break
            if not protocol.stale:
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
