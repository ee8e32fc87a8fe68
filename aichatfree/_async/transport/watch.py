"""The clock of everything that waits in one event loop."""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from typing import Protocol
from weakref import WeakValueDictionary

SECONDS_EACH = 5e-6
"""What a look at the clock may be late for each that waits: it asks them all when they are due, and is not to do that
for every one of thousands, each of which is due at another time."""


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
        self._loop = loop
        self._due: dict[Waiting, float] = {}
        self._next = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, waiting: Waiting, seconds: float) -> None:
        """Have ``waiting`` look at the clock in so many seconds, or sooner if that was said before."""
        when = self._loop.time() + seconds
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
        self._timer = self._loop.call_at(when, self._look, context=Context())  # it is to keep no caller's values alive

    def _look(self) -> None:
        self._timer, self._next = None, math.inf
        now = self._loop.time()
        try:
            # Other threads may end theirs meanwhile: copy() is done before they can.
            for waiting in [waiting for waiting, when in self._due.copy().items() if when <= now]:
                if self._due.pop(waiting, None) is not None:
                    waiting.look()
        finally:
            earliest = now + SECONDS_EACH * len(self._due)
            when = max(earliest, min(self._due.values(), default=math.inf))
            if when < self._next:
                self._wake(when)


_watches: WeakValueDictionary[int, Watch] = WeakValueDictionary()
"""By the id of its loop, which each keeps alive. Timers and calls keep it, and nothing else does."""


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """The watch of a loop, whichever client asks: each one's own would leave a timer behind that is not due yet."""
    watch = _watches.get(id(loop))
    if watch is None:
        watch = _watches[id(loop)] = Watch(loop)
    return watch
