"""Lines at the bottom of what is on the terminal that are drawn over and over, and leave no copies behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from .borrowed import borrow, in_background
from .terminal import Screen, draw_around, size

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_CLIP, _WRAP = "\x1b[?7l", "\x1b[?7h"
"""No cursor and no wrapping while lines are drawn that are to be drawn over: so each takes one row, however wide this
terminal finds its characters. What is switched off is on again in the same write."""
_SETTLED = 0.3
"""Seconds for which a window must keep its size before anything that will be drawn again is drawn on it."""


class Drawing:
    """Such lines on one terminal. Never more than it holds, as no program can take back what has scrolled away.

    Args:
        screen: The terminal.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._drawn: list[str] = []
        self._size = size()
        self._resized = 0.0
        self._stopped = False
        self._partial = ""
        self._lock = threading.RLock()
        self._open = ExitStack()

    def __enter__(self) -> Drawing:
        with ExitStack() as opening:  # whatever interrupts it
            opening.callback(draw_around, None)
            opening.enter_context(borrow(self))
            draw_around(self._write_above)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.show("", [], last=True)
        finally:
            self._open.close()
            if self._partial:
                self._screen.write(self._partial)

    @property
    def lock(self) -> threading.RLock:
        """Held while something is drawn."""
        return self._lock

    @property
    def usable(self) -> bool:
        """Whether this program may draw now: it is neither stopped nor in the background."""
        return not self._stopped and not in_background(self._screen.fileno())

    def room(self) -> tuple[int, int]:
        """Columns and lines that there are now."""
        if size() != self._size:
            self._size, self._resized = size(), time.monotonic()
        return self._size

    def show(self, printed: str, lines: Sequence[str], *, last: bool = False) -> None:
        """Replace what is drawn.

        Args:
            printed: Comes before, to stay: whole lines, filtered and coloured.
            lines: The lines to draw, filtered and coloured; the last of them where they are too many.
            last: Draw nothing more, and end the last line.
        """
        with self._lock:
            _, rows = self.room()
            settled = time.monotonic() - self._resized >= _SETTLED
            drawn = [] if last or not settled else list(lines[-max(1, rows - 2) :])
            if printed or drawn != self._drawn:
                shown = _CLIP + "\n".join(drawn) + _WRAP if drawn else ""
                self._screen.command(f"{_HIDE}{self._up()}{printed}{shown}{_SHOW}")
                self._drawn = drawn

    def take(self) -> None:
        """Draw again, on new lines."""
        self._stopped = False

    def give_back(self) -> None:
        """Take away what would be drawn again, so that a stop leaves no second copy of it."""
        with self._lock:
            self._stopped = True
            self._erase()

    def abandon(self) -> None:
        """Leave what is drawn, and the cursor below it."""
        if self._lock.acquire(timeout=0.5):  # never given back: nobody is to draw any more
            self._stopped = True
            self._screen.command(f"{_WRAP}{_SHOW}\x1b[0m" + ("\n" if self._drawn else ""))
            self._drawn = []

    def _erase(self) -> None:
        if self._drawn:
            self._screen.command(self._up())
            self._drawn = []

    def _up(self) -> str:
        """To the beginning of what is drawn, all of it removed."""
        if not self._drawn:
            return ""
        rows = min(len(self._drawn), self._size[1]) - 1
        return f"\r\x1b[{rows}A\x1b[J" if rows else "\r\x1b[J"

    def _write_above(self, screen: Screen, text: str) -> None:
        """Let others write: a log line stands above what is being drawn."""
        with self._lock:
            whole, newline, self._partial = (self._partial + text).rpartition("\n")
            if newline:
                self._erase()
                screen.stream.write(whole + newline)
                screen.stream.flush()
