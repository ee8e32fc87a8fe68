"""A stream's life: how it begins, what it tells, and every way in which it may end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest
from faces import eventually

import aichatfree
from aichatfree import (
    AIChatFreeError,
    AsyncClient,
    Client,
    OverloadedError,
    RetryPolicy,
    StreamInterruptedError,
    Timeout,
)
from aichatfree.testing import Drop, Pause, Reply, ScriptedServer, Stall

FOREVER = Reply(["first", Pause(None)])
HANGS = 20.0
"""Seconds after which something that must not wait counts as hanging."""


def test_what_a_stream_tells(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["你好", "!"], headers={"X-Served-By": "here"}))
    stream = face.client(server).stream("hi", model="some-label")
    assert (stream.status_code, dict(stream.headers), stream.text, stream.closed) == (None, {}, "", False)
    assert (stream.stats.attempts, stream.stats.first_text_seconds, stream.stats.pieces) == (0, None, 0)
    assert server.requests == []

    def read() -> str:
        return str(stream.until_done())

    async def aread() -> str:
        return str(await stream.until_done())

    assert face.run(read, aread) == "你好!"
    assert (stream.status_code, stream.headers["x-served-by"], stream.text) == (200, "here", "你好!")
    assert stream.model == "some-label"
    assert stream.closed
    stats = stream.stats
    assert (stats.attempts, stats.bytes_received) == (1, 7)
    assert 0 < stats.first_text_seconds <= stats.total_seconds
    assert stream.stats == stats  # the time stands still after the end
    assert face.run(read, aread) == "你好!"  # until_done() may be asked again
    assert "some-label" not in server.requests[0].body.decode()


def test_the_default_label(face: Any, server: ScriptedServer) -> None:
    assert face.client(server).stream("hi").model == "gemini-1.5-pro"
    assert face.client(server, model="mine").stream("hi").model == "mine"


def test_entering_sends_the_request(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["late"], fault=None))
    stream = face.client(server).stream("hi")

    def read() -> list[str]:
        with stream as entered:
            assert entered is stream
            assert entered.status_code == 200
            assert entered.text == ""
            return list(entered)

    async def aread() -> list[str]:
        async with stream as entered:
            assert entered is stream
            assert entered.status_code == 200
            assert entered.text == ""
            return [piece async for piece in entered]

    assert face.run(read, aread) == ["late"]
    assert stream.closed


def test_entering_raises_what_the_server_answers(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.wrong_password())
    stream = face.client(server).stream("hi")

    def enter() -> None:
        with stream:
            pytest.fail("entered")

    async def aenter() -> None:
        async with stream:
            pytest.fail("entered")

    with pytest.raises(aichatfree.InvalidPasswordError):
        face.run(enter, aenter)
    assert stream.closed


@pytest.mark.parametrize("how", ["close", "with", "closing", "break", "drop", "error"])
@pytest.mark.parametrize("framing", ["chunked", "until-close"])
def test_every_early_end_closes_the_connection(
    face: Any, server: ScriptedServer, how: str, framing: Any, no_leaks: None
) -> None:
    server.enqueue(Reply(["first", Pause(None)], framing=framing))
    client = face.client(server)

    def read() -> None:
        stream = client.stream("hi")
        if how == "close":
            assert next(stream) == "first"
            stream.close()
            stream.close()
            assert stream.closed
        elif how == "with":
            with stream:
                next(stream)
        elif how == "closing":
            with contextlib.closing(stream):
                next(stream)
        elif how == "error":
            with pytest.raises(ZeroDivisionError), stream:
                for _ in stream:
                    raise ZeroDivisionError
        else:
            for _ in stream:
                break

    async def aread() -> None:
        stream = client.stream("hi")
        if how == "close":
            assert await anext(stream) == "first"
            await stream.aclose()
            await stream.aclose()
            assert stream.closed
        elif how == "with":
            async with stream:
                await anext(stream)
        elif how == "closing":
            async with contextlib.aclosing(stream):
                await anext(stream)
        elif how == "error":
            with pytest.raises(ZeroDivisionError):
                async with stream:
                    async for _ in stream:
                        raise ZeroDivisionError
        else:
            async for _ in stream:
                break
        del stream
        await asyncio.to_thread(server.wait_connections, 0)

    gc.disable()  # reference counting alone must do
    try:
        face.run(read, aread)
        server.wait_connections(0)
    finally:
        gc.enable()
    server.enqueue(Reply("fresh"))
    assert face.generate(client) == "fresh"
    face.close(client)


def test_a_closed_stream_never_just_ends(face: Any, server: ScriptedServer) -> None:
    server.enqueue(FOREVER)
    stream = face.client(server).stream("hi")

    def read() -> list[str]:
        next(stream)
        stream.close()
        with pytest.raises(StreamInterruptedError):
            next(stream)
        return list(stream)

    async def aread() -> list[str]:
        await anext(stream)
        await stream.aclose()
        with pytest.raises(StreamInterruptedError):
            await anext(stream)
        return [piece async for piece in stream]

    with pytest.raises(StreamInterruptedError) as caught:
        face.run(read, aread)
    assert caught.value.partial == "first"
    with pytest.raises(StreamInterruptedError) as caught:
        face.run(stream.until_done, stream.until_done)
    assert caught.value.partial == "first"


def test_a_stream_closed_before_it_began(face: Any, server: ScriptedServer) -> None:
    stream = face.client(server).stream("hi")
    face.run(lambda: stream.close(), lambda: stream.aclose())
    with pytest.raises(StreamInterruptedError):
        face.run(stream.until_done, stream.until_done)
    assert server.requests == []


def test_text_after_a_failure(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("all there was", fault=Drop("in-body")))
    outcome = face.stream(face.client(server))
    assert outcome.error is not None
    assert outcome.stream.text == "all there was"
    assert outcome.stream.closed


# --- interruption from outside ------------------------------------------------------------------------------------

WAITS: dict[str, tuple[Reply, Callable[[Any], bool]]] = {
    "for the answer": (Reply("x", fault=Stall("before-answer")), lambda stream: True),
    "for the first byte": (Reply("x", fault=Stall("after-headers")), lambda stream: stream.status_code == 200),
    "for the next piece": (Reply(["first", Pause(None)]), lambda stream: stream.text == "first"),
    # The wait begins when the error of the first attempt has been looked at: nothing tells of that but the log.
    "between attempts": (
        Reply.error(503, "later", headers={"Retry-After": "3600"}),
        lambda stream: stream.status_code == 503,
    ),
}
"""What a reader may be waiting for, and whether it does."""

PATIENT = {"timeout": None, "retry": RetryPolicy(max_retries=1, max_retry_after=3600)}
"""Options under which nothing but an interruption ends any of the waits."""


@pytest.fixture(params=WAITS)
def waiting(request: pytest.FixtureRequest, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> Any:
    """Returns once a stream's reader is where the parameter says."""
    reply, is_there = WAITS[request.param]
    server.enqueue(reply)
    caplog.set_level(logging.DEBUG, "aichatfree")

    def wait(stream: Any) -> None:
        server.wait_requests(1)
        assert eventually(lambda: is_there(stream))
        if request.param == "between attempts":
            assert eventually(lambda: "attempt 1 failed" in caplog.text)

    return wait


def check_interrupted(server: ScriptedServer, stream: Any, error: BaseException | None) -> None:
    assert type(error) is StreamInterruptedError, repr(error)
    assert "closed" in str(error)
    assert error.by_caller
    assert error.partial == stream.text
    assert stream.stats.attempts == len(server.requests) == 1  # and not because the next attempt came
    kinds = [OverloadedError] if stream.status_code == 503 else []
    assert [type(earlier) for earlier in error.attempts] == kinds
    if not kinds:  # else it was answered, and may wait for another call
        server.wait_connections(0)


def test_close_from_another_thread(server: ScriptedServer, waiting: Any, no_leaks: None) -> None:
    with Client(server.url, **PATIENT) as client:
        stream = client.stream("hi")
        ended: list[Exception] = []

        def read() -> None:
            try:
                stream.until_done()
            except AIChatFreeError as error:
                ended.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        waiting(stream)
        assert reader.is_alive()
        stream.close()
        reader.join(HANGS)
        assert not reader.is_alive()
        check_interrupted(server, stream, ended[0])


def test_aclose_from_another_task(server: ScriptedServer, waiting: Any, no_leaks: None) -> None:
    async def main() -> None:
        async with AsyncClient(server.url, **PATIENT) as client:
            stream = client.stream("hi")
            reader = asyncio.create_task(stream.until_done())
            await asyncio.to_thread(waiting, stream)
            assert not reader.done()
            await stream.aclose()
            done, _ = await asyncio.wait({reader}, timeout=HANGS)
            assert done
            await asyncio.to_thread(check_interrupted, server, stream, reader.exception())

    asyncio.run(main())


def test_closing_the_client_from_another_thread(server: ScriptedServer, waiting: Any, no_leaks: None) -> None:
    client = Client(server.url, **PATIENT)
    stream = client.stream("hi")
    ended: list[Exception] = []

    def read() -> None:
        try:
            stream.until_done()
        except AIChatFreeError as error:
            ended.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    waiting(stream)
    client.close()
    reader.join(HANGS)
    assert not reader.is_alive()
    check_interrupted(server, stream, ended[0])


def test_closing_the_client_from_another_task(server: ScriptedServer, waiting: Any, no_leaks: None) -> None:
    async def main() -> None:
        client = AsyncClient(server.url, **PATIENT)
        stream = client.stream("hi")
        reader = asyncio.create_task(stream.until_done())
        await asyncio.to_thread(waiting, stream)
        await client.aclose()
        done, _ = await asyncio.wait({reader}, timeout=HANGS)
        assert done
        await asyncio.to_thread(check_interrupted, server, stream, reader.exception())

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel", "wait_for"])
def test_cancellation_closes_the_connection(server: ScriptedServer, waiting: Any, how: str, no_leaks: None) -> None:
    async def main() -> None:
        async with AsyncClient(server.url, **PATIENT) as client:
            stream = client.stream("hi")
            if how == "wait_for":
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(stream.until_done(), 0.2)
            else:
                task = asyncio.create_task(stream.until_done())
                await asyncio.to_thread(waiting, stream)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert stream.stats.attempts == 1
            assert stream.closed
            if stream.status_code != 503:
                await asyncio.to_thread(server.wait_connections, 0)
            assert await client.generate("again")

    asyncio.run(main())


def untimed(errors: str) -> str:
    """Without what asyncio's debug mode says of steps that took long, as they do on a busy machine."""
    return re.sub(r"^Executing .* took .* seconds\n", "", errors, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_ctrl_c(server: ScriptedServer, kind: str) -> None:
    server.enqueue(FOREVER)
    script = f"""
        import asyncio, sys
        from aichatfree import AsyncClient, Client
        client = (Client if {kind == "sync"} else AsyncClient)({server.url!r})
        async def main():
            async for piece in client.stream("hi"):
                print(piece, flush=True)
        try:
            if {kind == "sync"}:
                for piece in client.stream("hi"):
                    print(piece, flush=True)
            else:
                asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()}, **pipes) as process:
        assert process.stdout.readline() == "first\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (out, untimed(err), process.returncode) == ("interrupted\n", "", 0)
    server.wait_connections(0)


# --- the event loop -----------------------------------------------------------------------------------------------


def test_an_async_client_outlives_its_loops(server: ScriptedServer, no_leaks: None) -> None:
    client = AsyncClient(server.url)

    async def ask(client: AsyncClient) -> str:
        return await client.generate("hi")

    assert asyncio.run(ask(client)) == asyncio.run(ask(client))
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(ask(client))
    loop.close()  # without closing its asynchronous generators, as careless programs do
    assert asyncio.run(ask(client))
    del client
    gc.collect()
    server.wait_connections(0)


def test_two_loops_at_once(server: ScriptedServer, no_leaks: None) -> None:
    client = AsyncClient(server.url)
    both = threading.Barrier(2)
    texts: list[str] = []

    async def main() -> None:
        await client.generate("warm up")
        await asyncio.to_thread(both.wait, 5)
        texts.extend(await asyncio.gather(*(client.generate("hi") for _ in range(5))))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(texts) == 10
    server.wait_connections(0)


@pytest.mark.parametrize("kind", ["sync", "async", "loop"])
def test_a_client_that_nobody_closes_warns_of_nothing(server: ScriptedServer, kind: str) -> None:
    scripts = {
        "sync": """
            client = Client(URL)
            client.generate("hi")
            stream = client.stream("hi")
            next(stream)
        """,
        "async": """
            client = AsyncClient(URL)
            async def main():
                local = AsyncClient(URL)
                await local.generate("hi")
                await client.generate("hi")
                async for piece in client.stream("hi"):
                    break
                stream = client.stream("hi")
                await anext(stream)
            asyncio.run(main())
        """,
        "loop": """
            client = AsyncClient(URL)
            loop = asyncio.new_event_loop()
            loop.run_until_complete(client.generate("hi"))
            loop.close()
            del client
            gc.collect()
        """,
    }
    head = f"import asyncio, gc\nfrom aichatfree import AsyncClient, Client\nURL = {server.url!r}\n"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", head + textwrap.dedent(scripts[kind])]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, untimed(done.stderr)) == (0, "", "")
    server.wait_connections(0)


def test_steps_in_tasks_of_their_own(server: ScriptedServer) -> None:
    # Some frameworks run each step of an asynchronous generator in a new task.
    server.enqueue(Reply(["a", "b", Pause(None)], pause=0.02))

    async def main() -> None:
        async with AsyncClient(server.url, timeout=Timeout(idle=0.2)) as client:
            stream = client.stream("hi")
            assert await asyncio.create_task(anext(stream)) == "a"
            assert await asyncio.create_task(anext(stream)) == "b"
            with pytest.raises(aichatfree.RequestTimeoutError):
                await asyncio.create_task(anext(stream))

    asyncio.run(main())


# --- many at once -------------------------------------------------------------------------------------------------


def test_hundreds_of_threads(server: ScriptedServer, no_leaks: None) -> None:
    number = 200
    gate = threading.Barrier(number, timeout=30)

    def wait_for_all(request: Any) -> Reply:
        return Reply([request.prompt, Pause(0.3), "!"])

    server.enqueue(*[wait_for_all] * number)
    texts: dict[int, str] = {}
    with Client(server.url, max_retries=0) as client:

        def work(index: int) -> None:
            with client.stream(str(index)) as stream:
                gate.wait()  # passes only if all are served at once
                texts[index] = stream.until_done()

        threads = [threading.Thread(target=work, args=(index,)) for index in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
    assert texts == {index: f"{index}!" for index in range(number)}
    server.wait_connections(0)


def test_hundreds_of_tasks(server: ScriptedServer, no_leaks: None) -> None:
    number = 300
    server.enqueue(*[lambda request: Reply([request.prompt, Pause(0.3), "!"])] * number)
    started = 0

    async def main() -> list[str]:
        everyone = asyncio.Event()
        async with AsyncClient(server.url, max_retries=0) as client:

            async def work(index: int) -> str:
                nonlocal started
                async with client.stream(str(index)) as stream:
                    started += 1
                    if started == number:
                        everyone.set()
                    await asyncio.wait_for(everyone.wait(), 30)
                    return await stream.until_done()

            return await asyncio.gather(*(work(index) for index in range(number)))

    assert asyncio.run(main()) == [f"{index}!" for index in range(number)]
    server.wait_connections(0)


def test_a_stream_may_be_read_in_another_thread(server: ScriptedServer) -> None:
    server.enqueue(Reply(["a", "b"], pause=0.02))
    with Client(server.url) as client:
        stream = client.stream("hi")
        assert next(stream) == "a"
        texts: list[str] = []
        thread = threading.Thread(target=lambda: texts.append(stream.until_done()))
        thread.start()
        thread.join(5)
        assert texts == ["ab"]
        assert eventually(lambda: stream.closed)
