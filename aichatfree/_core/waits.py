"""How long a server asks to wait, in whatever form. No I/O."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from .wire.signing import parse_http_date

# Linear in the text, which is the server's.
_RETRY_IN = r"(?i)retry in (?P<time>[0-9][0-9.hms ]*)(?P<unit>[a-z]*)|\"retryDelay\": ?\"(?P<info>[0-9][0-9.]*)s\""
_DURATION = r"([0-9]+(?:\.[0-9]+)?) ?(ms|h|m|s|)"
_LISTED = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*, )?[^,\s][^,]*[^,\s]|[^,\s]"
"""One of a list of values; the comma behind a weekday is part of its date."""
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "": 1.0}


def told_wait(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """How long an answer asks to wait: ``Retry-After`` (RFC 9110, 10.2.3), ``retry in 58.8s``, Google's RetryInfo.

    A header that comes several times asks for the longest of its waits; what cannot be read says nothing.

    Args:
        headers: The answer's headers.
        message: The server's words.
        now: Seconds since the epoch, for a date where the answer has none of its own.

    Returns:
        Seconds, which each caller bounds in its own way; None if nothing is said.
    """
    value = (headers.get("retry-after") or "").strip()
    sent = parse_http_date(headers.get("date"))
    waits = []
    for each in re.findall(_LISTED, value):
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", each):
            waits.append(_bounded(each))
        elif (at := parse_http_date(each)) is not None:
            waits.append(max(0.0, at - (now if sent is None else sent)))
    return max(waits) if waits else _wait_in_words(message)


def _wait_in_words(message: str) -> float | None:
    told = re.search(_RETRY_IN, message)
    if told is None:
        return None
    if told["info"]:
        return _bounded(told["info"].rstrip("."))
    text = re.sub("(h)ours?|(m)in(?:ute)?s?|(s)ec(?:ond)?s?", r"\1\2\3", f"{told['time']}{told['unit']}".lower())
    parts = re.findall(_DURATION, text)
    return sum(_bounded(number) * _UNIT_SECONDS[unit] for number, unit in parts) if parts else None


def _bounded(digits: str) -> float:
    """A number of seconds; of too many digits, the largest that there is, which each caller bounds in its own way."""
    try:
        return min(float(digits), sys.float_info.max)
    except ValueError:  # two points
        return 0.0
