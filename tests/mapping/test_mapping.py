"""client.map() over a loopback server, each case with both clients."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from faces import eventually

from aichatfree import (
    AsyncClient,
    Client,
    InvalidRequestError,
    Message,
    OverloadedError,
    RateLimitError,
    RequestTimeoutError,
    RetryPolicy,
    StreamInterruptedError,
)
from aichatfree._core.pacing import MapResult
from aichatfree.testing import Drop, Pause, RecordedRequest, Reply, ScriptedServer

FAST = RetryPolicy(initial_delay=0.01, max_delay=0.02)


def echo(request: RecordedRequest) -> Reply:
    return Reply([f"re: {request.prompt}"])


def slow_first(request: RecordedRequest) -> Reply:
    return Reply([Pause(0.3 if request.prompt == "0" else 0.0), f"re: {request.prompt}"])


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        running.default = echo
        yield running


def collect(face: Any, client: Any, prompts: Any, **options: Any) -> list[MapResult]:
    async def read() -> list[MapResult]:
        return [result async for result in client.map(prompts, **options)]

    return face.run(lambda: list(client.map(prompts, **options)), read)


def take(face: Any, results: Any, count: int) -> list[MapResult]:
    """The first results; the rest is left alone."""

    async def read() -> list[MapResult]:
        return [await anext(results) for _ in range(count)]

    return face.run(lambda: list(itertools.islice(results, count)), read)


def leave(face: Any, results: Any) -> None:
    face.run(lambda: results.close(), lambda: results.aclose())


def numbers(count: int | None = None) -> Iterator[str]:
    return map(str, itertools.count() if count is None else range(count))


def test_every_prompt_gets_its_reply_in_order(face: Any, server: ScriptedServer) -> None:
    server.default = slow_first
    results = collect(face, face.client(server), numbers(20), concurrency=4)
    assert [(r.index, r.prompt, r.text) for r in results] == [(n, str(n), f"re: {n}") for n in range(20)]
    assert all(r.ok and r.error is None and r.attempts == 1 and r.seconds > 0 for r in results)
    assert results[0].seconds >= 0.25


def test_results_as_they_come(face: Any, server: ScriptedServer) -> None:
    server.default = slow_first
    results = collect(face, face.client(server), numbers(6), concurrency=2, ordered=False)
    assert results[-1].index == 0
    assert sorted(r.index for r in results) == list(range(6))


def test_any_form_of_prompt(face: Any, server: ScriptedServer) -> None:
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, Message("user", "c")]
    prompts = ["x", Message("user", "y"), history, iter(["p", "q"])]
    results = collect(face, face.client(server), prompts)
    assert [r.text for r in results] == ["re: x", "re: y", "re: c", "re: p\n\nq"]
    assert results[2].prompt is history
    assert results[3].prompt == ["p", "q"]
    assert collect(face, face.client(server), []) == []


def test_one_that_fails_does_not_stop_the_others(face: Any, server: ScriptedServer) -> None:
    def judge(request: RecordedRequest) -> Reply:
        return Reply.overloaded() if request.prompt == "2" else echo(request)

    server.default = judge
    results = collect(face, face.client(server, retry=FAST), ["1", "2", "", "4", [3]])
    assert [r.text for r in results] == ["re: 1", None, None, "re: 4", None]
    assert [r.attempts for r in results] == [1, 3, 0, 1, 0]
    failed = results[1].error
    assert isinstance(failed, OverloadedError)
    assert [type(error) for error in failed.attempts] == [OverloadedError] * 2
    assert isinstance(results[2].error, InvalidRequestError)
    assert "messages[0] is of type int" in str(results[4].error)
    assert [r.ok for r in results] == [True, False, False, True, False]


def test_errors_are_raised_where_that_is_asked_for(face: Any, server: ScriptedServer, no_leaks: None) -> None:
    client = face.client(server)
    results = client.map(["1", "", "3"], return_errors=False)
    assert take(face, results, 1)[0].text == "re: 1"
    with pytest.raises(InvalidRequestError, match="the message is empty"):
        take(face, results, 1)
    with pytest.raises(StreamInterruptedError):  # it has ended, and not after its last prompt
        take(face, results, 1)
    face.close(client)


def test_replies_that_break_off_start_over(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("half", fault=Drop("in-body")), Reply("whole"))
    (result,) = collect(face, face.client(server, retry=FAST), ["x"])
    assert (result.text, result.attempts) == ("whole", 2)
    server.enqueue(Reply("half", fault=Drop("in-body")))
    (result,) = collect(face, face.client(server, max_retries=0), ["x"])
    assert result.error is not None
    assert (result.text, result.error.partial) == (None, "half")


def test_the_limits_hold_for_each_prompt(face: Any, server: ScriptedServer) -> None:
    server.default = lambda request: Reply(["a", Pause(None)]) if request.prompt == "1" else echo(request)
    results = collect(face, face.client(server, max_retries=0), numbers(3), timeout=0.2, model="label")
    assert [r.ok for r in results] == [True, False, True]
    assert isinstance(results[1].error, RequestTimeoutError)


@pytest.mark.parametrize("ordered", [True, False])
def test_prompts_are_taken_lazily_and_requests_are_bounded(
    face: Any, server: ScriptedServer, ordered: bool, no_leaks: None
) -> None:
    taken = most = 0

    def prompts() -> Iterator[str]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield str(number)

    def reply(request: RecordedRequest) -> Reply:
        return Reply([Pause(0.01), "x"])

    server.default = reply
    client = face.client(server)
    results = client.map(prompts(), concurrency=3, ordered=ordered)
    assert taken == 0
    for number in range(1, 15):
        take(face, results, 1)
        assert taken <= number + 6
        most = max(most, len(server.requests) - number)
    leave(face, results)
    assert most <= 6
    assert server.accepted <= 4
    face.close(client)


def test_no_more_at_once_than_asked_for(face: Any, server: ScriptedServer) -> None:
    open_now: list[int] = []

    def reply(request: RecordedRequest) -> Reply:
        open_now.append(server.connections)
        return Reply([Pause(0.03), "x"])

    server.default = reply
    collect(face, face.client(server), numbers(12), concurrency=3)
    assert max(open_now) == 3


@pytest.mark.parametrize("how", ["close", "drop"])
def test_leaving_early_cancels_what_runs(face: Any, server: ScriptedServer, how: str, no_leaks: None) -> None:
    server.default = lambda request: echo(request) if request.prompt == "0" else Reply(["a", Pause(None)])
    client = face.client(server)
    results = client.map(numbers(), concurrency=5)
    assert take(face, results, 1)[0].text == "re: 0"
    server.wait_requests(5)
    if how == "close":
        leave(face, results)
    else:
        del results
        gc.collect()
        face.run(lambda: None, lambda: asyncio.sleep(0.05))  # it is the loop that closes dropped generators
    ends = time.monotonic() + 5
    while server.connections > 1:  # one may lie idle in the pool
        assert time.monotonic() < ends, server
        time.sleep(0.005)
    if face.is_async:
        assert asyncio.all_tasks(face.loop) == set()
    face.close(client)
    server.wait_connections(0)
    asked = len(server.requests)
    time.sleep(0.05)
    assert len(server.requests) == asked


def test_leaving_early_ends_waits(face: Any, server: ScriptedServer, no_leaks: None) -> None:
    server.enqueue(Reply("first"), *[Reply.quota(retry_in=600) for _ in range(4)])
    client = face.client(server)
    results = client.map(numbers(), concurrency=4, ordered=False)
    take(face, results, 1)
    server.wait_requests(2)
    started = time.monotonic()
    leave(face, results)
    assert time.monotonic() - started < 5
    face.close(client)


def test_everyone_waits_when_the_quota_is_used_up(face: Any, server: ScriptedServer) -> None:
    times: list[float] = []

    def reply(request: RecordedRequest) -> Reply:
        times.append(time.monotonic())
        return Reply.quota(retry_in=0.5) if len(times) == 3 else echo(request)

    server.default = reply
    results = collect(face, face.client(server), numbers(8), concurrency=1)
    assert [r.text for r in results] == [f"re: {n}" for n in range(8)]
    assert [r.attempts for r in results] == [1, 1, 2, 1, 1, 1, 1, 1]
    assert times[3] - times[2] >= 0.45
    assert results[2].seconds >= 0.45


def test_a_pause_holds_the_others_too(face: Any, server: ScriptedServer) -> None:
    times: list[float] = []
    refused: list[float] = []

    def reply(request: RecordedRequest) -> Reply:
        times.append(time.monotonic())
        if request.prompt == "0" and not refused:
            refused.append(times[-1])
            return Reply.quota(retry_in=0.6)
        return Reply([Pause(0.25), "x"])

    server.default = reply
    assert all(r.ok for r in collect(face, face.client(server), numbers(4), concurrency=2))
    assert len(times) == 5
    assert sum(refused[0] < at < refused[0] + 0.55 for at in times) <= 1  # what was on its way already


def test_a_quota_that_stays_used_up_is_an_error(face: Any, server: ScriptedServer) -> None:
    server.default = Reply.quota(retry_in=0.02)
    results = collect(face, face.client(server), numbers(3), concurrency=3)
    assert all(isinstance(r.error, RateLimitError) for r in results)
    assert max(r.attempts for r in results) == 3


def test_the_rate(face: Any, server: ScriptedServer) -> None:
    times: list[float] = []

    def reply(request: RecordedRequest) -> Reply:
        times.append(time.monotonic())
        return Reply.overloaded() if len(times) == 2 else echo(request)

    server.default = reply
    results = collect(face, face.client(server, retry=FAST), numbers(5), max_rate=600)
    assert all(r.ok for r in results)
    assert len(times) == 6  # a retry counts
    assert times[-1] - times[0] >= 0.35  # five times 0.1 s, but for what the first took to connect


@pytest.mark.parametrize(
    ("prompts", "options", "words"),
    [
        ("hello", {}, "prompts is a single str"),
        (3, {}, "prompts is of type int"),
        (["x"], {"concurrency": 0}, "concurrency is 0"),
        (["x"], {"ordered": None}, "ordered is None"),
        (["x"], {"return_errors": 1}, "return_errors is 1"),
        (["x"], {"max_rate": 0}, "max_rate is 0"),
        (["x"], {"timeout": -1}, "timeout is -1"),
    ],
)
def test_bad_arguments_are_refused_at_once(
    face: Any, server: ScriptedServer, prompts: Any, options: Any, words: str
) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        face.client(server).map(prompts, **options)
    assert server.requests == []


def test_a_closed_client_is_refused_at_once(face: Any, server: ScriptedServer) -> None:
    client = face.client(server)
    face.close(client)
    with pytest.raises(InvalidRequestError, match="client is closed"):
        client.map(["x"])


def test_prompts_that_raise_end_it(face: Any, server: ScriptedServer, no_leaks: None) -> None:
    def prompts() -> Iterator[str]:
        yield "0"
        raise LookupError("mine")

    client = face.client(server)
    with pytest.raises(LookupError, match="mine"):
        collect(face, client, prompts())
    face.close(client)


class Broken(dict[str, str]):
    """A message whose reading fails, as code with a mistake in it does."""

    def __getitem__(self, name: str) -> str:
        raise ZeroDivisionError(name)


def test_a_mistake_in_the_callers_code_is_not_hidden(face: Any, server: ScriptedServer, no_leaks: None) -> None:
    client = face.client(server)
    with pytest.raises(ZeroDivisionError):
        collect(face, client, ["0", Broken(role="user", content="x"), "2"])
    face.close(client)


def test_the_rest_of_a_map_whose_client_was_closed_is_failures(face: Any, server: ScriptedServer) -> None:
    client = face.client(server)
    results = client.map(numbers(12), concurrency=2)
    assert take(face, results, 1)[0].ok
    face.close(client)
    rest = take(face, results, 11)
    assert [r.index for r in rest] == list(range(1, 12))
    assert all(r.ok or isinstance(r.error, (InvalidRequestError, StreamInterruptedError)) for r in rest)
    assert "closed" in str(rest[-1].error)
    leave(face, results)


def test_async_prompts_come_from_one_task_and_results_do_not_wait_for_them(server: ScriptedServer) -> None:
    async def main() -> None:
        answered = asyncio.Event()
        tasks = set()

        async def prompts() -> AsyncIterator[str]:
            for number in range(3):
                tasks.add(asyncio.current_task())
                yield str(number)
                await answered.wait()  # the next question needs the answer to the last
                answered.clear()

        async with AsyncClient(server.url) as client:
            texts = []
            async for result in client.map(prompts()):
                texts.append(result.text)
                answered.set()
            assert texts == ["re: 0", "re: 1", "re: 2"]
        assert len(tasks) == 1

    asyncio.run(asyncio.wait_for(main(), 20))


def test_cancelling_the_reader_cancels_all(server: ScriptedServer) -> None:
    server.default = Reply(["a", Pause(None)])

    async def main() -> None:
        async def read() -> None:
            async with AsyncClient(server.url) as client:
                async for _ in client.map(numbers()):
                    pass

        reader = asyncio.create_task(read())
        await asyncio.to_thread(server.wait_requests, 8)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    server.wait_connections(0)


def test_sync_prompts_are_taken_in_the_thread_that_iterates(server: ScriptedServer) -> None:
    threads = set()

    def prompts() -> Iterator[str]:
        for number in range(20):
            threads.add(threading.current_thread())
            yield str(number)

    with Client(server.url) as client:
        assert len(list(client.map(prompts(), concurrency=3))) == 20
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("derived", [False, True])
def test_closing_the_client_ends_the_pauses_of_a_map(
    face: Any, server: ScriptedServer, derived: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits on until the quota is back."""
    server.default = Reply("busy", status=429, headers={"Retry-After": "600"})
    client = face.client(server, retry=RetryPolicy(max_retry_after=600))
    if derived:
        client = client.with_options(timeout=5)

    caplog.set_level("DEBUG", "aichatfree")

    def close_when_refused() -> None:
        eventually(lambda: "attempt 1 failed" in caplog.text)

    def run() -> list[Any]:
        threading.Thread(target=lambda: (close_when_refused(), client.close())).start()
        return list(client.map(["one"]))

    async def arun() -> list[Any]:
        async def close() -> None:
            await asyncio.to_thread(close_when_refused)
            await client.aclose()

        closing = asyncio.create_task(close())
        results = [result async for result in client.map(["one"])]
        await closing
        return results

    (result,) = face.run(run, arun)
    assert isinstance(result.error, InvalidRequestError)
    assert "closed" in str(result.error)
