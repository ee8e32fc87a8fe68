"""How far a generator has come, whose loop ends normally only after the whole of it. No I/O.

A generator of Python's that was given up (a cancelled read, Ctrl-C, the end of its event loop), closed or ended by an
error is over, and whoever reads on is told that it has ended, as if what had come were all of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import StreamInterruptedError
from .wire.interruption import closed_by_caller

END: Any = None
"""What a generator yields last of all, to say that it was whole. It does not reach the caller."""


class Interruptible(NamedTuple):
    """What a generator yields as soon as a read of it may last. It does not reach the caller.

    Args:
        interrupt: Ends a read that is on its way in another thread or task.
    """

    interrupt: Callable[[], None]


class Progress:
    """What of a generator has reached its caller, and whether the caller has closed it."""

    def __init__(self) -> None:
        self.closed = False
        self._whole = False
        self._interrupt: Callable[[], None] | None = None

    def take(self, item: Any) -> bool:
        """Note what the generator has yielded; return whether it is for the caller."""
        if item is END:
            self._whole = True
        elif isinstance(item, Interruptible):
            self._interrupt = item.interrupt
            if self.closed:  # a moment ago: who closed it has not seen this
                item.interrupt()
        else:
            self.note(item)
            return True
        return False

    def close(self) -> None:
        """The generator is closed, maybe while it is read from."""
        self.closed = True
        if self._interrupt is not None:
            self._interrupt()

    def check_whole(self) -> None:
        """Nothing more comes: raise unless that is as it should be."""
        self._interrupt = None
        if not self._whole:
            raise self.interruption()

    def note(self, item: Any) -> None:
        """An item reaches the caller."""
        raise NotImplementedError

    def interruption(self) -> StreamInterruptedError:
        """The error for whoever reads on after less than the whole."""
        raise NotImplementedError


class TextProgress(Progress):
    """That of a reply, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._text = io.StringIO()  # many small pieces cost far more than their text

    def note(self, item: str) -> None:
        """A piece reaches the caller."""
        self._text.write(item)

    def interruption(self) -> StreamInterruptedError:
        """The error, with the text that has come."""
        error = closed_by_caller()
        error.partial = self._text.getvalue()
        return error


class MapProgress(Progress):
    """That of a map, result by result."""

    def __init__(self) -> None:
        super().__init__()
        self._results = 0

    def note(self, item: object) -> None:
        """A result reaches the caller."""
        self._results += 1

    def interruption(self) -> StreamInterruptedError:
        """The error, with the number of results that have come."""
        came = f"{self._results} result{'' if self._results == 1 else 's'}"
        error = StreamInterruptedError(
            f"the map was closed, given up or ended by an error before all prompts were answered ({came} had come): "
            f"start another one for the rest"
        )
        error.by_caller = True
        return error
