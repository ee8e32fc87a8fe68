"""A generator whose loop ends normally only after the whole of it; what decides stands in the core (progress)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, TypeVar

from .._core.progress import Progress

ItemT = TypeVar("ItemT")


class AsyncWhole(AsyncGenerator[ItemT, None]):
    """A generator of items. Whoever reads on after less than all of them gets a StreamInterruptedError.

    It knows its generator, and not the other way round, so that this is closed at once when it is dropped.

    Args:
        items: What yields them, an :class:`~.Interruptible` first and :data:`~.END` last.
        progress: How far it has come.
    """

    def __init__(self, items: AsyncGenerator[Any, None], progress: Progress) -> None:
        self._items = items
        self._progress = progress
        self._given_up = False

    async def asend(self, value: None) -> ItemT:
        """The next item."""
        try:
            if self._given_up:
                await self._items.aclose()
            item: ItemT = await self._items.asend(value)
            while not self._progress.take(item):
                item = await anext(self._items)
            return item
        except StopAsyncIteration:
            self._progress.check_whole()
            raise
        except RuntimeError:
            if not self._progress.closed:
                raise
            raise self._progress.interruption() from None  # another task is closing it right now
        except BaseException:
            self._given_up = True  # an interrupt may have struck right here: then the item is lost
            raise

    async def athrow(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> ItemT:
        """Raise an exception where the generator waits for its reader."""
        error = typ if val is None else val
        item: ItemT = await self._items.athrow(error if tb is None else error.with_traceback(tb))
        return item

    async def aclose(self) -> None:
        """End it. From another task, this unblocks a reader, who gets a StreamInterruptedError."""
        self._progress.close()
        try:
            await self._items.aclose()
        except RuntimeError:
            pass  # it is running in another task, and ends there
