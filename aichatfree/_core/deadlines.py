"""The arithmetic of a call's time limits. No I/O: the clock is handed in."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import Phase, RequestTimeoutError
from .timeouts import Timeout

_REMEDIES = {
    "connect": "no connection within {:g} s: is the address right, and is the server (or proxy) up?",
    "first_byte": "no reply began within {:g} s: the server may be overloaded; raise Timeout(first_byte=...)",
    "idle": "the reply stalled for {:g} s: raise Timeout(idle=...) if the model may think that long between pieces",
    "total": "the call took longer than {:g} s: raise Timeout(total=...)",
}


class Deadline:
    """When one call must end, phase by phase.

    Args:
        timeout: The limits.
        clock: A monotonic clock in seconds, such as :func:`time.monotonic`.
    """

    __module__ = "aichatfree"

    __slots__ = ("_clock", "_phase_ends", "_timeout", "_total_ends", "phase", "started")

    def __init__(self, timeout: Timeout, clock: Callable[[], float]) -> None:
        self._timeout = timeout
        self._clock = clock
        self.phase: Phase = "connect"
        self._phase_ends = math.inf
        self.start()

    def start(self) -> None:
        """Let the call, and the limit of all of it, begin now."""
        self.started = self._clock()
        self._total_ends = math.inf if self._timeout.total is None else self.started + self._timeout.total

    def begin(self, phase: Phase) -> None:
        """Start the limit of ``phase``; the one before it is over."""
        self.phase = phase
        limit: float | None = getattr(self._timeout, phase)
        self._phase_ends = math.inf if limit is None else self._clock() + limit

    def pause(self) -> None:
        """End the limit of the phase: nothing is waited for until the next :meth:`begin`."""
        self._phase_ends = math.inf

    def limit(self, phase: Phase) -> float | None:
        """Seconds that ``phase`` might take if it began now: None if it has no limit, 0 if the call's has passed."""
        limit: float | None = getattr(self._timeout, phase)
        ends = min(math.inf if limit is None else limit, self._total_ends - self._clock())
        return None if ends == math.inf else max(0.0, ends)

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self._clock() - self.started

    def remaining(self) -> float | None:
        """Seconds until the nearest limit: None if there is none, 0 if it has passed."""
        # Asked before every read; min() and max() would take as long as all the rest.
        ends = self._phase_ends if self._phase_ends < self._total_ends else self._total_ends  # noqa: FURB136
        if ends == math.inf:
            return None
        left = ends - self._clock()
        return left if left > 0 else 0.0

    def remaining_total(self) -> float:
        """Seconds until the limit of the whole call, infinite if there is none."""
        return self._total_ends - self._clock()

    def expired(self) -> bool:
        """Whether the nearest limit has passed."""
        return min(self._phase_ends, self._total_ends) <= self._clock()

    def error(self, phase: Phase | None = None) -> RequestTimeoutError:
        """The error of the limit of ``phase``, or if None, of the one that passed or would pass first."""
        if phase is None:
            phase = "total" if self._total_ends <= self._phase_ends else self.phase
        limit = getattr(self._timeout, phase)
        text = _REMEDIES[phase].format(limit) if limit is not None else f"timed out ({phase})"
        return RequestTimeoutError(text, phase)
