"""One request and its answer through requests, urllib3 and http.client, within the limits of its call."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
import urllib3.exceptions

from ..._core.deadlines import Deadline
from ..._core.failures import ConnectProblem, connect_failure
from ..._core.wire.interruption import closed_by_caller, interrupted
from ..._core.wire.redaction import sealed, short
from ..._core.wire.requests import Request
from ...errors import AIChatFreeError, InvalidRequestError
from .hooks import current_exchange

if TYPE_CHECKING:
    from .hooks import LimitedResponse
    from .resolver import Lookup
    from .transport import RequestsTransport

READ_SIZE = 64 * 1024
"""Bytes asked for at a time. A read returns what has arrived, so this bounds memory and delays nothing."""

FOREIGN_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
"""What requests, urllib3 and http.client raise (ssl's errors and time-outs are OSErrors)."""


class RequestsExchange:
    """One request and its answer. :meth:`send` it, then iterate over the body; :meth:`close` it in any case.

    Args:
        transport: Whose connections to use.
        request: What to send.
        deadline: How long it may take.
    """

    def __init__(self, transport: RequestsTransport, request: Request, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.incoming: LimitedResponse | None = None
        """The answer as our own connections read it; None under a user's session or a mock."""
        self._transport = transport
        self._response: requests.Response | None = None
        self._lookup: Lookup | None = None
        self._duplicate: socket.socket | None = None
        self._socket: Any = None
        self._fresh = False
        self._reused = False
        self._aborted = False
        self._whole = False

    def looking_up(self, lookup: Lookup) -> None:
        """The addresses of the server are being looked up."""
        self._lookup = lookup
        if self._aborted:
            lookup.abort()

    def opened(self, sock: socket.socket) -> None:
        """A new connection is being made on ``sock``."""
        self._fresh = True
        self._let_go()
        with suppress(OSError):  # there may be no descriptor left, and it is needed only by abort()
            self._duplicate = sock.dup()  # TLS takes the socket itself away until its handshake is done
        self._hold(self._duplicate or sock)
        if self._aborted:
            raise ConnectionAbortedError("the call was closed")

    def connected(self, sock: Any) -> None:
        """The request is about to go out on ``sock``."""
        self._reused = not self._fresh
        self._let_go()
        self._hold(sock)
        self.deadline.begin("first_byte")

    def _hold(self, sock: Any) -> None:
        self._socket = sock
        if self._aborted:
            self.abort()

    def _let_go(self) -> None:
        duplicate, self._duplicate = self._duplicate, None
        if duplicate is not None:
            duplicate.close()

    def send(self) -> None:
        """Send the request, and wait for the status and the headers of the answer.

        Raises:
            AIChatFreeError: There is no answer.
        """
        if self.deadline.expired():
            raise self.deadline.error()
        slot = [self]
        token = current_exchange.set(slot)
        failure: AIChatFreeError | None = None
        try:
            self._response = self._transport.post(self.request, self.deadline)
        except FOREIGN_ERRORS as error:
            failure = self._translate(error)
        finally:
            slot.clear()
            current_exchange.reset(token)
        self._raise(failure)
        response = self._response
        assert response is not None
        self.status = response.status_code
        self.headers = response.raw.headers

    def __iter__(self) -> Iterator[bytes]:
        """The body as it arrives; if it is compressed, so are these bytes."""
        failure: AIChatFreeError | None = None
        try:
            for data in self._body():
                yield data
                self.deadline.begin("idle")
        except Exception as error:
            if not self._aborted and not isinstance(error, FOREIGN_ERRORS):
                raise  # else the socket was taken away under the reader's hands
            failure = self._translate(error)
        self._raise(failure)
        if self._aborted:
            raise closed_by_caller()
        self._whole = True

    def _body(self) -> Iterator[bytes]:
        assert self._response is not None
        raw = self._response.raw
        if self.incoming is None:
            return self._foreign_body(raw)
        if self.incoming.chunked:
            return self.incoming.chunks()
        return iter(partial(raw.read1, READ_SIZE, decode_content=False), b"")

    def _foreign_body(self, raw: Any) -> Iterator[bytes]:
        """The body from a connection that is not ours: each read is limited as well as that can be done."""
        while True:
            if self.deadline.expired():
                raise TimeoutError("the limit passed")
            sock = getattr(getattr(raw, "connection", None), "sock", None)
            if sock is not None:
                sock.settimeout(self.deadline.remaining())
            data = raw.read1(READ_SIZE, decode_content=False)
            if not data:
                return
            yield data

    def abort(self) -> None:
        """Unblock whatever the exchange is waiting for, from any thread."""
        self._aborted = True
        if self._lookup is not None:
            self._lookup.abort()
        sock = getattr(self._socket, "socket", self._socket)  # urllib3's TLS in TLS wraps the socket
        try:
            if sock is not None:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's own, which takes TLS off first
            elif self._response is not None:
                self._response.raw.shutdown()
        except (OSError, ValueError, RuntimeError, AttributeError):
            pass  # it is not connected yet, or not any more

    def close(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        response, self._response = self._response, None
        self._socket = None
        self._let_go()
        if response is None:
            return
        if self._whole and self.incoming is not None:
            self.incoming.close()
            response.raw.release_conn()
        else:
            response.raw.close()

    @staticmethod
    def _raise(failure: AIChatFreeError | None) -> None:
        """Raise a failure outside of the handler in which it was made: there, Python would tie the original to it."""
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback has this frame

    def _translate(self, error: Exception) -> AIChatFreeError:
        """The exception of this library for one of :data:`FOREIGN_ERRORS`, with its cause."""
        failure = self._translated(error)
        failure.__cause__ = sealed(error, self.request.secrets)
        return failure

    def _translated(self, error: Exception) -> AIChatFreeError:
        secrets = self.request.secrets
        if self._aborted:
            return closed_by_caller()
        causes = list(_causes(error))
        if self.deadline.expired() or any(map(_is_timeout, causes)):
            if self._transport.session is not None and any(isinstance(cause, requests.ReadTimeout) for cause in causes):
                self.deadline.begin("first_byte")  # a session that is not ours does not tell when it is connected
            return self.deadline.error()
        if self._response is not None:
            return interrupted(error, secrets)
        problem = _problem(causes)
        if problem != "no_http" and any(isinstance(cause, _INVALID) for cause in causes):
            return InvalidRequestError(f"{self.request!r} cannot be sent: {short(error, secrets)}")
        return connect_failure(problem, self.request.url, causes[-1], reused=self._reused, secrets=secrets)


def _is_timeout(error: BaseException) -> bool:
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return False  # a refused connection; urllib3 files it under time-outs for the sake of old users
    return isinstance(error, (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError))


_INVALID = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)
_PROBLEMS: tuple[tuple[ConnectProblem, tuple[type[Exception], ...]], ...] = (
    ("proxy", (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)),
    ("tls", (requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError)),
    ("dns", (socket.gaierror, urllib3.exceptions.NameResolutionError)),
    ("refused", (urllib3.exceptions.NewConnectionError, ConnectionRefusedError)),
    ("reset", (ConnectionError, http.client.RemoteDisconnected, BrokenPipeError)),
    ("no_http", (http.client.HTTPException, urllib3.exceptions.InvalidHeader)),
)


def _problem(causes: list[BaseException]) -> ConnectProblem:
    for problem, kinds in _PROBLEMS:
        if any(isinstance(cause, kinds) for cause in causes):
            return problem
    return "reset"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from: requests and urllib3 wrap errors as arguments as often as by ``raise from``."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        linked = (cause.__context__, getattr(cause, "reason", None), *cause.args, cause.__cause__)
        waiting.extend(other for other in linked if isinstance(other, BaseException))
