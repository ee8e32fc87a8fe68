"""Settings, contents and a signature -> one request. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from .redaction import short
from .signing import Signer, well_formed


class Request(NamedTuple):
    """One HTTP request, ready to be sent. Its repr shows nothing of the body, which bears password and signature.

    Args:
        method: The HTTP method.
        url: Where it goes.
        headers: What it says.
        body: What it carries.
        secrets: What must not be shown of it, should the server repeat it.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Request {self.method} {short(self.url.partition('?')[0], self.secrets)}, {len(self.body)} bytes>"


Request.__module__ = "aichatfree"


class Draft:
    """Builds and signs a request, for a URL or (None) for the client's own, whenever it is called."""

    def __init__(self, build: Callable[..., Request], args: tuple[object, ...]) -> None:
        self._build = build
        self._args = args

    def __call__(self, url: str | None = None) -> Request:
        """The request, signed now."""
        return self._build(*self._args, url)


class RequestSettings(Protocol):
    """What of a client's settings shapes a request."""

    @property
    def base_url(self) -> str:
        """The server's root."""
        ...

    @property
    def password(self) -> str | None:
        """The site password."""
        ...

    @property
    def authorization(self) -> str | None:
        """The ``Authorization`` header, if the base URL holds a user."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What is added to each request, or replaces what is sent by default."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every string that must never be shown."""
        ...


class RequestBuilder:
    """Builds the requests of one client. What does not change from call to call is made once, here.

    Args:
        settings: The client's settings.
        signer: Signs with the client's secret.
        user_agent: What the requests say who sends them.
        more_secrets: What must not be shown, beside those of the settings.
    """

    def __init__(
        self, settings: RequestSettings, signer: Signer, user_agent: str, more_secrets: tuple[str, ...] = ()
    ) -> None:
        self._user_agent = user_agent
        self._settings = settings
        self._signer = signer
        self._secrets = (*settings.secrets, *more_secrets)
        password = settings.password
        self._password = json.dumps(None if password is None else well_formed(password)).encode()
        self._generate_url = f"{settings.base_url}/api/generate"
        self._generate_headers = self._headers(self._generate_url)

    def draft(self, build: Callable[..., Request], *args: object) -> Draft:
        """A request that is signed later, at each attempt. Its repr shows nothing of it."""
        return Draft(build, args)

    def generate(self, contents: Iterable[bytes], text: str, url: str | None = None) -> Request:
        """A signed request to ``/api/generate``.

        Args:
            contents: The JSON of the whole history, in pieces, as :func:`~.messages.dump_messages` makes it.
            text: All parts of the last message, joined with nothing between them.
            url: Where a redirect led, if it did.
        """
        time, sign = self._signer.sign(text)
        rest = b',"time":%d,"pass":%b,"sign":"%b"}' % (time, self._password, sign.encode())
        body = b"".join((b'{"messages":', *contents, rest))
        secrets = (*self._secrets, sign)
        if url is None:
            return Request("POST", self._generate_url, self._generate_headers, body, secrets)
        return Request("POST", url, self._headers(url), body, secrets)

    def auth(self, password: str | None, url: str | None = None) -> Request:
        """A request to ``/api/auth``, which says whether ``password`` (None: the client's own) is right."""
        url = url or f"{self._settings.base_url}/api/auth"
        passed = self._password if password is None else json.dumps(well_formed(password)).encode()
        return Request("POST", url, self._headers(url), b'{"pass":%b}' % passed, (*self._secrets, password or ""))

    def _headers(self, url: str) -> dict[str, str]:
        """What the browser's page sends, and ``identity``, so that nothing between holds pieces back to compress."""
        origin = _origin(url)
        headers = {
            "User-Agent": self._user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Content-Type": "text/plain;charset=UTF-8",
            "Origin": origin,
            "Referer": f"{origin}/",
        }
        if self._settings.authorization:
            headers["Authorization"] = self._settings.authorization
        named = {name.lower(): (name, value) for name, value in (*headers.items(), *self._settings.headers.items())}
        return dict(named.values())


@lru_cache(maxsize=64)
def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
