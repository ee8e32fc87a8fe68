"""The asynchronous reply: AsyncStream, and what drives its call. The twins in stream.py differ by ``await``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .base import BaseStream
from .core.call import Call
from .core.failures import closed_by_caller
from .core.replies import AnswerReader
from .errors import AIChatFreeError
from .transports.aiohttp_exchange import AiohttpExchange
from .transports.aiohttp_transport import AiohttpTransport

if TYPE_CHECKING:
    from .async_client import AsyncClient


class AsyncStream(BaseStream):
    """A reply as it arrives: iterate over it for its pieces, which are never empty and never half a character.

    Leaving a loop early, dropping the stream, cancelling its task, :meth:`aclose` and the end of ``async with`` all
    close the connection. Made by :meth:`AsyncClient.stream`.
    """

    def __init__(self, client: AsyncClient, call: Call, begin: Callable[[BaseStream], None] | None = None) -> None:
        super().__init__(call, begin)
        self._client = client
        self._line = _Line()
        self._pieces = _run(call, self._line, client._transport)
        self._started = False

    def __aiter__(self) -> AsyncStream:
        return self

    def __anext__(self) -> Coroutine[Any, Any, str]:
        if not self._started:
            self._start()
        return self._pieces.__anext__()

    def _start(self) -> None:
        if not self._line.closed:
            self._client._check_open()
            if self._begin is not None:
                self._begin(self)
        self._started = True

    async def until_done(self) -> str:
        """Receive the rest.

        Returns:
            The whole text, from its first piece.

        Raises:
            AIChatFreeError: The reply is not whole, be it that the stream was closed before.
        """
        if not self._started:
            self._start()
        async for _ in self._pieces:
            pass
        return self._whole_text()

    @property
    def closed(self) -> bool:
        """Whether the stream has ended or was closed."""
        return self._line.closed

    async def aclose(self) -> None:
        """Close the connection. A task that is reading is unblocked, and gets a StreamInterruptedError."""
        self._line.close()
        try:
            await self._pieces.aclose()
        except RuntimeError:
            pass  # it is running in another task, and ends there

    async def __aenter__(self) -> AsyncStream:
        if not self._started:
            self._start()
            self._line.opening = True
            await anext(self._pieces, "")  # as far as the answer's headers
            self._line.opening = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _Line:
    """What of a running call can be interrupted by another task: its exchange, or the wait before it."""

    def __init__(self) -> None:
        self.closed = False
        self.opening = False
        self.exchange: AiohttpExchange | None = None
        self._alarm: asyncio.Event | None = None

    async def pause(self, seconds: float) -> None:
        if seconds > 0:
            self._alarm = asyncio.Event()
            if not self.closed:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._alarm.wait(), seconds)

    def close(self) -> None:
        self.closed = True
        if self._alarm is not None:
            self._alarm.set()
        if self.exchange is not None:
            self.exchange.abort()


async def _run(call: Call, line: _Line, transport: AiohttpTransport) -> AsyncGenerator[str]:
    """Drive a call. While the line is opening, "" is yielded once the headers of the answer are there.

    It knows nothing of its Stream, so that a dropped stream is freed, and its connection closed, at once.
    """
    flow = call.start()
    attempt = next(flow)
    try:
        while True:
            reader: AnswerReader | None = None
            await line.pause(attempt.delay)
            exchange = line.exchange = transport.exchange(call.sending(attempt), call.deadline)
            try:
                try:
                    if line.closed or transport.users <= 0:  # or the client was, while this waited for its next try
                        raise closed_by_caller()
                    await exchange.send()
                    reader = call.answered(exchange)
                    if line.opening and call.status_code == 200:
                        yield ""
                    async for data in exchange:
                        if text := reader.feed(data):
                            yield call.give(text)
                    if text := reader.finish():
                        yield call.give(text)
                    call.finish()
                    return
                except AIChatFreeError as error:
                    if reader is not None and (text := reader.flush(error)):
                        yield call.give(text)
                    raise
                finally:
                    exchange.close()
            except AIChatFreeError as error:
                call.failed(error)
                if line.closed or transport.users <= 0:  # closed, or nobody is left who would close a new connection
                    raise
                attempt = flow.throw(error)
                call.restart()
    finally:
        line.closed = True
        call.end()
