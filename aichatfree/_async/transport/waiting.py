"""How this wing waits."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from ...errors import AIChatFreeError


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


class Sender:
    """The task that sends a request. While it connects, to cancel it is the only way to unblock it."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._before = task.cancelling()
        self._interrupted = False

    def interrupt(self) -> None:
        """Let what the task waits for raise CancelledError; a task that is running itself will see that it is over."""
        if not self._interrupted and self._task is not asyncio.current_task():
            self._interrupted = True
            self._task.cancel()

    def resume(self) -> bool:
        """Take the interruption back, if there was one.

        Returns:
            Whether a CancelledError concerns only the connecting, which :meth:`interrupt` ended, or the end of the
            session: nobody has cancelled the task itself.
        """
        if self._interrupted:
            self._interrupted = False
            self._task.uncancel()
        return bool(self._task.cancelling() <= self._before)


def is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is called from within ``loop``."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def raise_apart(failure: AIChatFreeError | None) -> None:
    """Raise a failure outside of the handler in which it was made: there, Python would tie the original to it."""
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # its traceback has this frame
