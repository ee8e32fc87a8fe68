"""A loop over a map ends normally only after the last result: whoever reads on after less is told so."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest
from faces import eventually

from aichatfree import AsyncClient, Client, InvalidRequestError, StreamInterruptedError
from aichatfree._core.pacing import MapResult
from aichatfree.testing import Pause, RecordedRequest, Reply, ScriptedServer


@pytest.fixture(autouse=True)
def _only_the_first_is_answered(server: ScriptedServer) -> None:
    def answer(request: RecordedRequest) -> Reply:
        return Reply("yes") if request.prompt == "first" else Reply(["half", Pause(None)])

    server.default = answer


PROMPTS = ["first", "second", "third"]
Results = AsyncGenerator[MapResult, None]


async def by_wait_for(results: Results) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(anext(results), 0.05)


async def by_cancelling(results: Results) -> None:
    reading = asyncio.ensure_future(anext(results))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def by_closing(results: Results) -> None:
    await results.aclose()
    await results.aclose()


async def by_throwing(results: Results) -> None:
    with pytest.raises(KeyError):
        await results.athrow(KeyError("mine"))


async def by_the_loop(results: Results) -> None:
    await asyncio.get_running_loop().shutdown_asyncgens()


def check_interrupted(error: StreamInterruptedError, count: str = "1 result had come") -> None:
    assert error.by_caller
    assert count in str(error)


@pytest.mark.parametrize("give_up", [by_wait_for, by_cancelling, by_closing, by_throwing, by_the_loop])
@pytest.mark.usefixtures("no_leaks")
def test_reading_on(server: ScriptedServer, give_up: Any) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client:
            results = client.map(PROMPTS)
            assert (await anext(results)).text == "yes"
            await give_up(results)
            for _ in range(2):
                with pytest.raises(StreamInterruptedError) as caught:
                    await anext(results)
                check_interrupted(caught.value)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    server.wait_connections(0)


def test_reading_on_in_another_loop(server: ScriptedServer) -> None:
    client = AsyncClient(server.url)
    results = client.map(PROMPTS)

    async def read() -> MapResult:
        return await anext(results)

    assert asyncio.run(read()).text == "yes"
    with pytest.raises(StreamInterruptedError) as caught:
        asyncio.run(read())
    check_interrupted(caught.value)


def make(face: Any, server: ScriptedServer, prompts: Any = PROMPTS, **options: Any) -> Any:
    return face.client(server).map(prompts, **options)


def following(face: Any, results: Any) -> Any:
    async def read() -> Any:
        return await anext(results, "the end")

    return face.run(lambda: next(results, "the end"), read)


def leave(face: Any, results: Any) -> None:
    face.run(lambda: results.close(), lambda: results.aclose())


@pytest.mark.parametrize("begun", [False, True])
def test_reading_on_after_closing(face: Any, server: ScriptedServer, begun: bool) -> None:
    results = make(face, server)
    if begun:
        assert following(face, results).text == "yes"
    leave(face, results)
    for _ in range(2):
        with pytest.raises(StreamInterruptedError) as caught:
            following(face, results)
        check_interrupted(caught.value, "1 result had" if begun else "0 results had")
    leave(face, results)
    if not begun:
        assert server.requests == []


def test_reading_on_after_an_error(face: Any, server: ScriptedServer) -> None:
    results = make(face, server, ["first", "", "first"], return_errors=False)
    assert following(face, results).text == "yes"
    with pytest.raises(InvalidRequestError, match="the message is empty"):
        following(face, results)
    with pytest.raises(StreamInterruptedError):
        following(face, results)


def test_reading_on_after_an_error_of_the_prompts(face: Any, server: ScriptedServer) -> None:
    def prompts() -> Iterator[str]:
        yield "first"
        raise LookupError("mine")

    results = make(face, server, prompts(), concurrency=1)
    with pytest.raises(LookupError):
        following(face, results), following(face, results)
    with pytest.raises(StreamInterruptedError):
        following(face, results)


def test_a_whole_map_just_ends(face: Any, server: ScriptedServer) -> None:
    results = make(face, server, ["first", "first"])
    assert [following(face, results).text for _ in range(2)] == ["yes", "yes"]
    assert [following(face, results) for _ in range(2)] == ["the end", "the end"]
    leave(face, results)
    assert following(face, results) == "the end"


@pytest.mark.usefixtures("no_leaks")
def test_closed_under_a_readers_hands(face: Any, server: ScriptedServer) -> None:
    """By another thread, or another task: the reader is told so, and who closes hears nothing."""
    client = face.client(server)
    results = client.map(PROMPTS)
    had: list[Any] = []

    def read() -> None:
        with pytest.raises(StreamInterruptedError) as caught:
            had.extend(results)
        check_interrupted(caught.value)

    def run() -> None:
        reader = threading.Thread(target=read)
        reader.start()
        assert server.wait_requests(3)
        assert eventually(lambda: len(had) == 1)
        results.close()
        reader.join(20)
        assert not reader.is_alive()

    async def aread() -> None:
        with pytest.raises(StreamInterruptedError) as caught:
            async for result in results:
                had.append(result)
        check_interrupted(caught.value)

    async def arun() -> None:
        reader = asyncio.create_task(aread())
        await asyncio.to_thread(server.wait_requests, 3)
        while not had:
            await asyncio.sleep(0.01)
        await results.aclose()
        await asyncio.wait_for(reader, 20)

    face.run(run, arun)
    assert len(had) == 1
    with pytest.raises(StreamInterruptedError):
        following(face, results)
    face.close(client)
    server.wait_connections(0)


@pytest.mark.usefixtures("no_leaks")
def test_closed_by_its_own_prompts(face: Any, server: ScriptedServer) -> None:
    """They run inside of a read: it cannot be closed there and then, and does not end quietly all the same."""
    kept: list[Any] = []

    def prompts() -> Iterator[str]:
        yield "first"
        if face.is_async:
            closing_task = asyncio.ensure_future(kept[0].aclose())
            kept.append(closing_task)
        else:
            kept[0].close()
        yield "second"

    client = face.client(server)
    kept.append(client.map(prompts()))
    with pytest.raises(StreamInterruptedError):
        while following(face, kept[0]) != "the end":
            pass
    face.close(client)


def test_closed_from_another_thread_than_the_loop(server: ScriptedServer) -> None:
    client = AsyncClient(server.url)
    results = client.map(PROMPTS)
    had: list[MapResult] = []

    async def read() -> None:
        async for result in results:
            had.append(result)

    def close() -> None:
        assert server.wait_requests(3)
        assert eventually(lambda: len(had) == 1)
        asyncio.run(results.aclose())

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(StreamInterruptedError):
        asyncio.run(asyncio.wait_for(read(), 20))
    closer.join()


READ_IN_A_FORK = """
import os, sys
from aichatfree import Client, StreamInterruptedError
results = Client(sys.argv[1]).map(["first", "first", "first"], concurrency=1)
assert next(results).text == "yes"
child = os.fork()
if not child:
    try:
        next(results)
    except StreamInterruptedError:
        os._exit(7)  # it was told so, and does not wait for threads that its parent alone has
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print([result.text for result in results])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is none on this system")
def test_reading_on_in_a_fork(server: ScriptedServer) -> None:
    command = [sys.executable, "-W", "ignore", "-c", READ_IN_A_FORK, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("['yes', 'yes']\n", 0), done.stderr


def test_it_is_still_a_generator(server: ScriptedServer) -> None:
    with Client(server.url) as client, closing(client.map(PROMPTS)) as results:
        assert isinstance(results, Generator)
        assert iter(results) is results
        assert next(results).ok
        with pytest.raises(KeyError):
            results.throw(KeyError("mine"))
        with pytest.raises(StreamInterruptedError):
            results.send(None)

    async def main() -> None:
        async with AsyncClient(server.url) as client, aclosing(client.map(PROMPTS)) as results:
            assert isinstance(results, AsyncGenerator)
            assert not inspect.iscoroutine(results)
            assert aiter(results) is results
            assert (await results.asend(None)).ok

    asyncio.run(main())


def test_prompts_that_never_come_hold_nobody_up(server: ScriptedServer) -> None:
    async def prompts() -> AsyncIterator[str]:
        yield "first"
        await asyncio.Event().wait()

    async def main() -> None:
        async with AsyncClient(server.url) as client:
            results = client.map(prompts())
            assert (await anext(results)).ok
            reading = asyncio.ensure_future(anext(results))
            await asyncio.sleep(0)
            await results.aclose()
            with pytest.raises(StreamInterruptedError):
                await reading
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
