"""What went wrong at an upstream, in the words that clients of the protocol know. No I/O.

The words are those of Google's SDK, since the real server passes that SDK's messages on: clients look for the status in
the brackets and for `Please retry in 12s.`, whatever upstream it was. Of a 400 the real server drops all before the
upstream's own words, which is how clients recognize one.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from ..failures import UpstreamError
from .waits import seconds_in_details, seconds_in_headers, seconds_in_words, with_wait

__all__ = ["PREFIX", "Said", "broken", "error_in_event", "failure", "named", "read_error", "refusal", "unreachable"]

PREFIX = "[GoogleGenerativeAI Error]: "
MAX_MESSAGE = 1000
"""As many characters of the upstream's own words as a client is shown."""

Redact = Callable[[str], str]

_STATUS_OF_WORDS = {
    400: "invalid_argument failed_precondition out_of_range invalid_request_error badrequesterror bad_request "
    "context_length_exceeded invalid_prompt",
    401: "unauthenticated authentication_error invalid_api_key unauthorized",
    403: "permission_denied permission_error forbidden",
    404: "not_found not_found_error model_not_found notfounderror",
    413: "request_too_large",
    429: "resource_exhausted rate_limit_exceeded rate_limit_error rate_limit insufficient_quota too_many_requests "
    "ratelimiterror tokens requests",
    500: "internal unknown data_loss server_error internal_server_error api_error internalservererror",
    501: "unimplemented not_implemented",
    503: "unavailable overloaded_error overloaded service_unavailable unavailable_error engine_overloaded",
    504: "deadline_exceeded timeout timeout_error",
}
_STATUSES = {word: status for status, words in _STATUS_OF_WORDS.items() for word in words.split()}
"""The HTTP status that an error's `status`, `code` or `type` stands for: Google's, and those of the OpenAI API."""


class Said(NamedTuple):
    """What an upstream says of its failure: its words, its name for it, the status and the wait it names."""

    message: str
    name: str = ""
    status: int | None = None
    wait: float | None = None


def unreachable(reason: str) -> UpstreamError:
    """The error where no answer came: DNS, TLS, a refused or reset connection, a limit.

    Args:
        reason: What happened, for the operator.
    """
    return UpstreamError(f"{PREFIX}Error fetching from  fetch failed", reason=reason)


def broken(reason: str, status: int | None = None) -> UpstreamError:
    """The error where an answer began and cannot be read to its end.

    Args:
        reason: What happened, for the operator.
        status: The HTTP status of the answer.
    """
    return UpstreamError(f"{PREFIX}Error reading from the stream", status=status, reason=reason)


def refusal(
    status: int, phrase: str, headers: Mapping[str, str], body: bytes, *, redact: Redact, now: float
) -> UpstreamError:
    """The error for an answer whose HTTP status is none of success.

    Args:
        status: The HTTP status.
        phrase: The answer's reason phrase, which counts where the status is one that HTTP does not name.
        headers: The answer's headers, looked up in any case.
        body: As much of its body as was read.
        redact: Takes secrets out of what the upstream says.
        now: Seconds since the epoch.
    """
    text = body.decode("utf-8", "replace")
    if 300 <= status < 400:
        said = Said("The provider redirects elsewhere, and requests are not sent there.", "redirect")
    else:
        said = read_error(text)
    told = seconds_in_headers(headers, now)
    return failure(status, phrase, said if told is None else said._replace(wait=told), redact=redact)


def error_in_event(event: Mapping[str, Any], *, redact: Redact) -> UpstreamError:
    """The error that an event of a stream bears in place of text, or beside it.

    Args:
        event: The event: with an `error`, or one itself, as some servers call it or mark it.
        redact: Takes secrets out of what the upstream says.
    """
    said = _read_value(event.get("error") or event, event)
    if said.status is None:
        message = _clean(said.message, redact) or "the model's provider failed"
        if said.wait is not None:
            message = with_wait(message, said.wait)
        reason = f"an error in the stream{_named(said, redact)}"
        return UpstreamError(f"{PREFIX}{message}", reason=reason, retry_after=said.wait)
    return failure(said.status, "", said, redact=redact)


def failure(status: int, phrase: str, said: Said, *, redact: Redact = str) -> UpstreamError:
    """The error for a status and what the upstream said with it."""
    phrase = _phrase(status, redact(phrase))
    message = _clean(said.message, redact)
    reason = f"{status} {phrase}".strip() + _named(said, redact)
    if status == 400:
        message = re.sub(r"\[(?=\d{3}[ \]])", "(", message)  # clients would take it for the status
        message = (
            message.removeprefix(PREFIX.strip()).lstrip()
            or "The model's provider refused the request and gave no reason."
        )
        return UpstreamError(message, status=status, reason=reason)
    if said.wait is not None:
        message = with_wait(message, said.wait)
    words = f"{PREFIX}Error fetching from  [{status} {phrase}] {message}".rstrip()
    return UpstreamError(words, status=status, reason=reason, retry_after=said.wait)


def read_error(text: str) -> Said:
    """What the body of an error says: JSON in the forms that upstreams use, a page, or plain text."""
    try:
        value = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        message = _plain(text)
        return Said(message, wait=seconds_in_words(message))
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return Said(value if isinstance(value, str) else "")
    error = value.get("error")
    return _read_value(value if error is None else error, value)


def _read_value(error: Any, around: Mapping[str, Any]) -> Said:
    """Read an error: a text, or an object with one."""
    if isinstance(error, str):
        error = {**around, "error": None, "message": error}
    if not isinstance(error, dict):
        return Said("")
    message = _first_text(error.get("message"), error.get("detail"), error.get("error"))
    names = [error.get("code"), error.get("status"), error.get("type"), error.get("error_type")]
    name = next((each for each in names if isinstance(each, str) and not each.isdigit() and each), "")
    wait = seconds_in_details(error.get("details"))
    wait = seconds_in_words(message) if wait is None else wait
    return Said(message, name, _status(names), wait)


def _first_text(*values: Any) -> str:
    for value in values:
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            return str(value["message"])
        if isinstance(value, list):  # FastAPI's: where, and what; the input that it repeats is left out
            found = [each for each in value if isinstance(each, dict) and isinstance(each.get("msg"), str)]
            places = [".".join(map(str, each["loc"])) if isinstance(each.get("loc"), list) else "" for each in found]
            return "; ".join(f"{place}: {each['msg']}".lstrip(": ") for place, each in zip(places, found, strict=True))
    return ""


def _status(names: list[Any]) -> int | None:
    for name in names:
        if isinstance(name, str) and name.isascii() and name.isdigit():
            name = int(name[:4])
        if isinstance(name, int) and 400 <= name <= 599:
            return int(name)
        if isinstance(name, str) and (status := _STATUSES.get(name.lower())):
            return status
    return None


def named(name: str) -> str:
    """The upstream's name for a reason or failure, if it is one: what looks like text could be of the conversation."""
    return name if re.fullmatch(r"[A-Za-z][\w.\-]{0,63}", name) else "no name given"


def _named(said: Said, redact: Redact) -> str:
    return f" ({named(redact(said.name))})" if said.name else ""


def _phrase(status: int, given: str) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return given if re.fullmatch(r"[\w '\-]{0,40}", given) else ""


def _clean(message: str, redact: Redact) -> str:
    """An upstream's words on one line, without addresses (as at the real server), secrets and control characters."""
    message = re.sub(r"https?://\S+", "", redact(message))
    message = "".join(each if each.isprintable() else "\ufffd" for each in " ".join(message.split()))
    return message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}..."


def _plain(text: str) -> str:
    """The words of a page: its title, else its text."""
    if "<" in text:
        title = re.search(r"(?i)<title[^<>]*>([^<]*)", text)
        if title and title[1].strip():
            text = title[1]
        else:
            text = re.sub(r"(?is)<(script|style)\b(?:.*?</\1\s*>|.*)|<[^<>]*>", " ", text)
        text = html.unescape(text[:MAX_MESSAGE])
    return " ".join(text.split())
