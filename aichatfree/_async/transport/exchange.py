"""One request and its answer through aiohttp, within the limits of its call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Protocol

import aiohttp

from ..._core.deadlines import Deadline
from ..._core.failures import connect_failure
from ..._core.wire.interruption import closed_by_caller, interrupted
from ..._core.wire.redaction import sealed, short
from ..._core.wire.requests import Request
from ...errors import AIChatFreeError, InvalidRequestError, Phase
from .answers import read_fields, reader_of
from .borrowed import check_end
from .framing import is_chunked
from .hooks import Handler, adopt, arrived, forget_headers, unknown_aiohttp, watch
from .outgoing import current
from .problems import FOREIGN_ERRORS, answer_of, connect_problem, words_of
from .sessions import LoopSession
from .waiting import Sender, is_running, raise_apart
from .watch import Watch, watch_of


class Carrier(Protocol):
    """What an exchange needs of its transport."""

    def session_for(self, url: str) -> LoopSession | None:
        """Our session in the running loop; None where the user passed one in."""

    async def post(self, request: Request, deadline: Deadline, held: LoopSession | None) -> aiohttp.ClientResponse:
        """Send a request and return the answer with its body unread."""
        ...


class AiohttpExchange:
    """One request and its answer. :meth:`send` it, then iterate over the body; :meth:`aclose` it in any case.

    A timer watches the limits, whichever task is waiting: it is not tied to the task that sent the request, since
    some frameworks run each step of an asynchronous generator in a task of its own.

    Args:
        carrier: Whose connections to use.
        request: What to send.
        deadline: How long it may take.
    """

    status = 0
    headers: Mapping[str, str] = MappingProxyType({})
    _held: LoopSession | None = None
    _sender: Sender | None = None
    _connection: Any = None
    _protocol: Any = None
    _response: aiohttp.ClientResponse | None = None
    _content: Any = None
    _read_some: Callable[[], Any] | None = None
    _read = _turn = 0
    _watch: Watch | None = None
    _ended: AIChatFreeError | None = None
    """What ended the exchange from here: a limit, or a hook that is not called."""
    _failure: AIChatFreeError | None = None
    _expected = _reused = _aborted = _whole = False

    def __init__(self, carrier: Carrier, request: Request, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self._carrier = carrier
        self._loop = asyncio.get_running_loop()

    @property
    def crowded(self) -> bool:
        """Whether others are about to go out, or wait for their answers."""
        return self._held is not None and self._held.unanswered > 1

    def expect(self) -> None:
        """A connection was found; that the request goes out on it is to be noticed, at the latest at the limit."""
        self._expected = True
        if self.deadline.remaining() is None:
            self._loop.call_soon(self._check_connected)

    def _check_connected(self) -> None:
        if self._expected and self._connection is None and self._sender is not None:
            self._stop(unknown_aiohttp("a request goes out unnoticed"))

    def connected(self, connection: Any) -> None:
        """The request is about to go out on ``connection``."""
        assert self._held is not None
        self._connection = connection
        if not isinstance(connection.protocol, Handler):
            adopt(connection)
        protocol = self._protocol = connection.protocol
        if connection.transport is not None:
            self._reused = self._held.hold(connection.transport)
        self.check_idle()
        if not isinstance(protocol, Handler):
            if self._held.owns_connector:
                raise unknown_aiohttp(f"connections are of {type(protocol).__name__}")
        else:
            self._turn = protocol.turn
            if not protocol.framed:
                protocol.frame()
        if self._aborted or self._ended is not None:
            raise aiohttp.ClientConnectionError("the call was closed")
        self._begin("first_byte")

    def check_idle(self) -> None:
        """Raise where what came while the connection lay idle would be taken for the answer to this request."""
        protocol = self._protocol
        if isinstance(protocol, Handler) and (self._reused or not protocol.framed) and protocol.used_up:
            raise aiohttp.ServerDisconnectedError("the idle connection had ended")

    def _begin(self, phase: Phase) -> None:
        """Start the limit of a phase."""
        self.deadline.begin(phase)
        self.look()

    def look(self) -> None:
        """Look at the clock: end the exchange if a limit has passed, else look again when the next one does."""
        left = self.deadline.remaining()
        if left is None or (left == 0 and self._has_arrived()):
            return  # the next read looks again
        if left > 0:
            assert self._watch is not None
            self._watch.begin(self, left)
        else:
            self._check_connected()
            self._stop(self.deadline.error())

    def _has_arrived(self) -> bool:
        """Whether the next read has something to return at once: what came in time is not late."""
        content = self._content
        return isinstance(content, aiohttp.StreamReader) and (content.is_eof() or content.total_bytes > self._read)

    def _stop(self, error: AIChatFreeError) -> None:
        """End the exchange with ``error``."""
        if self._ended is None:
            self._ended = error
        if self._sender is not None and (self._connection is None or self._held is None):
            self._sender.interrupt()
        self._cut()

    async def send(self) -> None:
        """Send the request, and wait for the status and the headers of the answer.

        Raises:
            AIChatFreeError: There is no answer.
        """
        if self.deadline.expired():
            raise self.deadline.error()
        held = self._held = self._carrier.session_for(self.request.url)
        slot: list[Any] = [self]
        token = current.set(slot)
        sender = self._sender = Sender(asyncio.current_task(self._loop))
        failure: AIChatFreeError | None = None
        response: aiohttp.ClientResponse | None = None
        self._watch = watch_of(self._loop)
        timer = self._limit_foreign() if held is None else None
        try:
            if held is not None:
                held.unanswered += 1
                self.look()
            if self._ended is not None:  # a limit has passed since it was looked at
                raise self._ended
            response = await self._carrier.post(self.request, self.deadline, held)
        except FOREIGN_ERRORS as error:
            if held is None and (answer := answer_of(error)) is not None:
                self.status, self.headers = answer.status, read_fields(answer.headers)
            else:
                failure = self._translate(error)
        except AIChatFreeError as error:
            failure = error
        except asyncio.CancelledError:
            if not sender.resume():
                raise
            failure = self._ended or closed_by_caller()
        finally:
            if held is not None:
                held.unanswered -= 1
            if timer is not None:
                timer.cancel()
            sender.resume()
            self._sender = None
            slot.clear()
            current.reset(token)
        raise_apart(failure)
        if response is not None:
            await self._take(response)
        # Something on the way may have caught the cancelling.
        raise_apart(closed_by_caller() if self._aborted else self._ended)
        if self._connection is None:  # it is not ours, or a mock's
            self._begin("first_byte")

    async def _take(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status, self.headers = response.status, read_fields(response.headers)
        self._content, self._read_some = await reader_of(response)
        if self._connection is None and (connection := getattr(response, "connection", None)) is not None:
            watch(connection)
            self._protocol = connection.protocol
        if not isinstance(self._protocol, Handler) and is_chunked(response.headers) is None:
            self._failure = interrupted("the transfer coding of the answer is not known here")

    def _limit_foreign(self) -> asyncio.TimerHandle | None:
        """Limit connecting and the answer together: a session that is not ours does not tell them apart."""
        connect, first_byte = self.deadline.limit("connect"), self.deadline.limit("first_byte")
        self.deadline.begin("first_byte")
        left = self.deadline.limit("total")
        if connect is not None and first_byte is not None:
            left = min(connect + first_byte, max(0.0, self.deadline.remaining_total()))
        return None if left is None else self._loop.call_later(left, lambda: self._stop(self.deadline.error()))

    def __aiter__(self) -> AiohttpExchange:
        """The body as it arrives; if it is compressed, so are these bytes."""
        return self

    async def __anext__(self) -> bytes:
        if self._failure is not None:
            raise_apart(self._failure)
        if self._read_some is None:
            self._whole = True
            raise StopAsyncIteration
        if self._read:
            if self._content.at_eof():
                self._end()
            self._begin("idle")
        try:
            data: bytes = await self._read_some()
        except (*FOREIGN_ERRORS, RuntimeError) as error:
            if isinstance(error, RuntimeError) and (self._protocol is None or self._protocol.is_connected()):
                raise
            self._failure = self._translate(error)
            data = b"" if self._ended or self._aborted else arrived(self._content)
            if data:
                return data
        if self._failure is not None:
            raise_apart(self._failure)
        self._read += len(data)
        if not data:
            self._end()
        self.deadline.pause()
        if self.deadline.remaining_total() <= 0 and not self._content.at_eof():
            self._failure = self.deadline.error("total")  # this came in time, and was not fetched in time: no more does
        return data

    def _end(self) -> None:
        """The body has ended: by itself, or because it was cut."""
        raise_apart(closed_by_caller() if self._aborted else self._ended)
        if self._protocol is not None and not isinstance(self._protocol, Handler):
            check_end(self._protocol, self.headers, self.request.secrets)
        self._whole = True
        raise StopAsyncIteration

    def abort(self) -> None:
        """Unblock whatever the exchange is waiting for, from any task, loop or thread."""
        self._aborted = True
        if is_running(self._loop):
            self._abort_here()
        else:
            with suppress(RuntimeError):  # the loop is closed: nothing waits in it
                self._loop.call_soon_threadsafe(self._abort_here)

    def _abort_here(self) -> None:
        if self._sender is not None and self._connection is None:
            self._sender.interrupt()
        self._cut()

    def _cut(self) -> None:
        """Close the connection at once: not as TLS would, which waits for the other end."""
        connection = self._connection or getattr(self._response, "connection", None)
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        if self._response is not None:
            content = self._content
            if isinstance(content, aiohttp.StreamReader) and not content.is_eof() and content.exception() is None:
                # aiohttp would set one exception object that all share, whose traceback grows with each raising.
                content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))
            self._response.close()

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        if self._watch is not None:
            self._watch.end(self)
        if self._whole or self._loop.is_closed():
            self._response = self._connection = None
        elif is_running(self._loop):
            self._close_here()
        else:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._close_here)

    def _close_here(self) -> None:
        self._cut()
        if self._connection is not None:  # not sooner: what writes the request would find it empty
            self._connection.close()
            protocol, ours = self._protocol, self._held is not None and self._held.owns_connector
            if ours and isinstance(protocol, Handler) and protocol.turn == self._turn:
                protocol.abort()  # aiohttp has given it back as the answer ended, though nobody has read that
        self._response = self._connection = None

    def _translate(self, error: BaseException) -> AIChatFreeError:
        """The exception of this library for one of :data:`FOREIGN_ERRORS`, with its cause."""
        if isinstance(error, aiohttp.ClientResponseError):
            forget_headers(error)
        failure = self._translated(error)
        failure.__cause__ = sealed(error, self.request.secrets)
        return failure

    def _translated(self, error: BaseException) -> AIChatFreeError:
        secrets = self.request.secrets
        if self._aborted:
            return closed_by_caller()
        if self._ended is not None:
            return self._ended
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return self.deadline.error(None if self.deadline.remaining_total() <= 0 else "connect")
        if self.deadline.expired() or isinstance(error, asyncio.TimeoutError):
            return self.deadline.error()
        if self._response is not None:
            return interrupted(error, secrets)
        if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
            return InvalidRequestError(f"{self.request!r} cannot be sent: {short(error, secrets)}")
        problem = connect_problem(error, sent=self._held is None or self._connection is not None)
        return connect_failure(problem, self.request.url, words_of(error), reused=self._reused, secrets=secrets)
