"""One HTTP request to an upstream and its answer, within the limits of its call."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from ..failures import UpstreamError
from . import wording
from .keys import KeyRedactor
from .limits import Limits
from .sessions import CLOSE_SECONDS, new_sockets

__all__ = ["Exchange", "StaleConnectionError"]

FOREIGN_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, asyncio.TimeoutError, EOFError)
"""What aiohttp raises; ssl's errors and time-outs are among these."""

_UNKNOWN = object()


class StaleConnectionError(Exception):
    """A pooled connection turned out to be closed: the request may be sent again, over another."""


class Exchange:
    """One request and its answer: `send` it, `read` the body, and `close` it in any case.

    Args:
        limits: Those of the call.
        redact: Takes secrets out of what is said about errors.
    """

    def __init__(self, limits: Limits, redact: KeyRedactor) -> None:
        self.status = 0
        self.phrase = ""
        self.headers: Mapping[str, str] = {}
        self._limits = limits
        self._redact = redact
        self._loop = asyncio.get_running_loop()
        self._reused: bool | None = None  # of the connection; None: there is none yet
        self._sending: asyncio.Future[aiohttp.ClientResponse] | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._transport: asyncio.Transport | None = None
        self._sockets: list[socket.socket] = []
        self._gone: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late: UpstreamError | None = None
        self._failure: UpstreamError | None = None
        self._patience = math.inf
        self._read = 0
        self._whole = False

    def connected(self, *, reused: bool) -> None:
        """Called by the session when the connection for the request is there."""
        self._reused = reused
        self._limits.begin("first_byte")
        self._watch_limits()

    async def send(self, start: Callable[[], Awaitable[aiohttp.ClientResponse]]) -> None:
        """Send the request, and wait for the status and the headers of the answer.

        Args:
            start: Makes aiohttp send it, with this exchange as its `trace_request_ctx`.

        Raises:
            UpstreamError: There is no answer.
            StaleConnectionError: The connection was an old one, and closed.
        """
        self._limits.begin("connect")
        # A task of its own, so that a limit can end it wherever it is, and nobody takes that for a cancelling of ours.
        sending = self._sending = asyncio.ensure_future(_started(start, self._sockets))
        self._watch_limits()
        try:
            await asyncio.wait({sending})
        except BaseException:
            sending.cancel()
            sending.add_done_callback(_discard)
            await asyncio.wait({sending}, timeout=CLOSE_SECONDS)
            self._hang_up()
            raise
        self._sending = None
        if self._late is not None:
            _discard(sending)
            self._hang_up()
            raise self._late
        error = sending.exception()
        if error is not None:
            failure = self._unanswered(error)
            del error, sending  # what aiohttp raises bears the request's headers, and some tracebacks show variables
            raise failure
        response = self._response = sending.result()
        if self._reused is None:  # the hook is gone: the limits would be others than those that were asked for
            self.close()
            raise wording.unreachable("this version of aiohttp does not tell when it has connected")
        if response.connection is not None:
            self._transport = response.connection.transport
            gone: Any = getattr(response.connection.protocol, "closed", _UNKNOWN)
            if gone is None:
                self._tell_the_reader()
            elif gone is not _UNKNOWN:
                self._gone = gone
                gone.add_done_callback(self._lost)
        self.status = response.status
        self.phrase = response.reason or ""
        self.headers = response.headers

    def _hang_up(self) -> None:
        """End connections that were made for a request which is given up.

        aiohttp closes them, and asyncio does that only after it has sent what is still to be sent.
        """
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def be_patient(self, seconds: float) -> None:
        """Wait at most so long for the rest of the body: nothing of it is needed."""
        self._patience = seconds

    async def read(self) -> bytes:
        """Some more of the body, b"" at its end.

        Raises:
            UpstreamError: The body breaks off, or a limit passes.
        """
        if self._failure is not None:
            raise self._failure
        assert self._response is not None
        content = self._response.content
        failure = self._late
        if failure is None and content.at_eof():
            self._whole = True
            return b""
        if self._read or self._patience < math.inf:
            self._limits.begin("idle" if self._read else "first_byte", self._patience)
        self._watch_limits()
        try:
            data = await content.readany()
        except FOREIGN_ERRORS as error:
            data = _arrived(content)
            failure = self._late or wording.broken("the connection was cut in the middle of the answer", self.status)
            failure.__cause__ = failure.__cause__ or self._redact.sealed(error)
        finally:
            self._limits.pause()
        if failure is not None:
            if not data:
                raise failure
            self._failure = failure
        elif self._limits.over and not content.at_eof():
            # This came in time, and was not fetched in time: no more does.
            self._failure = wording.broken(self._limits.describe(), self.status)
        self._read += len(data)
        self._whole = not data
        return data

    def _watch_limits(self) -> None:
        """Start the timer, unless it fires early enough by itself: then it looks again."""
        ends = self._limits.ends
        if ends == math.inf:
            return
        if self._timer is not None:
            if self._timer.when() <= ends:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(ends, self._watch)

    def _watch(self) -> None:
        self._timer = None
        left = self._limits.left()
        if left is None:
            return  # nothing is waited for: the next read starts the timer again
        if left > 0:
            self._timer = self._loop.call_at(self._limits.ends, self._watch)
            return
        if self._has_come():
            return  # what came in time is not late: the next read looks again
        words = self._limits.describe()
        if self._sending is not None:
            self._late = wording.unreachable(words)
            self._sending.cancel()
        else:
            self._late = wording.broken(words, self.status)
            self._cut()

    def _has_come(self) -> bool:
        """Whether the next read has something to return at once."""
        content = self._response.content if self._response is not None else None
        return content is not None and (content.is_eof() or content.total_bytes > self._read)

    def _lost(self, gone: asyncio.Future[None]) -> None:
        _look(gone)
        self._tell_the_reader()

    def _tell_the_reader(self) -> None:
        """The connection is gone: of that, aiohttp does not tell the reader of a body whose chunks became invalid."""
        content = self._response.content if self._response is not None else None
        if content is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))

    def _cut(self) -> None:
        """End the connection at once: not as TLS would, which waits for the other end."""
        if self._transport is not None:
            self._transport.abort()
        response = self._response
        if response is not None:
            if not response.content.is_eof() and response.content.exception() is None:
                response.content.set_exception(aiohttp.ClientConnectionError("the exchange was closed"))
            response.close()

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it at once. A second call is nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gone is not None:
            self._gone.remove_done_callback(self._lost)
            self._gone.remove_done_callback(_look)  # of an earlier exchange
            self._gone.add_done_callback(_look)
        response = self._response
        if response is not None and not self._whole and not response.content.is_eof():
            self._cut()
        elif response is not None:
            response.release()
        self._response = self._transport = None

    def _unanswered(self, error: BaseException) -> BaseException:
        if not isinstance(error, FOREIGN_ERRORS):
            return error
        gone = isinstance(error, (aiohttp.ServerDisconnectedError, ConnectionError))
        if gone and self._reused:
            return StaleConnectionError()
        failure = wording.unreachable(_describe(error, self._redact))
        failure.__cause__ = self._redact.sealed(error)
        return failure


async def _started(
    start: Callable[[], Awaitable[aiohttp.ClientResponse]], sockets: list[socket.socket]
) -> aiohttp.ClientResponse:
    new_sockets.set((sockets,))
    return await start()


def _discard(sending: asyncio.Future[aiohttp.ClientResponse]) -> None:
    """Close an answer that came when nobody waited for it any more."""
    if not sending.cancelled() and sending.exception() is None:
        sending.result().close()


def _look(gone: asyncio.Future[None]) -> None:
    """Look at the exception of a lost connection, of which asyncio complains if nobody does."""
    if not gone.cancelled():
        gone.exception()


_PROBLEMS: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
    ("the proxy did not let the request through", (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError)),
    ("no secure connection", (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)),
    ("the name cannot be resolved", (aiohttp.ClientConnectorDNSError, socket.gaierror)),
    ("the connection was refused", (ConnectionRefusedError,)),
    ("no connection", (aiohttp.ClientConnectorError,)),
    ("what answered is not HTTP", (aiohttp.ClientResponseError, HttpProcessingError)),
)


def _describe(error: BaseException, redact: wording.Redact) -> str:
    """What happened, in a few words that hold nothing of the request: aiohttp's own may repeat its headers."""
    causes = (error, error.__cause__, getattr(error, "os_error", None))
    for words, kinds in _PROBLEMS:
        if any(isinstance(cause, kinds) for cause in causes):
            found: Any = getattr(error, "certificate_error", None)
            return f"{words} ({redact(found.verify_message)})" if hasattr(found, "verify_message") else words
    return "the connection was cut"


def _arrived(content: aiohttp.StreamReader) -> bytes:
    """What had arrived before an error: aiohttp raises the error first, and has no public way to the bytes."""
    try:
        data: bytes = content._read_nowait(-1)
    except (AttributeError, AssertionError):
        return b""
    return data
