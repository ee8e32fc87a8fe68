"""Tasks that work side by side: what ``AsyncClient.map`` runs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from ..._core.pacing import Item, MapResult, Window
from ..._core.wire.messages import Messages

PROMPT_KINDS = (Iterable, AsyncIterable)
"""What may hold the prompts."""

Rest = Callable[[float], Awaitable[None]]


class Crew:
    """Tasks that answer items, one for each on its way. Leaving the crew cancels them.

    Args:
        window: How many items may be on their way, and in which order their results leave.
        prompts: What is asked.
        answer: What is done with an item; it is handed ``rest``, with which it waits.
    """

    def __init__(
        self,
        window: Window,
        prompts: Iterable[Messages] | AsyncIterable[Messages],
        answer: Callable[[Rest, Item], Awaitable[MapResult]],
    ) -> None:
        self._window = window
        self._prompts = prompts
        self._answer = answer
        self._feeder: asyncio.Task[Any] | None = None
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: asyncio.Task[Any] | None = None
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.halted = False
        """Whether the results are not wanted any more."""

    async def next_result(self) -> MapResult | None:
        """The result that leaves next, None after the last. Prompts are taken as there is room for them."""
        if self._feeder is None:
            self._feeder = self._spawn(self._feed())
        while not self.halted:
            if (result := self._window.pop()) is not None:
                self._room.set()
                return result
            if self._failed is not None:
                self._failed.result()
            if not self._tasks:
                return None
            self._news.clear()
            await self._news.wait()
        return None

    def halt(self) -> None:
        """Want no more results, and unblock whoever waits for one, from any thread: it gets None."""
        self.halted = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits in it
            self._loop.call_soon_threadsafe(self._news.set)

    async def _feed(self) -> None:
        # One task reads all of the prompts: an async generator may hold a timeout or a scope open between them.
        if isinstance(self._prompts, AsyncIterable):
            async for prompt in self._prompts:
                await self._send(prompt)
        else:
            for prompt in self._prompts:
                await self._send(prompt)

    async def _send(self, prompt: Messages) -> None:
        self._spawn(self._answer(asyncio.sleep, self._window.take(prompt)))
        while not self._window.has_room:
            self._room.clear()
            await self._room.wait()

    def _take_back(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is not None:
            self._failed = self._failed or task
        elif task is not self._feeder:
            self._window.put(task.result())
            self._room.set()
        self._news.set()

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._take_back)
        return task

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
