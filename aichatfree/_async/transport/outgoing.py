"""How a request goes out: on which connection, and as one block. What is private to aiohttp has its canary in hooks."""

from __future__ import annotations

import asyncio
import inspect
import io
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from multidict import CIMultiDict

from ..._core.wire import requests as wire
from .sockets import read_before_the_end

LARGE_BODY = 1024 * 1024
"""Bytes of a request from which aiohttp wants a file instead of one bytes object."""

SMALL_BODY = 64 * 1024
"""Bytes of a request that a socket buffers as a whole. To join more to its head would cost more than another write."""

WRITE_SIZE = 256 * 1024
"""Bytes of a request that are written at once, and of a larger one at a time."""

SEND = next((name for name in ("send", "_send") if hasattr(aiohttp.ClientRequest, name)), None)
"""Where a request goes out: ``send`` in aiohttp 3, ``_send`` in its main branch."""

_AT_ONCE = [*inspect.signature(aiohttp.ClientResponse.__init__).parameters] == [
    *("self", "method", "url", "writer", "continue100", "timer", "request_info", "traces", "loop", "session"),
    "stream_writer",
]
"""Whether a response can be made here; else aiohttp sends as it always does."""


class Sending(Protocol):
    """A request on its way, which learns of its connection."""

    @property
    def request(self) -> wire.Request:
        """What is sent."""
        ...

    @property
    def crowded(self) -> bool:
        """Whether others are about to go out, or wait for their answers."""
        ...

    def expect(self) -> None:
        """A connection was found: :meth:`connected` must follow before anything is waited for."""

    def connected(self, connection: Any) -> None:
        """The request is about to go out on ``connection``."""

    def check_idle(self) -> None:
        """Raise where the connection has ended, or something has come on it, before the request went out."""


current: ContextVar[list[Sending]] = ContextVar("aichatfree_sending")
"""What this task is sending: aiohttp has no way to hand anything to a request. It is in a list, which is emptied after
the sending: a connection that is made then keeps the context of its making for life."""


class Request(aiohttp.ClientRequest):
    """A request that tells who sends it when, and on which connection, it goes out, and goes out as one block."""

    def update_headers(self, headers: Any) -> None:
        """Take the headers of a request: as aiohttp does, but all at once."""
        if headers and "Host" not in headers:
            self.headers = CIMultiDict({"Host": self.url.host_port_subcomponent or ""})
            self.headers.extend(headers)
        else:
            super().update_headers(headers)

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
                return await self._go_at_once(connection, sending)
        assert SEND is not None
        return await getattr(super(), SEND)(connection)

    async def _go_at_once(self, connection: Any, sending: Sending) -> aiohttp.ClientResponse:
        """As aiohttp sends, but without a task that writes the body, where it is small."""
        body = sending.request.body
        protocol = connection.protocol
        if connection._connector.force_close:
            self.headers["Connection"] = "close"
        head = self._head()
        if sending.crowded:
            # Those that are ready leave together: to wake the other end up for each costs more than the sending.
            await asyncio.sleep(0)
            sending.check_idle()
        writer = StreamWriter(protocol, self.loop)
        writer.output_size = len(head) + len(body)
        transport = protocol.transport
        task = None
        if len(body) <= SMALL_BODY:
            blocks = [b"".join((head, body))]
        else:
            read_before_the_end(transport)
            blocks = [head, body]
            if len(body) > WRITE_SIZE:
                blocks = [head]
                task = asyncio.create_task(_upload(connection, writer, body))
        for block in blocks:
            if transport is not None and not transport.is_closing():  # else it was lost a moment ago, as is read next
                transport.write(block)
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

    def _head(self) -> bytes:
        if self.proxy and not self.is_ssl():
            target = str(self.url)
        else:  # not raw_path_qs: yarl keeps that with the URL, and keeps many URLs
            target = f"{self.url.raw_path}{'?' if self.url.raw_query_string else ''}{self.url.raw_query_string}"
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        return f"{self.method} {target} HTTP/1.1\r\n{fields}\r\n".encode("latin-1")


if SEND is not None:
    setattr(Request, SEND, Request._goes_out)


async def _upload(connection: Any, writer: AbstractStreamWriter, body: bytes) -> None:
    """Write a body. Where that fails, the reader learns it when the connection ends, after what has arrived."""
    rest = memoryview(body)
    try:
        while rest and (transport := connection.transport) is not None and not transport.is_closing():
            transport.write(rest[:WRITE_SIZE])
            rest = rest[WRITE_SIZE:]
            await asyncio.sleep(0)  # for what has arrived meanwhile, be it the end, and for everybody else
            with suppress(ConnectionError):
                await writer.drain()
    except BaseException:  # cancelled: an answer has come already
        connection.close()
        raise
