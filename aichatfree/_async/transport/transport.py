"""The asynchronous transport: aiohttp sends and reads."""

from __future__ import annotations

import io
import re
import weakref
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from ..._core.deadlines import Deadline
from ..._core.network import Network
from ..._core.settings import Settings
from ..._core.wire.addresses import split_userinfo
from ..._core.wire.requests import Request
from ...errors import InvalidRequestError
from .borrowed import framed
from .exchange import AiohttpExchange
from .hooks import middlewares_of, session_options
from .outgoing import LARGE_BODY
from .sessions import KEEP_ALIVE_SECONDS, LoopSession, MakeConnector, Sessions, belongs_to, make_connector
from .socks import SocksConnector

MANY_ROUTES = 64
"""Origins whose routes are remembered: redirects and ``with_options(base_url=...)`` may lead to ever new ones."""


_ZONED = re.compile(r"(https?://\[[0-9a-fA-F:.]+)%(?:25)?([^\]/]+\](:\d+)?)")
"""An IPv6 address with its zone (RFC 6874): aiohttp does not read it as URLs write it, and servers do not know it."""

LONG_URL = 512
"""yarl remembers the last 128 URLs that it has read, with their parts: of this length or more it is not to read any."""


class _Route(NamedTuple):
    """How an origin is reached.

    Args:
        options: What aiohttp is told with each request.
        credentials: Headers that a forwarding proxy wants.
        socks: The SOCKS proxy in between, None if there is none.
    """

    options: dict[str, Any]
    credentials: dict[str, str]
    socks: str | None


class AiohttpTransport:
    """Sends requests through sessions of its own, one for each loop, or through one that the user passed in.

    Args:
        settings: ``proxy``, ``verify`` and ``trust_env`` are settled here.
        session: The user's session. What it does is kept, and it is never closed here.
        connector: The user's connector, which is never closed here.

    Raises:
        InvalidRequestError: A session or connector is of another type, or cannot do what the settings ask.
    """

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession | None = None,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        if session is not None and connector is not None:
            raise InvalidRequestError("give session= or connector=, not both: a session has a connector of its own")
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise InvalidRequestError(f"session is of type {type(session).__name__}: give an aiohttp.ClientSession")
        if connector is not None and not isinstance(connector, aiohttp.BaseConnector):
            raise InvalidRequestError(f"connector is of type {type(connector).__name__}: give an aiohttp connector")
        self._settings = settings
        self._session = session
        self._connector = connector
        self._network = Network(settings if session is None else settings.replace(trust_env=False))
        self._sessions = Sessions()
        self._routes: dict[str, _Route] = {}
        weakref.finalize(self, self._sessions.dispose)
        self._route(settings.base_url)

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

    def session_for(self, url: str) -> LoopSession | None:
        """Our session in the running loop; None where the user passed one in."""
        if self._session is not None:
            if self._session.closed:
                raise InvalidRequestError("the session that was passed in is closed: give the client an open one")
            if not belongs_to(self._session):
                raise InvalidRequestError(
                    "the session that was passed in belongs to another event loop: make it in this one"
                )
            return None
        if self._connector is not None:
            connector = self._connector
            if not belongs_to(connector):
                raise InvalidRequestError(
                    "the connector that was passed in belongs to another event loop: make it in this one"
                )
            return self._sessions.get(None, lambda: connector, owns_connector=False)
        socks = self._route(url).socks
        make: MakeConnector = make_connector
        if socks is not None:
            make = partial(SocksConnector, socks, limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
        return self._sessions.get(socks, make)

    async def post(self, request: Request, deadline: Deadline, held: LoopSession | None) -> aiohttp.ClientResponse:
        """Send a request and return the answer with its body unread."""
        options, credentials, _ = self._route(request.url)
        headers = {**request.headers, **credentials} if credentials else request.headers
        url = request.url
        if "%" in url and (zoned := _ZONED.match(url)):
            url, host = (
                zoned[1] + "%" + zoned[2] + url[zoned.end() :],
                f"{zoned[1].partition('//')[2]}]{zoned[3] or ''}",
            )
            headers = {"Host": host, **headers}
        session = self._session if held is None else held.session
        assert session is not None
        if held is None:
            headers, options = self._for_foreign(session, headers, {**options, **session_options()})
            options["timeout"] = aiohttp.ClientTimeout(total=None, connect=deadline.limit("connect") or None)
        return await session.request(
            request.method,
            url if len(url) < LONG_URL else _read_apart(url),
            data=request.body if held is not None or len(request.body) < LARGE_BODY else io.BytesIO(request.body),
            headers=headers,
            allow_redirects=False,
            auto_decompress=False,
            **options,
        )

    def _for_foreign(
        self, session: aiohttp.ClientSession, headers: dict[str, str], options: dict[str, Any]
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Headers and options for a session that may have its own mind."""
        options["raise_for_status"] = False  # what an error is, is decided by what its body says
        middlewares = *middlewares_of(session), framed
        authorization = next((name for name in headers if name.lower() == "authorization"), None)
        if authorization is not None and (session.trust_env or session.auth is not None):
            # aiohttp refuses this header beside credentials of the session's, of which it would find some in a netrc.
            value = headers[authorization]
            headers = {name: headers[name] for name in headers if name != authorization}

            async def authorize(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
                request.headers["Authorization"] = value
                response: aiohttp.ClientResponse = await handler(request)
                return response

            middlewares = *middlewares, authorize
        options["middlewares"] = middlewares
        return headers, options

    def _route(self, url: str) -> _Route:
        """How a URL is reached; what has been found out of its origin is remembered."""
        end = url.find("/", 8)
        origin = url if end < 0 else url[:end]
        route = self._routes.get(origin)
        if route is None:
            route = self._find_route(origin)
            if len(self._routes) >= MANY_ROUTES:
                self._routes.clear()
            self._routes[origin] = route
        return route

    def _find_route(self, origin: str) -> _Route:
        options: dict[str, Any] = {}
        credentials: dict[str, str] = {}
        tls = origin.startswith("https:")
        proxy = self._network.proxy_for(origin)
        socks = proxy if proxy is not None and proxy.lower().startswith("socks") else None
        if socks is not None and self.passed_in is not None:
            raise InvalidRequestError(
                f"a SOCKS proxy has no effect on a {self.passed_in}= of your own: give that one a way through the proxy"
            )
        if proxy is not None and socks is None:
            options["proxy"], authorization = split_userinfo(proxy)
            if authorization and tls:
                options["proxy_headers"] = {"Proxy-Authorization": authorization}
            elif authorization:
                credentials["Proxy-Authorization"] = authorization
        tls = tls or (proxy or "").startswith("https:")
        if tls and (self.passed_in is None or self._settings.verify is not True):
            options["ssl"] = self._network.ssl_context
        return _Route(options, credentials, socks)

    async def aclose(self) -> None:
        """Close every connection of every loop; a session or connector that was passed in stays open."""
        await self._sessions.close()


def _read_apart(url: str) -> URL:
    """A URL as yarl has it when it is unpickled, which leaves nothing in its memory."""
    scheme, netloc, path, query, _ = urlsplit(quote(url, safe="%:/?#[]@!$&'()*+,;=~"))
    apart = object.__new__(URL)
    apart.__setstate__(((scheme, netloc, path or "/", query, ""),))
    return apart
