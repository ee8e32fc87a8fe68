"""The synchronous reply: Stream, and what drives its call. The twins in async_stream.py differ by ``await``."""

from __future__ import annotations

from collections.abc import Callable, Generator
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING

from .base import BaseStream
from .core.call import Call
from .core.failures import closed_by_caller
from .core.replies import AnswerReader
from .errors import AIChatFreeError
from .transports.requests_exchange import RequestsExchange
from .transports.requests_transport import RequestsTransport

if TYPE_CHECKING:
    from .client import Client


class Stream(BaseStream):
    """A reply as it arrives: iterate over it for its pieces, which are never empty and never half a character.

    Leaving a loop early, dropping the stream, :meth:`close` and the end of ``with`` all close the connection.
    Made by :meth:`Client.stream`.
    """

    def __init__(self, client: Client, call: Call, begin: Callable[[BaseStream], None] | None = None) -> None:
        super().__init__(call, begin)
        self._client = client
        self._line = _Line()
        self._pieces = _run(call, self._line, client._transport)
        self._started = False

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        if not self._started:
            self._start()
        return next(self._pieces)

    def _start(self) -> None:
        if not self._line.closed:
            self._client._check_open()
            if self._begin is not None:
                self._begin(self)
        self._started = True

    def until_done(self) -> str:
        """Receive the rest.

        Returns:
            The whole text, from its first piece.

        Raises:
            AIChatFreeError: The reply is not whole, be it that the stream was closed before.
        """
        if not self._started:
            self._start()
        for _ in self._pieces:
            pass
        return self._whole_text()

    @property
    def closed(self) -> bool:
        """Whether the stream has ended or was closed."""
        return self._line.closed

    def close(self) -> None:
        """Close the connection. From another thread, this unblocks a reader, who gets a StreamInterruptedError."""
        self._line.close()
        try:
            self._pieces.close()
        except ValueError:
            pass  # it is running in another thread, and ends there

    def __enter__(self) -> Stream:
        if not self._started:
            self._start()
            self._line.opening = True
            next(self._pieces, "")  # as far as the answer's headers
            self._line.opening = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Line:
    """What of a running call can be interrupted from another thread: its exchange, or the wait before it."""

    def __init__(self) -> None:
        self.closed = False
        self.opening = False
        self.exchange: RequestsExchange | None = None
        self._alarm: Event | None = None

    def pause(self, seconds: float) -> None:
        if seconds > 0:
            self._alarm = Event()
            if not self.closed:
                self._alarm.wait(seconds)

    def close(self) -> None:
        self.closed = True
        if self._alarm is not None:
            self._alarm.set()
        if self.exchange is not None:
            self.exchange.abort()


def _run(call: Call, line: _Line, transport: RequestsTransport) -> Generator[str]:
    """Drive a call. While the line is opening, "" is yielded once the headers of the answer are there.

    It knows nothing of its Stream, so that a dropped stream is freed, and its connection closed, at once.
    """
    flow = call.start()
    attempt = next(flow)
    try:
        while True:
            reader: AnswerReader | None = None
            line.pause(attempt.delay)
            exchange = line.exchange = transport.exchange(call.sending(attempt), call.deadline)
            try:
                try:
                    if line.closed or transport.users <= 0:  # or the client was, while this waited for its next try
                        raise closed_by_caller()
                    exchange.send()
                    reader = call.answered(exchange)
                    if line.opening and call.status_code == 200:
                        yield ""
                    for data in exchange:
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
