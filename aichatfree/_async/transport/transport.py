"""The asynchronous transport: aiohttp sends and reads."""

from __future__ import annotations

import asyncio
import io
import math
import weakref
from contextlib import suppress
from functools import lru_cache
from typing import Any

import aiohttp

from ..._core.deadlines import Deadline
from ..._core.network import Network
from ..._core.settings import Settings
from ..._core.wire.addresses import split_userinfo
from ..._core.wire.requests import Request
from ...errors import InvalidRequestError
from .exchange import AiohttpExchange
from .sessions import LoopSession

LARGE_BODY = 1024 * 1024
"""Bytes of a request from which aiohttp wants a file instead of one bytes object."""


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
        self._settings = settings
        self._session = session
        self._connector = connector
        self._network = Network(settings if session is None else settings.replace(trust_env=False))
        self._loops: dict[asyncio.AbstractEventLoop, LoopSession] = {}
        self._routes: dict[str, tuple[dict[str, Any], dict[str, str]]] = {}
        weakref.finalize(self, _dispose_all, self._loops)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, beside what the settings have."""
        return self._network.secrets

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
            raise InvalidRequestError(
                "the connector that was passed in belongs to another event loop: make it in this one"
            )
        held = self._loops.get(loop)
        if held is None:
            for other in list(self._loops):  # loops of other threads may come and go meanwhile
                if other.is_closed() and (dead := self._loops.pop(other, None)):
                    dead.dispose()
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
        tls = tls or (proxy or "").startswith("https:")
        if tls and (self.passed_in is None or self._settings.verify is not True):
            options["ssl"] = self._network.ssl_context
        self._routes[url] = options, credentials
        return options, credentials

    async def aclose(self) -> None:
        """Close every connection of every loop; a session or connector that was passed in stays open."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        _dispose_all(self._loops)
        if here is not None:
            await here.close()


@lru_cache(maxsize=64)
def _connect_timeout(seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=seconds, ceil_threshold=math.inf)


def _dispose_all(loops: dict[asyncio.AbstractEventLoop, LoopSession]) -> None:
    with suppress(KeyError):  # it is empty now
        while True:
            loops.popitem()[1].dispose()
