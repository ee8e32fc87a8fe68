"""How many calls run at once, and who waits for one: a few at a time, a short queue, and a refusal after that."""

from __future__ import annotations

import asyncio
from collections import deque

from .failures import UpstreamError

__all__ = ["QUEUE_SECONDS", "Places"]

QUEUE_SECONDS = 10.0
"""The longest wait for a place. Clients that try again on their own come back later instead of all waiting here."""
RETRY_SECONDS = 5


class Places:
    """Places for calls that run at once; who finds none waits a little, in the order of arrival.

    Args:
        limit: How many calls run at once; None: any number.
        queue: How many may wait; None: as many as may run.
        wait_seconds: How long each may wait.
    """

    def __init__(
        self, limit: int | None = None, *, queue: int | None = None, wait_seconds: float = QUEUE_SECONDS
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"max_concurrent must be at least 1, not {limit}")
        self._limit = limit
        self._queue = limit if queue is None else queue
        self._wait_seconds = wait_seconds
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Take a place, waiting for one if need be. Cancelled, or refused, it takes none.

        Raises:
            UpstreamError: All are taken, and the queue is full or the wait was too long.
        """
        if self._limit is None or (self._running < self._limit and not self._waiting):
            self._running += 1
            return
        if self._queue is not None and len(self._waiting) >= self._queue:
            raise _busy()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._wait_seconds)
        except BaseException as exc:
            if turn.done():  # the place was handed over at the very same moment
                self.leave()
            else:
                self._waiting.remove(turn)
                turn.cancel()
            if isinstance(exc, asyncio.TimeoutError):
                raise _busy() from None
            raise

    def leave(self) -> None:
        """Give the place back; the next one in the queue has it then."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._running -= 1


def _busy() -> UpstreamError:
    return UpstreamError(
        "[GoogleGenerativeAI Error]: Error fetching from  [503 Service Unavailable] The server is busy: "
        f"too many calls run at once. Please retry in {RETRY_SECONDS}s.",
        code="Error",
        status=None,
        reason="too many calls at once",
        retry_after=float(RETRY_SECONDS),
    )
