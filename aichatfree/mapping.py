"""Many prompts at once: over threads for Client, over tasks for AsyncClient. What they decide is in core/batch.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from .base import CLOCKS, BaseClient
from .core.batch import Item, MapResult, Pacer, Window, check_prompts
from .core.call import Call
from .core.messages import Messages
from .core.settings import Timeout
from .errors import AIChatFreeError, InvalidRequestError

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client
    from .stream import Stream

LEAVE_SECONDS = 1.0
"""How long leaving waits for threads: one that connects through a session of the user's cannot be interrupted, and ends
by itself when that does."""


class _Plan(NamedTuple):
    window: Window
    pacer: Pacer
    return_errors: bool
    model: str | None
    timeout: Timeout | float | None

    @classmethod
    def of(
        cls,
        client: BaseClient[Any],
        *,
        concurrency: int,
        ordered: bool,
        return_errors: bool,
        max_rate: float | None,
        model: str | None,
        timeout: Timeout | float | None,
    ) -> _Plan:
        client._check_open()
        if not isinstance(return_errors, bool):
            raise InvalidRequestError(f"return_errors is {return_errors!r}: give True or False")
        pacer = Pacer(max_rate, client._settings.retry, CLOCKS)
        return cls(
            Window(concurrency, ordered), pacer, return_errors, model, None if timeout is None else Timeout.of(timeout)
        )

    def call(self, asker: BaseClient[Any], item: Item) -> Call:
        return asker._generate_call(item.prompt, model=self.model, timeout=self.timeout, restartable=True)

    def leaving(self, result: MapResult) -> MapResult:
        if result.error is not None and not self.return_errors:
            raise result.error
        return result


def map_prompts(client: Client, prompts: Iterable[Messages], **options: Any) -> Generator[MapResult]:
    """See :meth:`Client.map`."""
    check_prompts(prompts)
    return _results(client, iter(prompts), _Plan.of(client, **options))


def map_prompts_async(
    client: AsyncClient, prompts: Iterable[Messages] | AsyncIterable[Messages], **options: Any
) -> AsyncGenerator[MapResult]:
    """See :meth:`AsyncClient.map`."""
    check_prompts(prompts, (Iterable, AsyncIterable))
    return _async_results(client, prompts, _Plan.of(client, **options))


def _results(client: Client, prompts: Iterator[Messages], plan: _Plan) -> Generator[MapResult]:
    window = plan.window
    more = True
    with client.with_options(max_retries=0) as asker, _Crew(asker, plan) as crew:
        while True:
            while more and window.has_room:
                try:
                    prompt = next(prompts)
                except StopIteration:
                    more = False
                else:
                    crew.send(window.take(prompt))
            if (result := window.pop()) is not None:
                yield plan.leaving(result)
            elif crew.busy:
                window.put(crew.receive())
            else:
                return


class _Halted(BaseException):
    """The results are not wanted any more."""


class _Crew:
    """The threads of one map, one for each prompt on its way. Leaving it ends whatever they do."""

    def __init__(self, asker: Client, plan: _Plan) -> None:
        self._asker = asker
        self._plan = plan
        self._threads: dict[int, Thread] = {}
        self._ended: SimpleQueue[tuple[int, MapResult | BaseException]] = SimpleQueue()
        self._halted = Event()
        self._streams: set[Stream] = set()
        self._lock = Lock()  # around the pacer and the streams

    @property
    def busy(self) -> bool:
        return bool(self._threads)

    def send(self, item: Item) -> None:
        # A daemon: a program that ends does not wait for replies that nobody reads.
        thread = Thread(target=self._work, args=(item,), name=f"aichatfree-map-{item.index}", daemon=True)
        self._threads[item.index] = thread
        thread.start()

    def receive(self) -> MapResult:
        index, outcome = self._ended.get()
        self._threads.pop(index).join()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _work(self, item: Item) -> None:
        outcome: MapResult | BaseException
        try:
            outcome = self._answer(item)
        except BaseException as error:
            outcome = error
        self._ended.put((item.index, outcome))

    def _answer(self, item: Item) -> MapResult:
        pacer = self._plan.pacer
        while True:
            self._wait(item)
            call: Call | None = None
            try:
                call = self._plan.call(self._asker, item)
                text = self._ask(call)
            except AIChatFreeError as error:
                with self._lock:
                    result = pacer.failed(item, error, call)
                if result is not None:
                    return result
            else:
                with self._lock:
                    return pacer.answered(item, text, call)

    def _wait(self, item: Item) -> None:
        while True:
            with self._lock:
                seconds = self._plan.pacer.wait(item)
            if self._halted.wait(seconds):
                raise _Halted
            if not seconds:
                return

    def _ask(self, call: Call) -> str:
        from .stream import Stream

        stream = Stream(self._asker, call)
        with self._lock:
            self._streams.add(stream)
        try:
            if self._halted.is_set():
                raise _Halted
            return stream.until_done()
        finally:
            with self._lock:
                self._streams.discard(stream)

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._halted.set()
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.close()
        ends = CLOCKS.monotonic() + LEAVE_SECONDS
        for thread in self._threads.values():
            thread.join(max(0.0, ends - CLOCKS.monotonic()))


async def _async_results(
    client: AsyncClient, prompts: Iterable[Messages] | AsyncIterable[Messages], plan: _Plan
) -> AsyncGenerator[MapResult]:
    window = plan.window
    room = asyncio.Event()
    ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    tasks: set[asyncio.Task[Any]] = set()

    def spawn(coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(ended.put_nowait)
        return task

    async def send(prompt: Messages) -> None:
        spawn(_answer(asker, plan, window.take(prompt)))
        while not window.has_room:
            room.clear()
            await room.wait()

    async def feed() -> None:
        # One task reads all of the prompts: an async generator may hold a timeout or a scope open between them.
        if isinstance(prompts, AsyncIterable):
            async for prompt in prompts:
                await send(prompt)
        else:
            for prompt in prompts:
                await send(prompt)

    async with client.with_options(max_retries=0) as asker:
        feeder = spawn(feed())
        try:
            while True:
                if (result := window.pop()) is not None:
                    room.set()
                    yield plan.leaving(result)
                elif tasks:
                    task = await ended.get()
                    tasks.discard(task)
                    outcome = task.result()
                    if task is not feeder:
                        window.put(outcome)
                        room.set()
                else:
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(asker: AsyncClient, plan: _Plan, item: Item) -> MapResult:
    from .async_stream import AsyncStream

    while True:
        while seconds := plan.pacer.wait(item):  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(seconds)
        call: Call | None = None
        try:
            call = plan.call(asker, item)
            text = await AsyncStream(asker, call).until_done()
        except AIChatFreeError as error:
            result = plan.pacer.failed(item, error, call)
            if result is not None:
                return result
        else:
            return plan.pacer.answered(item, text, call)
