"""What of the terminal is borrowed at this moment: its modes, and the lines that are drawn over.

Whoever changes something of the terminal registers here *before* the change. So whatever ends or stops the program, and
between whichever two instructions, all of it can be given back from one place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Borrowed(Protocol):
    """A change of the terminal that can be undone and made again. All methods may be called at any time, twice too."""

    def take(self) -> None:
        """Make the change."""

    def give_back(self) -> None:
        """Undo it: the program ends normally here, or is stopped and may continue."""

    def abandon(self) -> None:
        """Undo it, quickly: the program ends at once."""


_held: list[Borrowed] = []


@contextmanager
def borrow(thing: Borrowed) -> Iterator[None]:
    """Make a change of the terminal for as long as the context lasts."""
    _held.append(thing)
    try:
        thing.take()
        yield
    finally:
        thing.give_back()
        with suppress(ValueError):
            _held.remove(thing)


def give_all_back() -> None:
    """Leave the terminal as it was found, because the program stops for a while."""
    for thing in reversed(_held):
        with suppress(OSError, ValueError):
            thing.give_back()


def take_all_again() -> None:
    """Continue where :func:`give_all_back` was called."""
    for thing in _held:
        with suppress(OSError, ValueError):
            thing.take()


def abandon_all() -> None:
    """Leave the terminal as it was found, because the program ends at once."""
    while _held:
        with suppress(OSError, ValueError):
            _held.pop().abandon()


def in_background(descriptor: int) -> bool:
    """Whether a terminal belongs to another job at this moment, as after ``bg``."""
    try:
        return os.tcgetpgrp(descriptor) != os.getpgrp()
    except (AttributeError, OSError):
        return False


def in_foreground(descriptor: int) -> bool:
    """Whether a terminal is ours to set at this moment: to set it from the background would stop the program."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except (AttributeError, OSError):  # Windows; not the terminal of this session
        return False
