"""One request and its answer through requests, urllib3 and http.client, within the limits of its call."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import requests

from ..._core.deadlines import Deadline
from ..._core.failures import connect_failure
from ..._core.wire.interruption import closed_by_caller, interrupted
from ..._core.wire.redaction import sealed, short
from ..._core.wire.requests import Request
from ...errors import AIChatFreeError, InvalidRequestError
from .foreign import FOREIGN_ERRORS, INVALID, causes_of, is_timeout, problem_of
from .sending import Body, Interruptible, current_exchange
from .sessions import body_of, headers_of, was_read

_forks = [0]
"""How many forks led from the first process to this one: to ask for its number at each piece would be a system call."""


def _count_fork() -> None:
    _forks[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Poster(Protocol):
    """What posts requests: the transport."""

    @property
    def passed_in(self) -> str | None:
        """The argument with which the user passed in connections of their own."""

    def post(self, request: Request, deadline: Deadline) -> requests.Response:
        """Send a request and return the answer with its body unread."""
        ...


class RequestsExchange:
    """One request and its answer. :meth:`send` it, then iterate over the body; :meth:`close` it in any case.

    Args:
        transport: Whose connections to use.
        request: What to send.
        deadline: How long it may take.
    """

    def __init__(self, transport: Poster, request: Request, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.incoming: Body | None = None
        self.early = b""
        self.stage = ""
        self.aborted = False
        self._transport = transport
        self._response: requests.Response | None = None
        self._lookup: Interruptible | None = None
        self._trying: Sequence[socket.socket] = ()
        self._duplicate: socket.socket | None = None
        self._held: list[Any] = []
        """The socket in use, at most one. Whoever takes it out of here may cut it, or give it to the next call: never
        both."""
        self._process = os.getpid()
        self._forks = _forks[0]
        self._fresh = False
        self._connected = False
        self._whole = False

    def looking_up(self, lookup: Interruptible) -> None:
        """The addresses of the server are being looked up."""
        self._lookup = lookup
        if self.aborted:
            lookup.abort()

    def opening(self, sockets: Sequence[socket.socket]) -> None:
        """Connections are being made on what is now, or will be, in ``sockets``."""
        self._fresh = True
        self._trying = sockets

    def opened(self, sock: socket.socket) -> None:
        """There is a connection on ``sock``; a proxy's tunnel and TLS may still have to follow."""
        self._let_go()
        with suppress(OSError):  # there may be no descriptor left, and it is needed only by abort()
            self._duplicate = sock.dup()  # TLS takes the socket itself away until its handshake is done
        self._hold(self._duplicate or sock)
        if self.aborted:
            raise ConnectionAbortedError("the call was closed")

    def connected(self, sock: Any) -> None:
        """The request is about to go out on ``sock``."""
        self._connected = True
        self._let_go()
        self._hold(sock)
        self.deadline.begin("first_byte")

    def _hold(self, sock: Any) -> None:
        self._held = [sock]
        if self.aborted:
            self.abort()

    def _let_go(self) -> None:
        self._held = []
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
        slot: list[Any] = [self]
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
        own = self.incoming is not None and not was_read(response)
        self.headers = response.raw.headers if own else headers_of(response)
        if self.incoming is None:
            self._held = [response.raw]
            self.deadline.begin("first_byte")  # it was not told of its connection

    def __iter__(self) -> Iterator[bytes]:
        """The body as it arrives; if it is compressed, so are these bytes."""
        failure: AIChatFreeError | None = None
        try:
            for data in self._body():
                yield data
                self.deadline.begin("idle")
                if self._forks != _forks[0]:
                    raise ConnectionError("this process is a fork: the stream belongs to the one that began it")
        except Exception as error:
            if not self.aborted and not isinstance(error, FOREIGN_ERRORS):
                raise  # else the socket was taken away under the reader's hands
            failure = self._translate(error)
        self._raise(failure)
        if self.aborted:
            raise closed_by_caller()
        self._whole = True

    def _body(self) -> Iterator[bytes]:
        assert self._response is not None
        if self._process != os.getpid():
            raise ConnectionError("this process is a fork: the stream belongs to the one that began it")
        if self.incoming is not None and not was_read(self._response):
            return self.incoming.body()  # type: ignore[no-any-return]
        return body_of(self._response, self.deadline)

    def abort(self) -> None:
        """Unblock whatever the exchange is waiting for, from any thread."""
        self.aborted = True
        if self._process != os.getpid():
            return  # what is cut here would be cut for the process that forked this one
        if self._lookup is not None:
            self._lookup.abort()
        for sock in tuple(self._trying):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        with suppress(IndexError):
            _cut(self._held.pop())

    def close(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        response, self._response = self._response, None
        held, self._held = self._held, []
        mine = False
        with suppress(IndexError):
            held.pop()
            mine = True  # nobody cuts it any more
        self._let_go()
        if response is None:
            return
        incoming = self.incoming
        if incoming is None or not (mine and self._whole and incoming.reusable and self._process == os.getpid()):
            response.raw.close()
        else:
            incoming.close()
            response.raw.release_conn()

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
        if self.aborted:
            return closed_by_caller()
        causes = list(causes_of(error))
        if self.deadline.expired() or any(map(is_timeout, causes)):
            if self._transport.passed_in and any(isinstance(cause, requests.ReadTimeout) for cause in causes):
                self.deadline.begin("first_byte")  # a session that is not ours does not tell when it is connected
            return self.deadline.error()
        if self._response is not None:
            return interrupted(error, secrets)
        problem = problem_of(
            causes, connected=self._connected, sent=self._connected or self._transport.passed_in is not None
        )
        if problem != "no_http" and any(isinstance(cause, INVALID) for cause in causes):
            return InvalidRequestError(f"{self.request!r} cannot be sent: {short(error, secrets)}")
        reused = self._connected and not self._fresh
        return connect_failure(problem, self.request.url, causes[-1], reused=reused, secrets=secrets)


def _cut(connection: Any) -> None:
    """End a connection, a socket or urllib3's answer, for whoever waits for it."""
    sock = getattr(connection, "socket", connection)  # urllib3's TLS in TLS wraps the socket
    with suppress(OSError, ValueError, RuntimeError, AttributeError):  # it is not connected yet, or not any more
        if isinstance(sock, socket.socket):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's own, which takes TLS off first
        else:
            sock.shutdown()
