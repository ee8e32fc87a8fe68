"""How far a batch is: a bar on a terminal, a line from time to time in a log file."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Protocol

from .batch_output import Output
from .terminal import complain

_FIRST = 5.0
_LONGEST = 60.0
"""Seconds until the first line, and between two at most: each wait is twice as long as the one before."""


class Progress(Protocol):
    """Shows how far a batch is."""

    def __enter__(self) -> Progress:
        """Begin."""
        raise NotImplementedError

    def update(self) -> None:
        """Show what is done now."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""


def progress_of(total: int, results: Output, *, quiet: bool = False) -> Progress:
    """What shows how far a batch is.

    Args:
        total: How many lines there are.
        results: Those that are done.
        quiet: The results themselves are on the screen, if stdout is one.
    """
    if quiet and sys.stdout.isatty():
        return _Nothing()
    if sys.stderr.isatty():
        from .progress import Progress as Bar

        return Bar(total, results)
    return _Lines(total, results)


class _Nothing:
    def __enter__(self) -> Progress:
        return self

    def update(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class _Lines:
    """A line from time to time, also while no result comes."""

    def __init__(self, total: int, results: Output) -> None:
        self._total = total
        self._results = results
        self._at_first = len(results.digests)
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aichatfree-progress", daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def update(self) -> None:
        pass  # the thread looks for itself

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        wait = _FIRST
        while not self._ended.wait(wait):
            wait = min(2 * wait, _LONGEST)
            done, failed = len(self._results.digests), len(self._results.failed)
            rate = (done - self._at_first) / (time.monotonic() - self._started) * 60
            left = f", about {_time((self._total - done) / rate)} left" if rate else ""
            complain(f"{done} of {self._total} done, {failed} of them failed, {rate:.0f} a minute{left}")


def _time(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes >= 2 else f"{minutes * 60:.0f} s"
