"""The clock of everything that waits in one event loop."""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from typing import Protocol


class Waiting(Protocol):
    """What waits, and has a limit."""

    def look(self) -> None:
        """Look at the clock. It may be early: a limit may have moved since, and nobody says so."""


class Watch:
    """One timer for all that waits, instead of one for each, which would nearly always be cancelled.

    Args:
        loop: The loop in which all of it waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: dict[Waiting, float] = {}
        self._next = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, waiting: Waiting, seconds: float) -> None:
        """Have ``waiting`` look at the clock in so many seconds, or sooner if that was said before."""
        when = self.loop.time() + seconds
        if when < self._due.get(waiting, math.inf):
            self._due[waiting] = when
            if when < self._next:
                self._wake(when)

    def end(self, waiting: Waiting) -> None:
        """It waits no more. The timer goes on: it serves whoever comes next."""
        self._due.pop(waiting, None)

    def rest(self) -> None:
        """Nobody comes next: the timer ends, unless somebody waits."""
        if self._timer is not None and not self._due:
            self._timer.cancel()
            self._timer, self._next = None, math.inf

    def _wake(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = self.loop.call_at(when, self._look, context=Context())  # it is to keep no caller's values alive

    def _look(self) -> None:
        self._timer, self._next = None, math.inf
        now = self.loop.time()
        try:
            for waiting in [waiting for waiting, when in self._due.items() if when <= now]:
                if self._due.pop(waiting, None) is not None:
                    waiting.look()
        finally:
            if self._due and (when := min(self._due.values())) < self._next:
                self._wake(when)
