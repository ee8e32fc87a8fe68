"""The signature of a request, and the clock it is made with. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import NamedTuple

from ...errors import InvalidRequestError

CLEAR_SKEW_SECONDS = 15.0
"""A server's clock that differs by less than this explains no refused signature: forks of the server that check
the time allow minutes, and a ``Date`` header has a resolution of a second and the age of its journey."""


def well_formed(text: str) -> str:
    """Text that UTF-8 can carry, as JavaScript's ``TextEncoder`` makes it: a lone surrogate becomes U+FFFD.

    A *pair* of surrogates (JavaScript's way to write one character beyond U+FFFF) becomes that character.

    Args:
        text: Any string.

    Returns:
        The same string wherever it holds no surrogates.
    """
    if type(text) is not str:
        text = str.__str__(text)  # of a member of a (str, Enum) class its value
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def generate_signature(time: int, text: str, secret: str = "") -> str:
    """Sign a request as the server's ``generateSignature`` does.

    Args:
        time: Milliseconds since the epoch, the same number as the request's ``time``.
        text: All parts of the last message, joined with nothing between them.
        secret: The server's ``PUBLIC_SECRET_KEY``, empty by default.

    Returns:
        The SHA-256 of ``"{time}:{text}:{secret}"`` in UTF-8, in lower-case hexadecimal.

    Raises:
        InvalidRequestError: ``time`` is not an integer. A float would print as ``1.0`` where the server's JavaScript
            prints ``1``, and every such signature would be refused. Or ``text`` or ``secret`` is not a str.
    """
    if not isinstance(time, int) or isinstance(time, bool):
        raise InvalidRequestError(f"time must be an int of milliseconds since the epoch, not {time!r}: use int(...)")
    if not isinstance(text, str) or not isinstance(secret, str):
        raise InvalidRequestError("text and secret must be str: what else is given would be signed as its repr")
    return sha256(f"{time}:{well_formed(text)}:{well_formed(secret)}".encode()).hexdigest()


generate_signature.__module__ = "aichatfree"


class Signature(NamedTuple):
    """A signature and the time (milliseconds since the epoch) it was made for."""

    time: int
    sign: str


class Signer:
    """Signs with the server's secret and, once it has learnt it, the server's clock.

    Args:
        secret: The server's ``PUBLIC_SECRET_KEY``.
        clock: Seconds since the epoch, such as :func:`time.time`.
    """

    def __init__(self, secret: str, clock: Callable[[], float]) -> None:
        self._secret = secret
        self._clock = clock
        self._offset = [0.0]  # shared by the signers of one server

    @property
    def offset_seconds(self) -> float:
        """By how much the server's clock is ahead of this machine's, as far as is known."""
        return self._offset[0]

    @offset_seconds.setter
    def offset_seconds(self, seconds: float) -> None:
        self._offset[0] = seconds

    def with_secret(self, secret: str) -> Signer:
        """A signer for the same server, which shares what is known of its clock."""
        if secret == self._secret:
            return self
        other = Signer(secret, self._clock)
        other._offset = self._offset
        return other

    def sign(self, text: str) -> Signature:
        """Sign ``text`` (all parts of the last message, joined) for this moment."""
        time = int((self._clock() + self.offset_seconds) * 1000)
        return Signature(time, generate_signature(time, text, self._secret))

    def skew(self, date: str | None) -> float | None:
        """By how many seconds the server's clock is ahead of this machine's.

        Args:
            date: The ``Date`` header of an answer that has just arrived.

        Returns:
            The seconds, negative where the server is behind; None if the header is missing or is not a date.
        """
        stamp = parse_http_date(date)
        return None if stamp is None else stamp - self._clock()

    def learn(self, date: str | None) -> bool:
        """Take the server's clock from ``date``, if it clearly differs from the one used so far.

        Returns:
            Whether another signature may be accepted where the last was refused.
        """
        skew = self.skew(date)
        if skew is None or abs(skew - self.offset_seconds) < CLEAR_SKEW_SECONDS:
            return False
        self.offset_seconds = skew
        return True


def parse_http_date(date: str | None) -> float | None:
    """Read an HTTP date (RFC 9110, 5.6.7) into seconds since the epoch; None if it is not one."""
    if not date:
        return None
    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:  # the asctime form, whose zone is always UTC
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, TypeError, OverflowError, OSError, IndexError):
        return None
