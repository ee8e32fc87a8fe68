"""The one timer of a loop: whoever waits is looked at in time, and nobody's end is in another's way."""

from __future__ import annotations

import asyncio
import functools
import gc
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from aichatfree import AsyncClient, RequestTimeoutError, Timeout
from aichatfree._async.transport.watch import SECONDS_EACH, Watch, watch_of
from aichatfree.testing import Reply, ScriptedServer, Stall


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Waiting:
    """Notes when it is looked at."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.looked: list[float] = []
        self._then = then

    def look(self) -> None:
        self.looked.append(time.monotonic())
        self._then()


class Moment(float):
    """Now. To compare it with another time takes as long as ``meanwhile``."""

    meanwhile: Callable[[], object]

    def __ge__(self, other: float) -> bool:
        self.meanwhile()
        return super().__ge__(other)


class Clock:
    """What a watch needs of a loop, in a time of its own."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._meanwhile = meanwhile
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.now = 0.0
        self.wakes = 0

    def time(self) -> float:
        moment = Moment(self.now)
        moment.meanwhile = self._meanwhile
        return moment

    def call_at(self, when: float, callback: Callable[[], None], *, context: object) -> Any:
        timer = when, callback
        self._timers.append(timer)
        return SimpleNamespace(cancel=lambda: self._timers.remove(timer))

    def run(self) -> None:
        while self._timers:
            self.now, callback = self._timers.pop(self._timers.index(min(self._timers)))
            self.wakes += 1
            callback()


def timers() -> list[Any]:
    loop: Any = asyncio.get_running_loop()
    return [timer for timer in loop._scheduled if not timer.cancelled()]


@in_a_loop
async def test_each_is_looked_at_when_it_is_time_and_once() -> None:
    loop = asyncio.get_running_loop()
    watch = Watch(loop)
    waiting = {seconds: Waiting() for seconds in (0.06, 0.02, 0.04, 0.0)}
    began = loop.time()
    for seconds, each in waiting.items():
        watch.begin(each, seconds)
    await asyncio.sleep(0.15)
    for seconds, each in waiting.items():
        assert len(each.looked) == 1
        assert each.looked[0] >= began + seconds - 0.005
    assert sorted(waiting, key=lambda seconds: waiting[seconds].looked) == sorted(waiting)
    assert timers() == []


@in_a_loop
async def test_a_later_time_changes_nothing_and_an_earlier_one_does() -> None:
    watch = Watch(asyncio.get_running_loop())
    patient, hasty = Waiting(), Waiting()
    watch.begin(patient, 0.02)
    watch.begin(patient, 60)
    watch.begin(hasty, 60)
    watch.begin(hasty, 0.02)
    await asyncio.sleep(0.1)
    assert (len(patient.looked), len(hasty.looked)) == (1, 1)


@in_a_loop
async def test_who_has_ended_is_not_looked_at() -> None:
    watch = Watch(asyncio.get_running_loop())
    ended, other = Waiting(), Waiting()
    watch.begin(ended, 0.02)
    watch.begin(other, 0.02)
    watch.end(ended)
    watch.end(ended)
    await asyncio.sleep(0.1)
    assert (len(ended.looked), len(other.looked)) == (0, 1)


@in_a_loop
async def test_one_may_end_another_and_begin_again() -> None:
    watch = Watch(asyncio.get_running_loop())
    ended = Waiting()

    def once_more() -> None:
        if len(again.looked) < 3:
            watch.begin(again, 0.01)

    again = Waiting(once_more)
    watch.begin(Waiting(lambda: watch.end(ended)), 0.01)
    watch.begin(ended, 0.01)
    watch.begin(again, 0.01)
    await asyncio.sleep(0.15)
    assert (len(ended.looked), len(again.looked)) == (0, 3)


@in_a_loop
async def test_one_that_fails_does_not_stop_the_others() -> None:
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    watch = Watch(loop)

    def fail() -> None:
        raise ZeroDivisionError

    others = [Waiting(), Waiting()]
    watch.begin(others[0], 0.01)
    watch.begin(Waiting(fail), 0.01)
    watch.begin(others[1], 0.01)
    await asyncio.sleep(0.1)
    assert [len(other.looked) for other in others] == [1, 1]
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]


def test_thousands_are_not_all_asked_for_each_of_them() -> None:
    clock: Any = Clock()
    watch = Watch(clock)
    looked: list[float] = []
    for number in range(2000):
        watch.begin(Waiting(lambda: looked.append(clock.now)), 1 + number / 10_000)
    clock.run()
    assert clock.wakes < 200
    assert len(looked) == 2000
    assert all(now - (1 + number / 10_000) <= SECONDS_EACH * 2000 for number, now in enumerate(looked))


def test_another_thread_may_end_its_own_meanwhile() -> None:
    others = [Waiting() for _ in range(3)]
    clock: Any = Clock(lambda: watch.end(others.pop()) if others else None)
    watch = Watch(clock)
    for each in [*others, waiting := Waiting()]:
        watch.begin(each, 1)
    clock.run()
    assert len(waiting.looked) == 1


def test_it_keeps_nothing_alive() -> None:
    class Large:
        pass

    variable: ContextVar[Large] = ContextVar("variable")
    seen: list[weakref.ref[Any]] = []

    async def call(watch: Watch) -> None:
        large, waiting = Large(), Waiting()
        variable.set(large)
        watch.begin(waiting, 60)
        watch.end(waiting)
        seen.extend([weakref.ref(large), weakref.ref(waiting)])

    async def main() -> None:
        await asyncio.create_task(call(Watch(asyncio.get_running_loop())))
        await asyncio.sleep(0)  # the loop itself still holds what it is running
        gc.collect()
        assert [reference() for reference in seen] == [None, None]

    asyncio.run(main())


def test_a_loop_has_one_and_leaves_nothing_behind() -> None:
    async def call() -> weakref.ref[Waiting]:
        loop, waiting = asyncio.get_running_loop(), Waiting()
        watch_of(loop).begin(waiting, 60)
        assert watch_of(loop) is watch_of(loop)
        return weakref.ref(waiting)

    loop = asyncio.new_event_loop()
    waiting = loop.run_until_complete(call())
    loop.close()
    del loop
    gc.collect()
    assert waiting() is None


@in_a_loop
async def test_many_streams_have_one_timer() -> None:
    with ScriptedServer() as server:
        server.default = Reply(["a", "b"], pause=0.05)
        async with AsyncClient(server.url) as client:
            assert await asyncio.gather(*[client.generate("hi") for _ in range(20)]) == ["ab"] * 20
            streams = [client.stream("hi") for _ in range(20)]
            for stream in streams:
                await anext(stream)
            assert len(timers()) <= 2  # this one, and that of aiohttp's idle connections
            for stream in streams:
                await stream.aclose()


@in_a_loop
async def test_a_client_that_was_closed_leaves_no_timer() -> None:
    with ScriptedServer() as server:
        for _ in range(5):
            async with AsyncClient(server.url) as client:
                await client.generate("hi")
    assert [timer for timer in timers() if "Watch" in repr(timer)] == []


@pytest.mark.parametrize("borrowed", ["nothing", "session", "connector"])
@in_a_loop
async def test_a_client_for_each_call_leaves_no_timers(borrowed: str) -> None:
    with ScriptedServer() as server:
        async with AsyncExitStack() as stack:
            options: dict[str, Any] = {}
            if borrowed == "session":
                options["session"] = await stack.enter_async_context(aiohttp.ClientSession())
            if borrowed == "connector":
                options["connector"] = await stack.enter_async_context(aiohttp.TCPConnector())
            for _ in range(10):
                async with AsyncClient(server.url, **options) as client:
                    await client.generate("hi")
            assert len(timers()) <= 2


@pytest.mark.parametrize("order", [(0.1, 0.3), (0.3, 0.1)])
@in_a_loop
async def test_calls_at_once_have_each_its_own_limit(order: tuple[float, float]) -> None:
    with ScriptedServer() as server:
        server.default = Reply(["a"], fault=Stall("before-answer"))
        async with AsyncClient(server.url, max_retries=0) as client:
            loop = asyncio.get_running_loop()

            async def wait(seconds: float) -> float:
                began = loop.time()
                with pytest.raises(RequestTimeoutError):
                    await client.generate("hi", timeout=Timeout(first_byte=seconds))
                return loop.time() - began

            took = await asyncio.gather(*map(wait, order))
    for seconds, limit in zip(took, order, strict=True):
        assert limit - 0.01 <= seconds < limit + 2
