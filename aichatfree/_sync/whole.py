"""A generator whose loop ends normally only after the whole of it; what decides stands in the core (progress)."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any, TypeVar

from .._core.progress import Progress

ItemT = TypeVar("ItemT")


class Whole(Generator[ItemT, None, None]):
    """A generator of items. Whoever reads on after less than all of them gets a StreamInterruptedError.

    It knows its generator, and not the other way round, so that this is closed at once when it is dropped.

    Args:
        items: What yields them, an :class:`~.Interruptible` first and :data:`~.END` last.
        progress: How far it has come.
    """

    def __init__(self, items: Generator[Any, None, None], progress: Progress) -> None:
        self._items = items
        self._progress = progress
        self._given_up = False

    def send(self, value: None) -> ItemT:
        """The next item."""
        try:
            if self._given_up:
                self._items.close()
            item: ItemT = self._items.send(value)
            while not self._progress.take(item):
                item = next(self._items)
            return item
        except StopIteration:
            self._progress.check_whole()
            raise
        except ValueError:
            if not self._progress.closed:
                raise
            raise self._progress.interruption() from None  # another thread is closing it right now
        except BaseException:
            self._given_up = True  # an interrupt may have struck right here: then the item is lost
            raise

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> ItemT:
        """Raise an exception where the generator waits for its reader."""
        error = typ if val is None else val
        item: ItemT = self._items.throw(error if tb is None else error.with_traceback(tb))
        return item

    def close(self) -> None:
        """End it. From another thread, this unblocks a reader, who gets a StreamInterruptedError."""
        self._progress.close()
        try:
            self._items.close()
        except ValueError:
            pass  # it is running in another thread, and ends there
