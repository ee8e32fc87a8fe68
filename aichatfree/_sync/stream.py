"""Stream, and what drives its call."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType

from .._core.call import Call
from .._core.client import Share
from .._core.stream import BaseStream, Begin
from .._core.transport import Exchange, Transport
from .._core.wire.interruption import closed_by_caller
from .._core.wire.replies import AnswerReader
from ..errors import AIChatFreeError
from .transport.waiting import Alarm


class Stream(BaseStream):
    """A reply as it arrives: iterate over it for its pieces, which are never empty and never half a character.

    A loop over it ends only after a whole reply. Leaving the loop early, dropping the stream, :meth:`close` and the
    end of ``with`` all close the connection; whoever reads on after that gets a StreamInterruptedError.
    Made by :meth:`Client.stream`.
    """

    __module__ = "aichatfree"

    def __init__(self, call: Call, transport: Transport, share: Share, begin: Begin) -> None:
        super().__init__(call, begin)
        self._control = _Control(share)
        self._pieces = _run(call, self._control, transport)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        if not self._started:
            self._start()
        try:
            return next(self._pieces)
        except StopIteration:
            self._check_whole(lost=self._lost)
            raise
        except AIChatFreeError as error:
            self._hide_locals(error)
            raise
        except ValueError:
            if not self._control.closed:
                raise
            raise self._call.failed(closed_by_caller()) from None  # another thread is closing it right now
        except BaseException:
            self._lost = True
            raise

    def _start(self) -> None:
        if not self._control.closed:
            self._begin(self)
        self._started = True

    def until_done(self) -> str:
        """Receive the rest.

        Returns:
            The whole text, from its first piece.

        Raises:
            AIChatFreeError: The reply is not whole, even if only because the stream was closed before.
        """
        if not self._started:
            self._start()
        try:
            for _ in self._pieces:
                pass
        except AIChatFreeError as error:
            self._hide_locals(error)
            raise
        except ValueError:
            if not self._control.closed:
                raise
            raise self._call.failed(closed_by_caller()) from None
        self._check_whole()
        return self._call.text

    @property
    def closed(self) -> bool:
        """Whether the stream has ended or was closed."""
        return self._control.closed

    def close(self) -> None:
        """Close the connection. From another thread, this unblocks a reader, who gets a StreamInterruptedError."""
        self._control.close()
        try:
            self._pieces.close()
        except ValueError:
            pass  # it is running in another thread, and ends there

    def __enter__(self) -> Stream:
        if not self._started:
            self._start()
            self._control.opening = True
            try:
                next(self._pieces, "")  # as far as the answer's headers
            except AIChatFreeError as error:
                self._hide_locals(error)
                raise
            self._control.opening = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Control:
    """What of a running call can be interrupted from elsewhere: its exchange, or the wait before it."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.closed = False
        self.opening = False
        self.exchange: Exchange | None = None
        self._alarm: Alarm | None = None

    def pause(self, seconds: float) -> None:
        self._alarm = Alarm()
        if not self.closed:
            self._alarm.wait(seconds)

    def check(self) -> None:
        if self.closed or self.share.closed:
            raise closed_by_caller()

    def close(self) -> None:
        self.closed = True
        if self._alarm is not None:
            self._alarm.set()
        if self.exchange is not None:
            self.exchange.abort()


def _run(call: Call, control: _Control, transport: Transport) -> Generator[str]:
    """Drive a call. While it is opening, "" is yielded once the headers of the answer are there.

    It knows nothing of its Stream, so that a dropped stream is freed, and its connection closed, at once.
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
                    control.pause(attempt.delay)
                control.check()
                exchange = control.exchange = transport.exchange(call.sending(attempt), call.deadline)
                try:
                    control.check()  # again: who closed it a moment ago has not seen this exchange
                    exchange.send()
                    reader = call.answered(exchange)
                    if control.opening and call.status_code == 200:
                        yield ""
                    for data in exchange:
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
                    exchange.close()
            except AIChatFreeError as error:
                call.failed(error)
                attempt = flow.throw(error)
                call.restart()
    finally:
        control.closed = True
        share.running.discard(control)
        call.end()
