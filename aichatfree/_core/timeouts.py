"""The limits of one call, as users give them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, overload

from ..errors import InvalidRequestError
from .wire.frozen import Frozen

MAX_SECONDS = 1_000_000.0
"""The longest limit or wait, some eleven days: what is far beyond it overflows in operating systems' calls."""


class Timeout(Frozen):
    """The limits of one call, in seconds; None is no limit.

    ``Timeout(5)``, a single number, sets the first three, as ``timeout=5`` does; ``Timeout(None)`` is no limit at all;
    ``Timeout(connect=5)`` changes one, and leaves the others as they are by default.

    Args:
        connect: From the start of an attempt until the connection, with DNS, proxy and TLS, is there. 10 by default.
        first_byte: From there until the first byte of the reply: the request on its way, the server's thinking, the
            headers. 60 by default.
        idle: Between one piece of the reply and the next. 60 by default.
        total: The whole call, with its retries and the waits between them. None by default.

    Raises:
        InvalidRequestError: A limit is not a positive number, or is more than :data:`MAX_SECONDS`.
    """

    __module__ = "aichatfree"

    connect: float | None
    first_byte: float | None
    idle: float | None
    total: float | None

    @overload
    def __init__(
        self,
        every: float | None,
        /,
        *,
        first_byte: float | None = ...,
        idle: float | None = ...,
        total: float | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        connect: float | None = 10.0,
        first_byte: float | None = 60.0,
        idle: float | None = 60.0,
        total: float | None = None,
    ) -> None: ...

    def __init__(self, *limits: float | None, **named: float | None) -> None:
        if len(limits) > len(_DEFAULTS):
            raise InvalidRequestError(f"Timeout has {len(_DEFAULTS)} limits, not {len(limits)}: {', '.join(_DEFAULTS)}")
        every = len(limits) == 1
        given = dict(zip(_DEFAULTS, limits * 3 if every else limits, strict=False))
        for name in named:
            if name not in _DEFAULTS:
                raise InvalidRequestError(f"Timeout has no limit {name!r}{did_you_mean(name, _DEFAULTS)}")
            if name in given and not (every and name != "connect"):
                raise InvalidRequestError(f"Timeout is given {name} twice")
        super().__init__(**{**_DEFAULTS, **given, **named})
        for name, seconds in self._fields().items():
            _check_seconds(f"timeout {name}", seconds)

    @classmethod
    def of(cls, value: object) -> Timeout:
        """Read what users pass as ``timeout=``: a Timeout, a number (the first three limits), or None (no limit)."""
        if isinstance(value, Timeout):
            return value
        if isinstance(value, (tuple, list)):
            raise InvalidRequestError("timeout is a sequence: pass Timeout(connect=..., first_byte=...) instead")
        return cls(_check_seconds("timeout", value))


class ClientTimeout(Enum):
    """What a call that is given no ``timeout`` has: the client's. None would be no limit."""

    CLIENT_TIMEOUT = "the client's timeout"

    def __repr__(self) -> str:
        return f"<{self.value}>"


CLIENT_TIMEOUT: Final = ClientTimeout.CLIENT_TIMEOUT

_DEFAULTS: Final[dict[str, float | None]] = {"connect": 10.0, "first_byte": 60.0, "idle": 60.0, "total": None}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt name, ``""`` where nothing is like it."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    return f": did you mean {close[0]!r}?" if close else f": there are {', '.join(known)}"


def _check_seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_SECONDS:
        raise InvalidRequestError(
            f"{name} is {value!r}: give seconds as a positive number, or None for no limit; the most is {MAX_SECONDS:g}"
        )
    return value
