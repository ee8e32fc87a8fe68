"""The asynchronous transport: aiohttp sends and reads."""

from __future__ import annotations

import asyncio
import io
import math
import socket
import ssl
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

from ..core.deadlines import Deadline
from ..core.failures import ConnectProblem, closed_by_caller, connect_failure, interrupted
from ..core.payload import Request
from ..core.settings import Settings, split_userinfo
from ..errors import AIChatFreeError, InvalidRequestError, Phase, RequestTimeoutError
from .aiohttp_sessions import LoopSession, current_exchange
from .network import Network

LARGE_BODY = 1024 * 1024
"""Bytes of a request from which aiohttp wants a file instead of one bytes object."""

FOREIGN_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, asyncio.TimeoutError, EOFError)
"""What aiohttp raises (its time-outs and ssl's errors are among these)."""


class AiohttpTransport:
    """Sends requests through sessions of its own, one for each loop, or through one that the user passed in.

    Args:
        settings: ``proxy``, ``verify`` and ``trust_env`` are settled here.
        session: The user's session. What it does is kept, and it is never closed here.
        connector: The user's connector, which is never closed here.
    """

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession | None = None,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        if session is not None and connector is not None:
            raise InvalidRequestError("give session= or connector=, not both: a session has a connector of its own")
        if connector is not None and not isinstance(connector, aiohttp.BaseConnector):
            raise InvalidRequestError(f"connector is of type {type(connector).__name__}: give an aiohttp connector")
        self.users = 0
        self._settings = settings
        self._session = session
        self._connector = connector
        self._network = Network(settings if session is None else replace(settings, trust_env=False))
        self._loops: dict[asyncio.AbstractEventLoop, LoopSession] = {}
        self._routes: dict[str, tuple[dict[str, Any], dict[str, str]]] = {}
        weakref.finalize(self, _dispose_all, self._loops)

    @property
    def passed_in(self) -> str | None:
        """The argument with which the user passed in connections of their own."""
        return "session" if self._session is not None else "connector" if self._connector is not None else None

    def exchange(self, request: Request, deadline: Deadline) -> AiohttpExchange:
        """Prepare to send one request; no I/O yet."""
        return AiohttpExchange(self, request, deadline)

    async def loop_session(self) -> LoopSession | None:
        """Our session in the running loop; None where the user passed one in."""
        if self._session is not None:
            if self._session.closed:
                raise InvalidRequestError("the session that was passed in is closed: give the client an open one")
            return None
        loop = asyncio.get_running_loop()
        if self._connector is not None and getattr(self._connector, "_loop", loop) is not loop:
            raise InvalidRequestError("the connector that was passed in belongs to another event loop: make it in this one")
        held = self._loops.get(loop)
        if held is None:
            for dead in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(dead).dispose()
            held = self._loops[loop] = LoopSession(self._connector)
            await held.start()
        return held

    async def post(self, request: Request, deadline: Deadline, held: LoopSession | None) -> aiohttp.ClientResponse:
        """Send a request and return the answer with its body unread."""
        session = self._session if held is None else held.session
        assert session is not None
        options, credentials = self._route(request.url)
        return await session.request(
            request.method,
            request.url,
            data=request.body if len(request.body) < LARGE_BODY else io.BytesIO(request.body),
            headers={**request.headers, **credentials} if credentials else request.headers,
            allow_redirects=False,
            auto_decompress=False,
            timeout=_connect_timeout(deadline.limit("connect")),
            **options,
        )

    def _route(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The proxy and the certificates for a URL, and the credentials that a forwarding proxy wants."""
        if url in self._routes:
            return self._routes[url]
        options: dict[str, Any] = {}
        credentials: dict[str, str] = {}
        tls = url.startswith("https:")
        proxy = self._network.proxy_for(url)
        if proxy is not None:
            options["proxy"], authorization = split_userinfo(proxy)
            if authorization and tls:
                options["proxy_headers"] = {"Proxy-Authorization": authorization}
            elif authorization:
                credentials["Proxy-Authorization"] = authorization
        if tls or (proxy or "").startswith("https:"):
            if self.passed_in is None or self._settings.verify is not True:
                options["ssl"] = self._network.ssl_context
        self._routes[url] = options, credentials
        return options, credentials

    async def close(self) -> None:
        """Close every connection of every loop; a session or connector that was passed in stays open."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        _dispose_all(self._loops)
        if here is not None:
            await here.close()


@lru_cache(maxsize=64)
def _connect_timeout(seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=seconds, ceil_threshold=math.inf)


def _dispose_all(loops: dict[asyncio.AbstractEventLoop, LoopSession]) -> None:
    while loops:
        loops.popitem()[1].dispose()


class AiohttpExchange:
    """One request and its answer. :meth:`send` it, then iterate over the body; :meth:`close` it in any case.

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
        if self._aborted:
            self._cut()
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
        token = current_exchange.set(self)
        try:
            sending = self._transport.post(self.request, self.deadline, held)
            if held is None:
                response = await asyncio.wait_for(sending, self._limit_foreign())
            else:
                response = await sending
        except FOREIGN_ERRORS as error:
            raise self._translate(error) from error
        finally:
            current_exchange.reset(token)
        self._response = response
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
        if self.deadline.phase == "idle":
            self._begin("idle")
        content = self._response.content
        try:
            data = await content.readany()
        except (*FOREIGN_ERRORS, RuntimeError) as error:
            if isinstance(error, RuntimeError) and (self._protocol is None or self._protocol.is_connected()):
                raise
            failure = self._translate(error)
            failure.__cause__ = error
            arrived = b"" if self._late or self._aborted else _arrived(content)
            if not arrived:
                raise failure from error
            self._failure = failure
            return arrived
        self._read += len(data)
        if not data:
            self._end()
        elif self.deadline.phase != "idle":
            self._begin("idle")
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
        self._cut()

    def _cut(self) -> None:
        """Close the connection at once: not as TLS would, which waits for the other end."""
        if self._connection is not None:
            if self._connection.transport is not None:
                self._connection.transport.abort()
            self._connection.close()
        if self._response is not None:
            content = self._response.content
            if not content.is_eof() and content.exception() is None:
                # aiohttp would set one exception object that all share, whose traceback grows with each raising.
                content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))
            self._response.close()

    def close(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lost_future is not None:
            self._lost_future.remove_done_callback(self._lost)
        if not self._whole:
            self._cut()
        self._response = self._connection = None

    def _translate(self, error: BaseException) -> AIChatFreeError:
        """The exception of this library for one of :data:`FOREIGN_ERRORS`."""
        if isinstance(error, aiohttp.ClientResponseError):
            _forget_headers(error)
        if self._aborted:
            return closed_by_caller()
        if self._late is not None:
            return self._late
        if self.deadline.expired() or isinstance(error, asyncio.TimeoutError):
            return self.deadline.error()
        if self._response is not None:
            return interrupted(error)
        if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
            return InvalidRequestError(f"the request to {self.request.url} cannot be sent: {error}")
        return connect_failure(_problem(error), self.request.url, error, reused=self._reused)


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
