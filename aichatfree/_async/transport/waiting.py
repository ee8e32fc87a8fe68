"""How this wing waits."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Alarm:
    """Ends a pause, from any thread: as :class:`threading.Event`, for a task of the loop in which it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until the alarm is set, at most ``seconds``."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)

    def set(self) -> None:
        """Set the alarm."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._event.set)
