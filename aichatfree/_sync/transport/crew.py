"""Threads that work side by side: what ``Client.map`` runs on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from ..._core.pacing import Item, MapResult, Window
from ..._core.wire.messages import Messages

PROMPT_KINDS = (Iterable,)
"""What may hold the prompts."""

LEAVE_SECONDS = 1.0
"""How long leaving waits for threads: one that connects through a session of the user's cannot be interrupted, and ends
by itself when that does."""

Rest = Callable[[float], None]


class _Halted(BaseException):
    """The results are not wanted any more."""


class Crew:
    """Threads that answer items, as many as are on their way at once; they are kept until the crew is left.

    Args:
        window: How many items may be on their way, and in which order their results leave.
        prompts: What is asked.
        answer: What is done with an item; it is handed ``rest``, with which it waits.
    """

    def __init__(self, window: Window, prompts: Iterable[Messages], answer: Callable[[Rest, Item], MapResult]) -> None:
        self._window = window
        self._prompts = iter(prompts)
        self._over = False
        self._answer = answer
        self._threads: list[Thread] = []
        self._items: SimpleQueue[tuple[Context, Item] | None] = SimpleQueue()
        self._ended: SimpleQueue[MapResult | BaseException | None] = SimpleQueue()
        self._under_way = 0
        self._halted = Event()
        self._process = os.getpid()

    def next_result(self) -> MapResult | None:
        """The result that leaves next, None after the last. Prompts are taken as there is room for them."""
        while not self.halted:
            while not self._over and self._window.has_room:
                try:
                    prompt = next(self._prompts)
                except StopIteration:
                    self._over = True
                else:
                    self._send(self._window.take(prompt))
            if (result := self._window.pop()) is not None or not self._under_way:
                return result
            self._receive()
        return None

    @property
    def halted(self) -> bool:
        """Whether the results are not wanted any more."""
        return self._halted.is_set() or self._process != os.getpid()  # a fork has none of the threads

    def halt(self) -> None:
        """Want no more results, and unblock whoever waits for one: it gets None."""
        self._halted.set()
        self._ended.put(None)

    def _send(self, item: Item) -> None:
        self._under_way += 1
        if len(self._threads) < self._under_way:
            # A daemon: a program that ends does not wait for replies that nobody reads.
            thread = Thread(target=self._work, name=f"aichatfree-map-{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:  # else those that run do the work of those that cannot be started
                    raise
            else:
                self._threads.append(thread)
        self._items.put((copy_context(), item))

    def _receive(self) -> None:
        outcome = self._ended.get()
        if outcome is None or self.halted:
            return
        self._under_way -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        self._window.put(outcome)

    def _work(self) -> None:
        while (work := self._items.get()) is not None:
            context, item = work
            outcome: MapResult | BaseException
            try:
                outcome = context.run(self._answer, self._rest, item)
            except BaseException as error:
                outcome = error
            self._ended.put(outcome)
            del context, item, work, outcome

    def _rest(self, seconds: float) -> None:
        if self._halted.wait(seconds):
            raise _Halted

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._halted.set()
        while not self._items.empty():
            self._items.get()
        for _ in self._threads:
            self._items.put(None)
        ends = time.monotonic() + LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
