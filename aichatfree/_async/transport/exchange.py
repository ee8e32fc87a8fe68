"""One request and its answer through aiohttp, within the limits of its call."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from ..._core.deadlines import Deadline
from ..._core.failures import ConnectProblem, connect_failure
from ..._core.wire.interruption import closed_by_caller, interrupted
from ..._core.wire.redaction import sealed, short
from ..._core.wire.requests import Request
from ...errors import AIChatFreeError, InvalidRequestError, Phase, RequestTimeoutError
from .sessions import LoopSession, current_exchange

if TYPE_CHECKING:
    from .transport import AiohttpTransport

FOREIGN_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, asyncio.TimeoutError, EOFError)
"""What aiohttp raises (its time-outs and ssl's errors are among these)."""


class AiohttpExchange:
    """One request and its answer. :meth:`send` it, then iterate over the body; :meth:`aclose` it in any case.

    One timer watches the limits, whichever task is waiting: it is not tied to the task that sent the request, since
    some frameworks run each step of an asynchronous generator in a task of its own.

    Args:
        transport: Whose connections to use.
        request: What to send.
        deadline: How long it may take.
    """

    def __init__(self, transport: AiohttpTransport, request: Request, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: LoopSession | None = None
        self._sender: _Sender | None = None
        self._connection: Any = None
        self._protocol: Any = None
        self._read = 0
        self._response: aiohttp.ClientResponse | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lost_future: asyncio.Future[None] | None = None
        self._late: RequestTimeoutError | None = None
        self._failure: AIChatFreeError | None = None
        self._reused = False
        self._aborted = False
        self._whole = False

    def connected(self, connection: Any) -> None:
        """The request is about to go out on ``connection``."""
        self._connection = connection
        self._protocol = connection.protocol
        transport = connection.transport
        if transport is not None and self._held is not None:
            self._reused = self._held.hold(transport)
            if self._reused and self._protocol.should_close:
                # What came while it lay idle would be taken for the answer to this request.
                raise aiohttp.ServerDisconnectedError("the idle connection was spoilt")
        if self._aborted:
            raise aiohttp.ClientConnectionError("the call was closed")
        self._begin("first_byte")

    def _begin(self, phase: Phase) -> None:
        """Start the limit of a phase, and the timer, unless it fires early enough: then it looks again by itself."""
        self.deadline.begin(phase)
        left = self.deadline.remaining()
        if self._timer is not None:
            if left is None or self._timer.when() <= self._loop.time() + left:
                return
            self._timer.cancel()
        self._watch()

    def _watch(self) -> None:
        left = self.deadline.remaining()
        self._timer = None
        if left is None or (left == 0 and self._has_arrived()):
            return  # the next read starts the timer again
        if left == 0:
            self._late = self.deadline.error()
            self._cut()
        else:
            self._timer = self._loop.call_later(left, self._watch)

    def _has_arrived(self) -> bool:
        """Whether the next read has something to return at once: what came in time is not late."""
        content = self._response.content if self._response is not None else None
        return content is not None and (content.is_eof() or content.total_bytes > self._read)

    async def send(self) -> None:
        """Send the request, and wait for the status and the headers of the answer.

        Raises:
            AIChatFreeError: There is no answer.
        """
        if self.deadline.expired():
            raise self.deadline.error()
        held = self._held = await self._transport.loop_session()
        slot = [self]
        token = current_exchange.set(slot)
        sender = self._sender = _Sender(asyncio.current_task())
        failure: AIChatFreeError | None = None
        response: aiohttp.ClientResponse | None = None
        try:
            sending = self._transport.post(self.request, self.deadline, held)
            if held is None:
                response = await asyncio.wait_for(sending, self._limit_foreign())
            else:
                response = await sending
        except FOREIGN_ERRORS as error:
            failure = self._translate(error)
        except asyncio.CancelledError:
            if not sender.resume():
                raise
            failure = closed_by_caller()
        finally:
            sender.resume()
            self._sender = None
            slot.clear()
            current_exchange.reset(token)
        self._raise(failure)
        assert response is not None
        self._response = response
        if self._aborted:  # and something on the way has caught the cancelling
            raise closed_by_caller()
        self.status = response.status
        self.headers = response.headers
        if self._connection is None:  # it is not ours, or a mock's
            self._protocol = response.connection and response.connection.protocol
            self._begin("first_byte")
        self._lost_future = getattr(self._protocol, "closed", None)
        if self._lost_future is not None:
            self._lost_future.remove_done_callback(_retrieve)
            self._lost_future.add_done_callback(_retrieve)
            self._lost_future.add_done_callback(self._lost)

    def _limit_foreign(self) -> float | None:
        """Seconds for connecting and for the answer together: a session that is not ours does not tell them apart."""
        connect, first_byte = self.deadline.limit("connect"), self.deadline.limit("first_byte")
        self.deadline.begin("first_byte")
        if connect is None or first_byte is None:
            return self.deadline.limit("total")
        return min(connect + first_byte, max(0.0, self.deadline.remaining_total()))

    def __aiter__(self) -> AiohttpExchange:
        """The body as it arrives; if it is compressed, so are these bytes."""
        return self

    async def __anext__(self) -> bytes:
        assert self._response is not None
        if self._failure is not None:
            raise self._failure
        if self._read:
            self._begin("idle")
        content = self._response.content
        data = b""
        try:
            data = await content.readany()
        except (*FOREIGN_ERRORS, RuntimeError) as error:
            if isinstance(error, RuntimeError) and (self._protocol is None or self._protocol.is_connected()):
                raise
            self._failure = self._translate(error)
            data = b"" if self._late or self._aborted else _arrived(content)
            if data:
                return data
        self._raise(self._failure)
        self._read += len(data)
        if not data:
            self._end()
        self.deadline.pause()
        return data

    def _end(self) -> None:
        """The body has ended: by itself, or because it was cut."""
        if self._late is not None:
            raise self._late
        if self._aborted:
            raise closed_by_caller()
        lost = self._protocol.exception() if self._protocol is not None else None
        if isinstance(lost, OSError):
            # Where only the end of the connection ends a body, aiohttp takes a reset connection for that.
            raise interrupted(lost) from lost
        self._whole = True
        raise StopAsyncIteration

    def _lost(self, _: object) -> None:
        """The connection is gone: aiohttp does not tell the reader of a body whose chunks became invalid."""
        content = self._response.content if self._response is not None else None
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError(f"connection lost: {self._protocol.exception()}"))

    def abort(self) -> None:
        """Unblock whatever the exchange is waiting for."""
        self._aborted = True
        if self._sender is not None and self._connection is None:
            self._sender.interrupt()
        self._cut()

    def _cut(self) -> None:
        """Close the connection at once: not as TLS would, which waits for the other end."""
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.abort()
        if self._response is not None:
            content = self._response.content
            if not content.is_eof() and content.exception() is None:
                # aiohttp would set one exception object that all share, whose traceback grows with each raising.
                content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))
            self._response.close()

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost_future is not None:
            self._lost_future.remove_done_callback(self._lost)
        if not self._whole:
            self._cut()
            if self._connection is not None:  # not sooner: aiohttp's task that writes the request would find it empty
                self._connection.close()
        self._response = self._connection = None

    @staticmethod
    def _raise(failure: AIChatFreeError | None) -> None:
        """Raise a failure outside of the handler in which it was made: there, Python would tie the original to it."""
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback has this frame

    def _translate(self, error: BaseException) -> AIChatFreeError:
        """The exception of this library for one of :data:`FOREIGN_ERRORS`, with its cause."""
        if isinstance(error, aiohttp.ClientResponseError):
            _forget_headers(error)
        failure = self._translated(error)
        failure.__cause__ = sealed(error, self.request.secrets)
        return failure

    def _translated(self, error: BaseException) -> AIChatFreeError:
        secrets = self.request.secrets
        if self._aborted:
            return closed_by_caller()
        if self._late is not None:
            return self._late
        if self.deadline.expired() or isinstance(error, asyncio.TimeoutError):
            return self.deadline.error()
        if self._response is not None:
            return interrupted(error, secrets)
        if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
            return InvalidRequestError(f"{self.request!r} cannot be sent: {short(error, secrets)}")
        return connect_failure(_problem(error), self.request.url, error, reused=self._reused, secrets=secrets)


class _Sender:
    """The task that sends a request. While it connects, to cancel it is the only way to unblock it."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._counts = hasattr(task, "uncancel")  # since Python 3.11 a task counts how often it is cancelled
        self._before = task.cancelling() if self._counts else 0
        self._interrupted = False

    def interrupt(self) -> None:
        """Let what the task waits for raise CancelledError; a task that is running itself will see that it is over."""
        if not self._interrupted and self._task is not asyncio.current_task():
            self._interrupted = True
            self._task.cancel()

    def resume(self) -> bool:
        """Take the interruption back, if there was one.

        Returns:
            Whether a CancelledError concerns only the connecting, which :meth:`interrupt` ended, or the end of the
            session: nobody has cancelled the task itself.
        """
        interrupted, self._interrupted = self._interrupted, False
        if not self._counts:
            return interrupted
        if interrupted:
            self._task.uncancel()
        return bool(self._task.cancelling() <= self._before)


_PROBLEMS: tuple[tuple[ConnectProblem, tuple[type[BaseException], ...]], ...] = (
    ("proxy", (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError)),
    ("tls", (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError, ssl.CertificateError)),
    ("dns", (aiohttp.ClientConnectorDNSError, socket.gaierror)),
    ("refused", (aiohttp.ClientConnectorError, ConnectionRefusedError)),
    ("no_http", (aiohttp.ClientResponseError, HttpProcessingError)),
)


def _problem(error: BaseException) -> ConnectProblem:
    causes = (error, error.__cause__, getattr(error, "os_error", None))
    for problem, kinds in _PROBLEMS:
        if any(isinstance(cause, kinds) for cause in causes):
            return problem
    return "reset"


def _retrieve(future: asyncio.Future[None]) -> None:
    """Look at the exception of a lost connection, of which asyncio complains if nobody does."""
    if not future.cancelled():
        future.exception()


def _forget_headers(error: aiohttp.ClientResponseError) -> None:
    """Take the request's headers, which may bear credentials, from an error that shows them in its repr."""
    if error.request_info is not None:
        error.request_info = error.request_info._replace(headers=CIMultiDictProxy(CIMultiDict()))
        error.args = (error.request_info, error.history)


def _arrived(content: aiohttp.StreamReader) -> bytes:
    """What had arrived before an error: aiohttp raises the error first, and has no public way to the bytes."""
    try:
        data: bytes = content._read_nowait(-1)
    except (AttributeError, AssertionError):
        return b""
    return data
