"""What GeminiProChat's server makes of a request, as pure functions: no I/O, no clock of its own.

Source of the facts: the public source of GeminiProChat (`src/pages/api/generate.ts`, `auth.ts`) and answers
recorded from a server built from it. That server is JavaScript, and so are its corner cases: a body of
another shape is judged here as JavaScript judges it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

__all__ = [
    "AUTH_PATH",
    "CRASHED",
    "ERROR_TYPE",
    "GENERATE_PATH",
    "IN_BAND_ERROR",
    "NOT_FOUND",
    "REPLY_TYPE",
    "Verdict",
    "error_body",
    "judge",
    "judge_auth",
    "passwords_of",
    "signature",
    "signature_valid",
    "to_utf8",
    "upstream_error",
]

GENERATE_PATH = "/api/generate"
AUTH_PATH = "/api/auth"
IN_BAND_ERROR = "Internal server error"
"""What the server appends to a reply that has begun and cannot be finished; the body then ends cleanly."""

ERROR_TYPE = "text/plain;charset=UTF-8"
REPLY_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Verdict:
    """The server's decision about one request.

    `status`, `reason`, `content_type` (None: no such header) and `body` are those of the answer. `messages`
    is what the request asked, as on the wire, if it was accepted for `/api/generate`, and None otherwise; the
    body is then empty, since the reply is still to come.
    """

    status: int
    reason: str
    content_type: str | None = None
    body: bytes = b""
    messages: list[dict[str, Any]] | None = None


NOT_FOUND = Verdict(404, "Not Found", None, b"Not found")
CRASHED = Verdict(500, "Server error")
"""The handler itself threw: recorded for a body that is no JSON."""


def judge(
    body: bytes,
    *,
    secret: str = "",
    passwords: frozenset[str] = frozenset(),
    time_limit_seconds: float | None = None,
    now_ms: float = 0.0,
) -> Verdict:
    """Judge the body of a POST to `/api/generate`.

    The order is the real server's: JSON, the role of the last message, the password, the signature.

    Args:
        body: The request body as it arrived; its content type plays no part.
        secret: The server's `PUBLIC_SECRET_KEY`.
        passwords: Those that open the site, see `passwords_of`; empty if it needs none.
        time_limit_seconds: How far the request's time may be from `now_ms`; None (as in today's source) is no
            limit. Forks that check it answer with the words of a wrong signature.
        now_ms: The server's clock, milliseconds since the epoch; only used with `time_limit_seconds`.
    """
    try:
        return _judge(_parse(body), secret, passwords, time_limit_seconds, now_ms)
    except (TypeError, ValueError):
        return CRASHED


def judge_auth(body: bytes, passwords: frozenset[str] = frozenset()) -> Verdict:
    """Judge the body of a POST to `/api/auth`: always 200, with code 0 (right, none needed) or -1 (wrong)."""
    try:
        right = _opens(_get(_parse(body), "pass"), passwords)
    except (TypeError, ValueError):
        return CRASHED
    return Verdict(200, "OK", ERROR_TYPE, b'{"code":0}' if right else b'{"code":-1}')


def passwords_of(password: str | Iterable[str] | None) -> frozenset[str]:
    """The passwords that open a site whose `SITE_PASSWORD` is `password`.

    Args:
        password: None or "" for a site without one; a str is split at its commas, as the real server does
            (the whole of it is right as well); any other iterable is taken as it is.
    """
    if not password:
        return frozenset()
    if isinstance(password, str):
        return frozenset([password, *password.split(",")])
    return frozenset(password)


def signature(time: object, text: str, secret: str = "") -> str:
    """The hex SHA-256 of `"{time}:{text}:{secret}"`, with `time` printed as JavaScript prints it."""
    return hashlib.sha256(to_utf8(f"{_js_string(time)}:{text}:{secret}")).hexdigest()


def signature_valid(body: bytes, secret: str = "") -> bool | None:
    """Whether the body of a request is signed rightly for `secret`; None if it bears no signature at all."""
    try:
        payload = _parse(body)
        sign = _get(payload, "sign")
        return None if sign is None else _signed(payload, secret) == sign
    except (TypeError, ValueError, LookupError):
        return None


def to_utf8(text: str) -> bytes:
    """Encode as JavaScript's TextEncoder does: halves of a surrogate pair join, a lone one becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def error_body(message: str, code: str | None = None) -> bytes:
    """The JSON of an error answer, with no spaces, `code` (where there is one) first, as recorded."""
    error = {"message": message} if code is None else {"code": code, "message": message}
    return to_utf8(json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")))


def upstream_error(message: str) -> Verdict:
    """The answer when the model behind the server fails before the first byte of the reply.

    As in the source, URLs are cut out of the message, up to the next blank, and what comes before
    `[400 Bad Request]` is dropped with it.
    """
    message = re.sub(r"https?://\S+", "", message).strip()
    _, bracket, rest = message.partition("[400 Bad Request]")
    body = error_body(rest.strip() if bracket else message, code="Error")
    return Verdict(500, "Internal Server Error", ERROR_TYPE, body)


def _judge(
    payload: Any, secret: str, passwords: frozenset[str], time_limit_seconds: float | None, now_ms: float
) -> Verdict:
    """The checks; a TypeError stands for the JavaScript one that the real server would die of."""
    messages = _get(payload, "messages")
    if not messages and not isinstance(messages, dict):
        return _BAD_HISTORY
    if isinstance(messages, str):
        return _BAD_HISTORY  # its last element is a letter, which has no role
    if not isinstance(messages, list):
        raise TypeError("an object or a number has no last element")
    if _get(messages[-1], "role") != "user":
        return _BAD_HISTORY
    if not _opens(_get(payload, "pass"), passwords):
        return _refused("Invalid password.")
    expected = _signed(payload, secret)
    if time_limit_seconds is not None:
        time = _get(payload, "time")
        if not isinstance(time, float) or abs(time - now_ms) > time_limit_seconds * 1000:
            return _refused("Invalid signature.")
    if _get(payload, "sign") != expected:
        return _refused("Invalid signature.")
    for message in messages:
        _text(message)
    return Verdict(200, "OK", REPLY_TYPE, messages=messages)


def _opens(password: object, passwords: frozenset[str]) -> bool:
    return not passwords or (isinstance(password, str) and password in passwords)


def _refused(message: str) -> Verdict:
    return Verdict(401, "Unauthorized", ERROR_TYPE, error_body(message))


_BAD_HISTORY = Verdict(
    400,
    "Bad Request",
    ERROR_TYPE,
    error_body("Invalid message history: The last message must be from user role."),
)

_MISSING = object()
"""JavaScript's undefined."""


def _parse(body: bytes) -> Any:
    """Read JSON as JavaScript does: always UTF-8, every number a float, no NaN, no Infinity."""
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), parse_int=float, parse_constant=_no_constant)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _get(value: Any, name: str) -> Any:
    """`value.name` in JavaScript: null has no properties at all, anything else has it or gives undefined."""
    if value is None:
        raise TypeError(f"null has no {name}")
    found = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
    return None if found is _MISSING else found


def _signed(payload: Any, secret: str) -> str:
    """The signature that the payload should bear."""
    time = payload.get("time", _MISSING)
    return signature(time, _text(payload["messages"][-1]), secret)


def _text(message: Any) -> str:
    """All parts of a message joined with nothing between them; what has no text counts as empty."""
    parts = _get(message, "parts")
    if not isinstance(parts, list):
        raise TypeError("a message without parts")
    return "".join("" if (text := _get(part, "text")) is None else _js_string(text) for part in parts)


def _js_string(value: object) -> str:
    """What `${value}` prints in JavaScript for a value that came out of JSON."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return _js_number(value)
    if isinstance(value, list):
        return ",".join("" if item is None else _js_string(item) for item in value)
    return "undefined" if value is _MISSING else "[object Object]"


def _js_number(value: float) -> str:
    """The shortest digits that give the number back, no `.0`; an exponent from 1e21 on and below 1e-6."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    if 1e-6 <= abs(number) < 1e21:
        return format(Decimal(repr(number)).normalize(), "f")
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}e{int(exponent):+d}"
