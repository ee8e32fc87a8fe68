"""What GeminiProChat's server makes of a request, as pure functions: no I/O, no clock of its own.

Source of the facts: the public source of GeminiProChat (`src/pages/api/generate.ts`, `auth.ts`) and answers
recorded from a server built from it. That server is JavaScript, and so are its corner cases: a body of
another shape is judged here as JavaScript judges it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .javascript import (
    BLANKS,
    UNDEFINED,
    StackOverflowError,
    json_value,
    last_of,
    parse_json,
    property_of,
    to_string,
    trim,
)

__all__ = [
    "AUTH_PATH",
    "CRASHED",
    "ERROR_TYPE",
    "GENERATE_PATH",
    "IN_BAND_ERROR",
    "NOT_FOUND",
    "REPLY_TYPE",
    "WRONG_METHOD",
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

    `status`, `reason`, `content_type` (None: no such header), `body` and `headers` (further ones) are those of the
    answer. `messages` is what the model is asked, each message's parts joined into one, if the request was accepted
    for `/api/generate`, and None otherwise; the body is then empty, since the reply is still to come.
    """

    status: int
    reason: str
    content_type: str | None = None
    body: bytes = b""
    messages: list[dict[str, Any]] | None = None
    headers: tuple[tuple[str, str], ...] = ()


NOT_FOUND = Verdict(404, "Not Found", None, b"Not found")
WRONG_METHOD = Verdict(404, "Not Found", headers=(("X-Astro-Response", "Not-Found"),))
"""Anything but POST where only POST is served."""
CRASHED = Verdict(500, "Server error")
"""The handler itself threw: recorded for a body that is not JSON."""


def judge(
    body: bytes,
    *,
    secret: str = "",
    passwords: frozenset[str] = frozenset(),
    time_limit_seconds: float | None = None,
    now_ms: float = 0.0,
) -> Verdict:
    """Judge the body of a POST to `/api/generate`, in the order of the real server's checks.

    Args:
        body: The body, whatever its content type.
        secret: The server's `PUBLIC_SECRET_KEY`.
        passwords: Any of which opens the site; empty means that none is needed. See `passwords_of`.
        time_limit_seconds: How far the request's time may be from `now_ms`; None (as in today's source) does
            not look. Older deployments have 300, and answer as to a wrong signature.
        now_ms: This server's clock, in milliseconds since the epoch.
    """
    try:
        messages, refusal = _judge(parse_json(body), secret, passwords, time_limit_seconds, now_ms)
    except (TypeError, ValueError, StackOverflowError):
        return CRASHED
    return refusal or _history(messages)


def judge_auth(body: bytes, passwords: frozenset[str] = frozenset()) -> Verdict:
    """Judge the body of a POST to `/api/auth`: always 200, with code 0 (right, none needed) or -1 (wrong)."""
    try:
        right = _opens(property_of(parse_json(body), "pass"), passwords)
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
    return hashlib.sha256(to_utf8(f"{to_string(time)}:{text}:{secret}")).hexdigest()


def signature_valid(body: bytes, secret: str = "") -> bool | None:
    """Whether the body of a request is signed rightly for `secret`; None if it bears no signature at all."""
    try:
        payload = parse_json(body)
        sign = property_of(payload, "sign")
        if sign is UNDEFINED or sign is None:
            return None
        return _same(_signed(payload, payload["messages"][-1], secret), sign)
    except (TypeError, ValueError, LookupError, StackOverflowError):
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


def upstream_error(message: str, code: str = "Error") -> Verdict:
    """The answer when the model behind the server fails before the first byte of the reply.

    As in the source, URLs are cut out of the message, up to the next blank, and only what stands between the first
    and the second `[400 Bad Request]` is left, where there is one.
    """
    message = trim(re.sub(f"https?://[^{BLANKS}]+", "", message))
    parts = message.split("[400 Bad Request]")
    return _failed(trim(parts[1]) if len(parts) > 1 else message, code)


def _failed(message: str, code: str | None) -> Verdict:
    return Verdict(500, "Internal Server Error", ERROR_TYPE, error_body(message, code))


def _judge(
    payload: Any, secret: str, passwords: frozenset[str], time_limit_seconds: float | None, now_ms: float
) -> tuple[Any, Verdict | None]:
    """The checks; a TypeError stands for the JavaScript one that the real server would die of."""
    messages = property_of(payload, "messages")
    if (not messages and not isinstance(messages, (list, dict))) or messages is UNDEFINED:
        return messages, _BAD_HISTORY
    length = property_of(messages, "length")
    if isinstance(length, float) and length == 0:  # false is no number, and no length
        return messages, _BAD_HISTORY
    last = last_of(messages)
    if property_of(last, "role") != "user":
        return messages, _BAD_HISTORY
    if not _opens(property_of(payload, "pass"), passwords):
        return messages, _refused("Invalid password.")
    expected = _signed(payload, last, secret)
    if time_limit_seconds is not None:
        time = property_of(payload, "time")
        if not isinstance(time, float) or abs(time - now_ms) > time_limit_seconds * 1000:
            return messages, _refused("Invalid signature.")
    if not _same(expected, property_of(payload, "sign")):
        return messages, _refused("Invalid signature.")
    return messages, None


def _history(messages: Any) -> Verdict:
    """What becomes of the whole history once the request is accepted: the real server's errors, and its model's."""
    if not isinstance(messages, list):
        return _failed("messages.slice is not a function", "TypeError")
    contents: list[tuple[Any, str]] = []
    try:
        contents.extend((property_of(message, "role"), _text(message)) for message in messages)
    except TypeError as exc:
        return _failed(str(exc), "TypeError")
    except StackOverflowError:
        return _failed("Maximum call stack size exceeded", "RangeError")
    for role, text in contents:
        if (not role and not isinstance(role, (list, dict))) or role is UNDEFINED:
            shown = "" if role is UNDEFINED else f'"role":{json_value(role)},'
            return upstream_error(f'Missing role for history item: {{{shown}"parts":{json_value(text)}}}')
    # From here on it is the model's provider that refuses, always, so that no model need be asked.
    if any(role not in ("user", "model") for role, _ in contents):
        return upstream_error("[400 Bad Request] Please use a valid role: user, model.")
    empty = [number for number, (_, text) in enumerate(contents) if not text]
    if empty:
        return upstream_error("[400 Bad Request] " + "\n".join(_NO_DATA.format(number) for number in empty))
    return Verdict(
        200,
        "OK",
        REPLY_TYPE,
        messages=[{"role": role, "parts": [{"text": text}]} for role, text in contents],
    )


_NO_DATA = (
    "* GenerateContentRequest.contents[{}].parts[0].data: required oneof field 'data' must have one initialized field"
)


def _opens(password: object, passwords: frozenset[str]) -> bool:
    if not passwords:
        return True
    if not isinstance(password, str):
        return False
    sent = _as_bytes(password)
    # Each is compared, and each takes as long, whichever is right.
    return sum([hmac.compare_digest(sent, _as_bytes(known)) for known in passwords]) > 0


def _same(expected: str, sent: object) -> bool:
    return isinstance(sent, str) and hmac.compare_digest(_as_bytes(expected), _as_bytes(sent))


def _as_bytes(text: str) -> bytes:
    """As JavaScript compares texts: by their UTF-16 units."""
    return text.encode("utf-16-le", "surrogatepass")


def _refused(message: str) -> Verdict:
    return Verdict(401, "Unauthorized", ERROR_TYPE, error_body(message))


_BAD_HISTORY = Verdict(
    400,
    "Bad Request",
    ERROR_TYPE,
    error_body("Invalid message history: The last message must be from user role."),
)


def _signed(payload: Any, last: Any, secret: str) -> str:
    """The signature that the payload should bear."""
    return signature(property_of(payload, "time"), _text(last), secret)


def _text(message: Any) -> str:
    """`message.parts.map(part => part.text).join("")`; what has no text counts as empty."""
    parts = property_of(message, "parts")
    if not isinstance(parts, list):
        property_of(parts, "map")
        raise TypeError("message.parts.map is not a function")
    texts = [property_of(part, "text") for part in parts]
    if len(texts) == 1 and isinstance(texts[0], str):  # as nearly always
        return texts[0]
    joined = "".join("" if text is UNDEFINED or text is None else to_string(text) for text in texts)
    try:
        joined.encode()
    except UnicodeEncodeError:  # halves of a surrogate pair in two parts are one character
        joined = joined.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return joined
