"""Where the time of a reply went, for ``ask -v``."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol


class Stats(Protocol):
    """What a stream counts, as far as it is told here."""

    @property
    def attempts(self) -> int:
        """Requests that were sent."""
        raise NotImplementedError

    @property
    def first_text_seconds(self) -> float | None:
        """From the start of the call to the first text."""
        raise NotImplementedError

    @property
    def total_seconds(self) -> float:
        """From the start of the call to its end."""
        raise NotImplementedError

    @property
    def pieces(self) -> int:
        """Pieces of text."""
        raise NotImplementedError

    @property
    def bytes_received(self) -> int:
        """Bytes of the body."""
        raise NotImplementedError


def describe(stats: Stats, age: float | None) -> str:
    """One line that says where the time went.

    Args:
        stats: What the stream counted.
        age: How long this program has been running, in seconds; None if the system does not tell.
    """
    tries = f" ({stats.attempts} attempts)" if stats.attempts > 1 else ""
    first, total = stats.first_text_seconds, stats.total_seconds
    parts = [f"{_time(age - total)} to start"] if age is not None and age >= total else []
    if first is None:
        parts.append(f"{_time(total)} without any text{tries}")
    else:
        parts += [f"{_time(first)} until the first text{tries}", f"{_time(total - first)} for the rest"]
    return f"time: {', '.join(parts)}; {stats.pieces} pieces, {stats.bytes_received} bytes"


def age_of_program() -> float | None:
    """For how many seconds this program has been running; None if the system does not tell."""
    with suppress(OSError, ValueError, IndexError, AttributeError):
        # The 22nd field, counted from behind the name, which may hold anything: ticks since the start (proc(5)).
        ticks = int(Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return None


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
