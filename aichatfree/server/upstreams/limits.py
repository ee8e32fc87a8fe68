"""The limits of one call to an upstream, phase by phase."""

from __future__ import annotations

import asyncio
import math
from typing import Literal

from ... import Timeout

__all__ = ["Limits"]

Phase = Literal["connect", "first_byte", "idle"]

_WORDS = {
    "connect": "no connection within {:g} s",
    "first_byte": "no answer within {:g} s",
    "idle": "nothing more within {:g} s",
    "total": "not finished within {:g} s",
}


class Limits:
    """When one call must end, whatever exchanges it takes.

    Args:
        timeout: The limits.
    """

    def __init__(self, timeout: Timeout) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._phase: Phase = "connect"
        self._phase_ends = math.inf
        self._total_ends = math.inf if timeout.total is None else self._loop.time() + timeout.total

    def begin(self, phase: Phase, at_most: float = math.inf) -> None:
        """Start the limit of a phase; the one before it is over."""
        limit = getattr(self._timeout, phase)
        self._phase = phase
        self._phase_ends = self._loop.time() + min(at_most, math.inf if limit is None else limit)

    def pause(self) -> None:
        """End the limit of the phase: nothing is waited for."""
        self._phase_ends = math.inf

    @property
    def ends(self) -> float:
        """When the nearest limit passes, in the loop's time."""
        return min(self._phase_ends, self._total_ends)

    def left(self) -> float | None:
        """Seconds until the nearest limit, None if there is none."""
        return None if self.ends == math.inf else max(0.0, self.ends - self._loop.time())

    @property
    def over(self) -> bool:
        """Whether the limit of the whole call has passed."""
        return self._total_ends <= self._loop.time()

    def describe(self) -> str:
        """The limit that passed or would pass first, in words."""
        phase = "total" if self._total_ends <= self._phase_ends else self._phase
        limit = getattr(self._timeout, phase)
        return _WORDS[phase].format(limit) if limit is not None else "nothing more came"
