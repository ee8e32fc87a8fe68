"""(status, headers, body) -> the right exception. No I/O.

Bodies are read as if an enemy wrote them: they may be no JSON, no object, empty, a page of HTML, or cut off. The
content type says nothing (the server sends its JSON errors as ``text/plain``), so it is never asked. The wordings
are those of GeminiProChat's ``/api/generate`` and of the platforms it is deployed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from ..errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConnectError,
    InvalidPasswordError,
    InvalidSignatureError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ServerError,
)
from .waits import told_wait
from .wire.redaction import Redactor, short

# None of these may take more than linear time: the 64 KiB they search are the server's. So no run of characters may
# reach beyond the next place where a match could begin.
# Compiled, and kept, by re when first used: few calls fail, and each would cost every import.
_BRACKET = r"\[([0-9]{3})(?: [^\[\]]*)?\]"
_TAGS = r"(?is)<(script|style)\b(?:.*?</\1\s*>|.*)|<[^<>]*>"
_TITLE = r"(?i)<title[^<>]*>([^<]*)"
_FROM_PROVIDER = "[GoogleGenerativeAI Error]"
"""How the server's words begin where the library of its provider failed; of a 400 they are stripped (recorded)."""
_QUOTA_WORDS = ("quota exceeded", "resource has been exhausted", "resource_exhausted", "exceeded your current quota")
_OVERLOAD_WORDS = ("model is overloaded",)
_REFUSAL_WORDS = (
    "location is not supported",
    "api key not valid",
    "api key expired",
    "api_key_invalid",
    "permission_denied",
)
_UNREACHABLE_WORDS = "fetch failed"
_OWN_FAULT_WORDS = ("missing role for history item", "cannot read properties of")
"""What the server's own code says of a history that it cannot read (recorded: earlier_...)."""
_URL_CHARACTERS = "%:/?#[]@!$&'()*+,;=~"
_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPS_METHOD = (307, 308)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Said(NamedTuple):
    """What an error body says, as far as it can be made out."""

    message: str
    code: str | None


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, url: str, now: float, secrets: Iterable[str] = ()
) -> APIError:
    """The exception for an answer that is not a reply.

    Args:
        status: The HTTP status.
        headers: The answer's headers, looked up in lower case.
        body: The body, at most :data:`MAX_BODY_BYTES` of it.
        url: Where the request was sent.
        now: Seconds since the epoch, for a ``Retry-After`` that names a date.
        secrets: What must not be shown, should the server repeat it.

    Returns:
        The exception, not raised yet.
    """
    text = body.decode("utf-8", "replace")
    said = _read(text)
    upstream = _upstream_status(said) if status == 500 else None
    wait = told_wait(headers, said.message, now)
    kind, remedy = _classify(status, said, upstream, wait)
    hidden = Redactor(secrets)
    shown = hidden.of_a_cut(said.message)
    asked, url = url, hidden(url.partition("?")[0])
    error = kind(
        f"HTTP {status}{_quoted(shown)}: {remedy.format(url=url)}",
        status_code=status,
        code=said.code and hidden(said.code),
        message=shown,
        body=hidden.of_a_cut(text),
        headers=hidden.headers(headers.items()),
        upstream_status=upstream,
        retry_after=wait,
    )
    error._own_words = f"HTTP {status}: {remedy.format(url='the address that is set')}"
    if isinstance(error, RedirectError):
        _resolve_redirect(error, asked, _utf8(headers.get("location", "")), hidden)
    return error


ConnectProblem = Literal["dns", "refused", "tls", "proxy", "reset", "no_http", "descriptors"]

_CONNECT_REMEDIES: dict[ConnectProblem, str] = {
    "dns": "the name cannot be resolved; check base_url and the network",
    "refused": "nothing accepts connections there; is the server up, and base_url right?",
    "tls": "no secure connection; check base_url and this machine's certificates (verify=...)",
    "proxy": "the proxy did not let the request through; check proxy=... and HTTP_PROXY, HTTPS_PROXY, NO_PROXY",
    "reset": "the connection was closed before an answer came; try again",
    "descriptors": "this process may open no more files; close files or connections, or raise its limit of descriptors",
    "no_http": "what answered does not speak HTTP, or not well; is base_url right?",
}


def connect_failure(
    problem: ConnectProblem, url: str, detail: object, *, reused: bool = False, secrets: Iterable[str] = ()
) -> ConnectError:
    """The exception for a request that got no answer.

    Args:
        problem: What kind of trouble the transport met.
        url: Where the request was to go.
        detail: The HTTP library's own words.
        reused: The connection had been used before, and lain idle since.
        secrets: What must not be shown of the words.
    """
    secrets = tuple(secrets)
    parts = urlsplit(url)
    host = short(parts.netloc.rpartition("@")[2], secrets)
    words = short(detail, secrets)
    error = ConnectError(f"no answer from {parts.scheme}://{host}: {_CONNECT_REMEDIES[problem]} ({words})")
    error._own_words = f"no answer from the server: {_CONNECT_REMEDIES[problem]}"
    error.reused_connection = reused
    return error


def _read(text: str) -> _Said:
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return _Said(_plain(text), None)
    error = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(error, str):
        return _Said(error, None)
    if not isinstance(error, dict):
        return _Said(_plain(text), None)
    message, code = error.get("message"), error.get("code")
    return _Said(
        message if isinstance(message, str) else _plain(text),
        code if isinstance(code, str) else None if code is None else json.dumps(code),
    )


def _plain(text: str) -> str:
    """The words of a page: its title, else its text, on one line."""
    if "<" in text and (title := re.search(_TITLE, text)) and title[1].strip():
        text = title[1]
    elif text.lstrip().startswith("<"):
        text = re.sub(_TAGS, " ", text)
    import html  # its table of entities takes a while to load, and few errors are pages

    with suppress(ValueError):  # a character reference of more digits than int() takes
        text = html.unescape(text)
    return " ".join(text.split())


def _upstream_status(said: _Said) -> int | None:
    """The status with which the model's provider answered the server, as far as the server's words tell."""
    if bracket := re.search(_BRACKET, said.message):
        return int(bracket[1])
    words = said.message.lower()
    if any(word in words for word in _QUOTA_WORDS):
        return 429
    if any(word in words for word in _OVERLOAD_WORDS):
        return 503
    if any(word in words for word in _REFUSAL_WORDS):
        return 400
    if said.code != "Error" or said.message.startswith(_FROM_PROVIDER) or _is_own_fault(said):
        return None
    return None if _UNREACHABLE_WORDS in words else 400


def _is_own_fault(said: _Said) -> bool:
    return said.code is not None and any(word in said.message.lower() for word in _OWN_FAULT_WORDS)


def _classify(status: int, said: _Said, upstream: int | None, wait: float | None) -> tuple[type[APIError], str]:
    """The class of the exception, and what to do about it."""
    words = said.message.lower()
    if status == 500 and said.code is not None and upstream is None:
        if _is_own_fault(said):
            return BadRequestError, "the server cannot read an earlier message of the history; correct it"
        if _UNREACHABLE_WORDS in words:
            return ServerError, (
                "the server could not reach the model's provider: its own network or its provider is to blame, "
                "not this machine's; try again later, or use another server (base_url=...)"
            )
    if status == 500 and upstream is not None:
        return _of_the_provider(upstream, words, wait)
    if status == 401:
        if "password" in words:
            return InvalidPasswordError, "give the site's password (password=..., or AICHATFREE_PASSWORD)"
        if "signature" in words:
            return InvalidSignatureError, (
                "the server signs with another secret (secret=..., or AICHATFREE_SECRET), "
                "or this machine's clock is wrong"
            )
        return AuthenticationError, "the server wants credentials; see password=, secret= and headers="
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status in _REDIRECTS:
        return RedirectError, "the request bears the password and is not sent elsewhere"
    if status >= 500:
        return ServerError, "the server failed; try again, or use another server (base_url=...)"
    return APIError, "that is not an answer of a GeminiProChat server; is base_url right ({url})?"


def _of_the_provider(upstream: int, words: str, wait: float | None) -> tuple[type[APIError], str]:
    """The same for what the model's provider answered the server."""
    if upstream == 429:
        soon = "wait" if wait is None else f"wait {wait:.0f} s"
        return RateLimitError, f"the quota of the model's provider is used up; {soon}, or use another server"
    if upstream == 503:
        return OverloadedError, "the model is overloaded; try again later"
    if upstream in (401, 403) or any(word in words for word in _REFUSAL_WORDS):
        return PermissionDeniedError, (
            "the model's provider refuses the server's region or key; only its operator can fix that, "
            "so use another server (base_url=...)"
        )
    if upstream == 404:
        return NotFoundError, (
            "the model that the server asks for is no longer available at its provider; "
            "only the server's operator can choose another one, so use another server"
        )
    if upstream == 413 or "token count" in words:
        return BadRequestError, "the history is too large for the model; send fewer or shorter messages"
    if upstream < 500 and upstream not in (408, 425):
        return BadRequestError, "the model's provider refuses the request as it stands; change the messages"
    return ServerError, f"the model's provider answered the server with {upstream}"


_NOT_FOUND = (
    NotFoundError,
    "there is no GeminiProChat server at {url}; base_url should be the server's root, such as http://127.0.0.1:3000",
)
_BY_STATUS: dict[int, tuple[type[APIError], str]] = {
    400: (BadRequestError, "the server refused the request; the history must end with a user message"),
    403: (PermissionDeniedError, "the server, or the platform before it, refuses this client or its region"),
    404: _NOT_FOUND,
    405: _NOT_FOUND,
    408: (APIError, "the server gave up waiting for the request; try again"),
    413: (APIError, "the history is too large for the server; send fewer or shorter messages"),
    429: (RateLimitError, "too many requests; wait, or lower the rate"),
    503: (OverloadedError, "the server is overloaded or down; try again later"),
}


def _quoted(words: str) -> str:
    if not words:
        return ""
    return f" ({short(words)})"


def _utf8(value: str) -> str:
    """A header's value as its sender meant it, where the HTTP library has read UTF-8 as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _resolve_redirect(error: RedirectError, url: str, location: str, hidden: Redactor) -> None:
    try:
        there = urljoin(url, quote(location, safe=_URL_CHARACTERS)) if location else ""
        target = urlsplit(there)
        if hidden.is_repeated_in(there):  # it would be logged on its way, and here: it is not followed
            there = hidden(unquote(there))
            target = urlsplit(there)
        elif there and _same_server(urlsplit(url), target, error.status_code):
            error.next_url = target.geturl()
    except ValueError:
        return
    error.location = hidden(there)
    if there:
        shown = f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}"
        shown = short(hidden(shown))
        error.args = (f"{error.args[0]}: it was pointed to {shown}; if you trust that server, set base_url to it",)


def _same_server(here: SplitResult, there: SplitResult, status: int) -> bool:
    """Whether a POST may follow: the same origin with its method kept, or the same host's upgrade to https."""
    if here.hostname != there.hostname or "@" in there.netloc:
        return False
    here_port, there_port = (part.port or _DEFAULT_PORTS.get(part.scheme) for part in (here, there))
    if here.scheme == there.scheme:
        return here_port == there_port and status in _KEEPS_METHOD
    upgraded = (here.scheme, there.scheme) == ("http", "https")
    return upgraded and status != 303 and (here_port == there_port or (here_port, there_port) == (80, 443))
