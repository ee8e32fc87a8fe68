"""AsyncStream, and what drives its call."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType

from .._core.call import Call
from .._core.client import Share
from .._core.stream import BaseStream, Begin
from .._core.transport import AsyncExchange, AsyncTransport
from .._core.wire.interruption import closed_by_caller
from .._core.wire.replies import AnswerReader
from ..errors import AIChatFreeError
from .transport.waiting import Alarm


class AsyncStream(BaseStream):
    """A reply as it arrives: iterate over it for its pieces, which are never empty and never half a character.

    A loop over it ends only after a whole reply. Leaving the loop early, dropping the stream, cancelling its
    task, :meth:`aclose` and the end of ``async with`` all close the connection; whoever reads on after that gets a
    StreamInterruptedError. Made by :meth:`AsyncClient.stream`.
    """

    __module__ = "aichatfree"

    def __init__(self, call: Call, transport: AsyncTransport, share: Share, begin: Begin) -> None:
        super().__init__(call, begin)
        self._control = _Control(share)
        self._pieces = _run(call, self._control, transport)

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> str:
        if not self._started:
            self._start()
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            self._check_whole(lost=self._lost)
            raise
        except AIChatFreeError as error:
            self._hide_locals(error)
            raise
        except RuntimeError:
            if not self._control.closed:
                raise
            raise self._call.failed(closed_by_caller()) from None  # another task is closing it right now
        except BaseException:
            self._lost = True
            raise

    def _start(self) -> None:
        if not self._control.closed:
            self._begin(self)
        self._started = True

    async def until_done(self) -> str:
        """Receive the rest.

        Returns:
            The whole text, from its first piece.

        Raises:
            AIChatFreeError: The reply is not whole, even if only because the stream was closed before.
        """
        if not self._started:
            self._start()
        try:
            async for _ in self._pieces:
                pass
        except AIChatFreeError as error:
            self._hide_locals(error)
            raise
        except RuntimeError:
            if not self._control.closed:
                raise
            raise self._call.failed(closed_by_caller()) from None
        self._check_whole()
        return self._call.text

    @property
    def closed(self) -> bool:
        """Whether the stream has ended or was closed."""
        return self._control.closed

    async def aclose(self) -> None:
        """Close the connection. From another task, this unblocks a reader, who gets a StreamInterruptedError."""
        self._control.close()
        try:
            await self._pieces.aclose()
        except RuntimeError:
            pass  # it is running in another task, and ends there

    async def __aenter__(self) -> AsyncStream:
        if not self._started:
            self._start()
            self._control.opening = True
            try:
                await anext(self._pieces, "")  # as far as the answer's headers
            except AIChatFreeError as error:
                self._hide_locals(error)
                raise
            self._control.opening = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _Control:
    """What of a running call can be interrupted from elsewhere: its exchange, or the wait before it."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.closed = False
        self.opening = False
        self.exchange: AsyncExchange | None = None
        self._alarm: Alarm | None = None

    async def pause(self, seconds: float) -> None:
        self._alarm = Alarm()
        if not self.closed:
            await self._alarm.wait(seconds)

    def check(self) -> None:
        if self.closed or self.share.closed:
            raise closed_by_caller()

    def close(self) -> None:
        self.closed = True
        if self._alarm is not None:
            self._alarm.set()
        if self.exchange is not None:
            self.exchange.abort()


async def _run(call: Call, control: _Control, transport: AsyncTransport) -> AsyncGenerator[str, None]:
    """Drive a call. While it is opening, "" is yielded once the headers of the answer are there.

    It knows nothing of its AsyncStream, so that a dropped stream is freed, and its connection closed, at once.
    """
    share = control.share
    flow = call.start()
    attempt = next(flow)
    share.running.add(control)
    try:
        while True:
            reader: AnswerReader | None = None
            try:
                if attempt.delay > 0:
                    await control.pause(attempt.delay)
                control.check()
                exchange = control.exchange = transport.exchange(call.sending(attempt), call.deadline)
                try:
                    control.check()  # again: who closed it a moment ago has not seen this exchange
                    await exchange.send()
                    reader = call.answered(exchange)
                    if control.opening and call.status_code == 200:
                        yield ""
                    async for data in exchange:
                        if text := reader.feed(data):
                            yield call.emit(text)
                    if text := reader.finish():
                        yield call.emit(text)
                    call.finish()
                    return
                except AIChatFreeError as error:
                    if reader is not None and (text := reader.flush(error)):
                        yield call.emit(text)
                    raise
                finally:
                    await exchange.aclose()
            except AIChatFreeError as error:
                call.failed(error)
                attempt = flow.throw(error)
                call.restart()
    finally:
        control.closed = True
        share.running.discard(control)
        call.end()
