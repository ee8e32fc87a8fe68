"""Who may ask a gateway: the key, the sites, and what browsers are told of it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import hdrs, web

from ..server.sites import Sites, is_loopback
from .problems import Problem

__all__ = ["Guard"]

HEALTH_PATH = "/healthz"
"""Needs no key."""
_MAX_REMEMBERED = 100
_PREFLIGHT_SECONDS = 600
_EXPOSED = "x-aichatfree-ignored, x-request-id, x-should-retry, retry-after"


class Guard:
    """Judges requests before anything of them is read.

    Args:
        api_key: What callers must show; None or ``""``: nothing, and only loopback addresses are served then.
        allow_origins: Sites whose pages may ask, beside those of this machine.
        host: The address that is listened on; None: each request's own tells.

    Raises:
        ValueError: One of `allow_origins` is not an origin.
    """

    def __init__(self, api_key: str | None, allow_origins: Iterable[str], host: str | None) -> None:
        self._key = _digest(api_key.encode()) if api_key else None
        self._origins = (allow_origins,) if isinstance(allow_origins, str) else tuple(allow_origins)
        self._host = host
        self._by_address: dict[str, Sites] = {}
        self._served: set[tuple[str, str | None, str | None]] = set()
        """Addresses, Hosts and Origins that were found right: most callers come again."""
        self._allowed = Sites("localhost", self._origins)

    def judge(self, request: web.Request) -> web.Response | None:
        """Judge a request.

        Args:
            request: The request, whose body was not read.

        Returns:
            The answer to a preflight of an allowed site; None for any other request that may go on.

        Raises:
            Problem: It is refused.
        """
        if request.method == hdrs.METH_OPTIONS and self._is_preflight(request):
            return self._preflight(request)
        if request.path != HEALTH_PATH:
            self._judge_key(request)
        self._judge_site(request)
        return None

    def tell_browser(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add what lets the pages of an allowed site read an answer."""
        origin = request.headers.get(hdrs.ORIGIN)
        if self._origins:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if origin is not None and self._allowed.allows(origin):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    def _is_preflight(self, request: web.Request) -> bool:
        asks = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        return asks and self._allowed.allows(request.headers.get(hdrs.ORIGIN))

    @staticmethod
    def _preflight(request: web.Request) -> web.Response:
        fields: dict[str, str] = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, OPTIONS",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "authorization, content-type",
            hdrs.ACCESS_CONTROL_MAX_AGE: str(_PREFLIGHT_SECONDS),
        }
        wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
        if re.fullmatch(r"[A-Za-z0-9_.-]+(?:, *[A-Za-z0-9_.-]+)*", wanted):
            fields[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = wanted
        if request.headers.get("Access-Control-Request-Private-Network") == "true":
            fields["Access-Control-Allow-Private-Network"] = "true"
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=fields)

    def _judge_key(self, request: web.Request) -> None:
        if self._key is None:
            return
        scheme, _, shown = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        shown = shown.strip() if scheme.lower() == "bearer" else ""
        # Digests are of one length, so that the time tells nothing of the key's.
        if not hmac.compare_digest(_digest(shown.encode("utf-8", "surrogateescape")), self._key):
            words = "Incorrect API key provided" if shown else "You didn't provide an API key"
            text = f"{words}: send the gateway's key as Authorization: Bearer KEY."
            raise Problem(HTTPStatus.UNAUTHORIZED, text, code="invalid_api_key")

    def _judge_site(self, request: web.Request) -> None:
        name = request.transport.get_extra_info("sockname") if request.transport else None
        if not isinstance(name, tuple):
            return  # a Unix socket is reached by whom the file system lets
        named, origin = request.headers.get(hdrs.HOST), request.headers.get(hdrs.ORIGIN)
        asked = (name[0], named, origin)
        if asked in self._served:
            return
        address = str(name[0]).partition("%")[0]
        if self._key is None and not is_loopback(address):
            text = "This gateway has no API key and so serves only callers on its own machine: set a key for it."
            raise Problem(HTTPStatus.FORBIDDEN, text, code="no_api_key_set")
        host = address if self._host is None else self._host
        sites = self._by_address.get(host)
        if sites is None:
            sites = self._by_address[host] = Sites(host, self._origins)
        refusal = sites.host_refusal(named) or (sites.origin_refusal(origin, named) if origin else None)
        if refusal:
            raise Problem(HTTPStatus.FORBIDDEN, f"Refused: {refusal}.", code="site_not_allowed")
        if len(self._served) < _MAX_REMEMBERED:
            self._served.add(asked)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
