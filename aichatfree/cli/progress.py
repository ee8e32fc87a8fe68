"""How far a batch is, with its rate and the time that remains, where stderr is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sized
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

from .drawing import Drawing
from .terminal import Screen, size

_BETWEEN = 0.1
"""Seconds between two drawings, at least."""
_BAR = 30


class Done(Protocol):
    """What is done: by its number, each line that is answered or failed."""

    @property
    def digests(self) -> Sized:
        """All that is done."""
        raise NotImplementedError

    @property
    def failed(self) -> Sized:
        """What of it failed."""
        raise NotImplementedError


class Progress:
    """A bar on stderr; nothing where that is no terminal.

    Args:
        total: How many lines there are.
        results: Those that are done.
    """

    def __init__(self, total: int, results: Done) -> None:
        self._total = total
        self._results = results
        self._before = len(results.digests)
        self._started = time.monotonic()
        self._shown = 0.0
        self._drawing = Drawing(sys.stderr) if isinstance(sys.stderr, Screen) else None
        self._open = ExitStack()

    def __enter__(self) -> Progress:
        if self._drawing is not None:
            self._open.enter_context(self._drawing)
            self.update()
        return self

    def update(self) -> None:
        """Show what is done now."""
        now = time.monotonic()
        if self._drawing is not None and now - self._shown >= _BETWEEN and self._drawing.usable:
            self._shown = now
            self._drawing.show("", [self._line(now)])

    def _line(self, now: float) -> str:
        done, failed = len(self._results.digests), len(self._results.failed)
        rate = (done - self._before) / max(now - self._started, 0.001)
        told = [f"{done}/{self._total}"]
        if rate:
            seconds = round((self._total - done) / rate)
            told += [f"{rate * 60:.0f}/min", f"{seconds // 60}:{seconds % 60:02} left"]
        if failed:
            told.append(f"{failed} failed")
        text = "  ".join(told)
        columns, _ = size()
        bar = min(_BAR, columns - len(text) - 4)
        if bar < 5:
            return text
        filled = bar * done // max(1, self._total)
        return f"[{'#' * filled}{'.' * (bar - filled)}] {text}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()
