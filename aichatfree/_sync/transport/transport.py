"""The synchronous transport: requests sends, http.client and urllib3 read."""

from __future__ import annotations

import ssl
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict
from urllib3 import Timeout as Urllib3Timeout

from ..._core.deadlines import Deadline
from ..._core.network import Network
from ..._core.settings import Settings
from ..._core.wire.requests import Request
from ...errors import InvalidRequestError
from . import sessions
from .exchange import RequestsExchange
from .hooks import LimitedAdapter


class RequestsTransport:
    """Sends requests through a pool of its own, or through a session that the user passed in.

    Args:
        settings: ``proxy``, ``verify`` and ``trust_env`` are settled here.
        session: The user's session. What it does (adapters, hooks, auth, cookies, its own proxies) is kept, and it
            is never closed here.

    Raises:
        InvalidRequestError: The session is none of requests, or cannot take what the settings say; or the proxy or
            the certificates cannot be used.
    """

    def __init__(self, settings: Settings, session: requests.Session | None = None) -> None:
        self.session = session
        self._own: requests.Session | None = None
        network = self._network = Network(settings if session is None else settings.replace(trust_env=False))
        self._settings = settings.replace(verify=network.verify)
        if session is None:
            self._own = requests.Session()
            self._own.trust_env = False  # it was read above
            adapter = LimitedAdapter(network)
            self._own.mount("http://", adapter)
            self._own.mount("https://", adapter)
            return
        sessions.check_session(session)
        if isinstance(settings.verify, ssl.SSLContext):
            raise InvalidRequestError(
                "verify= is an SSLContext, which a requests.Session cannot take: mount an adapter that has it instead"
            )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, beside what the settings have."""
        return self._network.secrets

    @property
    def passed_in(self) -> str | None:
        """The argument with which the user passed in connections of their own."""
        return None if self.session is None else "session"

    def exchange(self, request: Request, deadline: Deadline) -> RequestsExchange:
        """Prepare to send one request; no I/O yet."""
        return RequestsExchange(self, request, deadline)

    def post(self, request: Request, deadline: Deadline) -> requests.Response:
        """Send a request and return the answer with its body unread."""
        if self._own is None:
            assert self.session is not None
            return sessions.post(self.session, self._settings, request, deadline)
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = request.url
        prepared.headers = CaseInsensitiveDict(request.headers)
        prepared.headers["Content-Length"] = str(len(request.body))
        prepared.body = request.body
        prepared.hooks = {}
        connect, read = sessions.limits(deadline)
        # urllib3 counts these for each wait; what holds for the call, its connections ask the deadline (see hooks).
        timeout: Any = Urllib3Timeout(connect=connect, read=read)
        if sessions.is_replaced(requests.Session.send):
            prepared.prepare_cookies({})  # the session looks into them
            return self._own.send(prepared, stream=True, timeout=timeout, allow_redirects=False)
        # Without the session's own work: a request of ours has no cookies, no hooks, and no redirects.
        adapter = self._own.get_adapter(request.url)
        return adapter.send(prepared, stream=True, timeout=timeout)

    def close(self) -> None:
        """Close the idle connections; a session that was passed in stays open."""
        if self._own is not None:
            self._own.close()
