"""How long an upstream says to wait: `Retry-After`, Google's RetryInfo, or words. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..._core.wire.signing import parse_http_date

__all__ = ["seconds_in_details", "seconds_in_headers", "seconds_in_words", "with_wait"]

MAX_SECONDS = 1_000_000.0
"""A longer wait is a slip of the upstream's, and counts as none."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# Every repetition is bounded: the text is the upstream's, and no match may take more than linear time.
_NUMBER = r"\d{1,9}(?:\.\d{1,12})?"
_PART = rf"{_NUMBER} ?(?:ms|milliseconds?|secs?|seconds?|s|mins?|minutes?|m|hours?|h)(?=\d|[^a-z]|$) ?"
_DURATION = rf"(?:{_PART}){{1,4}}|{_NUMBER}(?![a-z\d])"
_WORDS = rf"(?i)(?:please )?\b(?:retry|try again) (?:in|after) (?P<wait>{_DURATION})\.?"


def seconds_in_headers(headers: Mapping[str, str], now: float) -> float | None:
    """The wait that an answer's headers name.

    Args:
        headers: Looked up in any case: `Retry-After` (seconds or a date) and `retry-after-ms`, which OpenAI sends.
        now: Seconds since the epoch, for a date where the answer has none of its own.
    """
    precise = (headers.get("retry-after-ms") or "").strip()
    if re.fullmatch(_NUMBER, precise):
        return _sane(float(precise) / 1000)
    value = (headers.get("retry-after") or "").strip()
    if re.fullmatch(_NUMBER, value):
        return _sane(float(value))
    at = parse_http_date(value)
    if at is None:
        return None
    sent = parse_http_date(headers.get("date"))
    return _sane(max(0.0, at - (now if sent is None else sent)))


def seconds_in_details(details: Any) -> float | None:
    """The wait in the details of a Google error: `{"@type": ".../google.rpc.RetryInfo", "retryDelay": "26s"}`."""
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and re.fullmatch(rf"{_NUMBER}s", delay):
            return _sane(float(delay[:-1]))
    return None


def seconds_in_words(message: str) -> float | None:
    """The wait that a message names: `Please retry in 47.17s`, `Please try again in 1m12s`."""
    told = re.search(_WORDS, message)
    return None if told is None else _sane(_seconds(told["wait"]))


def with_wait(message: str, seconds: float) -> str:
    """The message, with the wait in the one wording that clients of the protocol read."""
    bare = " ".join(re.sub(_WORDS, " ", message).split())
    number = f"{seconds:.9f}".rstrip("0").rstrip(".")
    return f"{bare} Please retry in {number}s.".lstrip()


def _seconds(duration: str) -> float:
    parts = re.findall(rf"(?i)({_NUMBER}) ?([a-z]*)", duration)
    return sum(float(number) * _UNITS[_short(unit.lower())] for number, unit in parts)


def _short(unit: str) -> str:
    if unit.startswith(("ms", "milli")):
        return "ms"
    return unit[:1] or "s"


def _sane(seconds: float) -> float | None:
    return seconds if seconds <= MAX_SECONDS else None
