"""One connection of a `ScriptedServer`: requests are read, and the steps of their replies carried out."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable

from aichatfree.testing.recorded import Headers
from aichatfree.testing.reply import Pause
from aichatfree.testing.wire import Close, Step

__all__ = ["Connection", "Request"]

HEADERS_LIMIT = 1 << 20
TLS_GOODBYE_SECONDS = 0.2


class BadRequestError(Exception):
    """What came is no HTTP request."""


class Request:
    """A request just read: method, target, headers and body."""

    def __init__(self, method: str, target: str, headers: Headers, body: bytes) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to use the connection again."""
        return self.headers.get("connection", "").lower() != "close"


class Connection(asyncio.StreamReaderProtocol):
    """Serves one connection in a task of its own, which ends when the client goes away.

    Args:
        answer: Called with the connection and each request; gives the steps of the reply.
        idle_seconds: How long to wait for a further request.
        on_open: Called with the connection when it is there.
        on_idle: Called with the connection when it has answered and waits for the next request.
        on_close: Called with the connection when it is gone.
    """

    def __init__(
        self,
        answer: Callable[[Connection, Request], Iterable[Step]],
        idle_seconds: float,
        on_open: Callable[[Connection], None],
        on_idle: Callable[[Connection], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        # A plain function as callback: the task is made there, so that it can be cancelled when the client goes.
        super().__init__(asyncio.StreamReader(limit=HEADERS_LIMIT), self._begin)
        self._answer = answer
        self._idle_seconds = idle_seconds
        self._on_open = on_open
        self._on_idle = on_idle
        self._on_close = on_close
        self._serving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.number = 0
        self.gone = asyncio.Event()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._tls = writer.get_extra_info("sslcontext") is not None
        # No buffer: what has been drained is with the kernel, and a reset right after it takes nothing back.
        # (Not 0: TLS transports would then count as full when they are empty.)
        writer.transport.set_write_buffer_limits(high=1)
        self._on_open(self)
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    def eof_received(self) -> bool:
        """An end from the client is its going away: HTTP clients do not close one half."""
        super().eof_received()
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the task, wherever it waits."""
        super().connection_lost(exc)
        self.gone.set()
        self._on_close(self)
        self._stop_timer()
        if self._serving is not None:
            self._serving.cancel()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._writer.transport.abort()

    async def _serve(self) -> None:
        try:
            request = await self._read_request()
            while await self._perform(self._answer(self, request)):
                self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._hang_up)
                self._on_idle(self)
                request = await self._read_request()
        except (OSError, EOFError, BadRequestError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close in order, when all is sent."""
        transport = self._writer.transport
        if self._tls and not transport.is_closing():
            # TLS would wait half a minute for the client to say goodbye as well.
            self._timer = asyncio.get_running_loop().call_later(TLS_GOODBYE_SECONDS, transport.abort)
        self._writer.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _perform(self, steps: Iterable[Step]) -> bool:
        """Carry out the steps; False if they closed the connection."""
        for number, step in enumerate(steps):
            if isinstance(step, bytes):
                self._writer.write(step)
                await self._writer.drain()
                if number % 16 == 15:
                    # Draining hardly ever waits: an endless reply would never let anything else run.
                    await asyncio.sleep(0)
            elif isinstance(step, Pause):
                await (asyncio.sleep(step.seconds) if step.seconds is not None else asyncio.Event().wait())
            else:
                self._close(step)
                return False
        return True

    def _close(self, close: Close) -> None:
        if close.reset:
            # Lingering for 0 seconds makes closing a socket send a RST.
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._writer.transport.abort()
        else:
            self._hang_up()

    async def _read_request(self) -> Request:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self._stop_timer()
        first, *lines = head[:-4].split("\r\n")
        words = first.split(" ")
        if len(words) != 3:
            raise BadRequestError(first)
        fields = (line.partition(":") for line in lines)
        headers = Headers((name.strip(), value.strip()) for name, _, value in fields)
        return Request(words[0], words[1], headers, await self._read_body(headers))

    async def _read_body(self, headers: Headers) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            return await self._reader.readexactly(_number(headers.get("content-length", "0"), 10))
        chunks = []
        while size := _number((await self._reader.readuntil(b"\r\n")).decode("latin-1").split(";")[0], 16):
            chunks.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(chunks)


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError as exc:
        raise BadRequestError(f"not a number: {text!r}") from exc
    if number < 0:
        raise BadRequestError(f"a negative length: {text!r}")
    return number
