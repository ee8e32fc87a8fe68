"""What a call of AIChatFree leaves behind, however it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import aiohttp
import pytest

from aichatfree import AIChatFree, InvalidRequestError
from aichatfree.testing import Reply, ScriptedServer, Stall

from .asking import MESSAGES, Ask, in_a_running_loop, synchronously


def test_a_connector_that_was_passed_in_stays_open(provider: type[AIChatFree], server: ScriptedServer) -> None:
    async def ask_twice() -> None:
        connector = aiohttp.TCPConnector()
        for _ in range(2):
            async for _piece in provider.create_async_generator("", MESSAGES, None, connector):
                pass
            assert not connector.closed
        await connector.close()

    asyncio.run(ask_twice())
    assert len({request.connection for request in server.requests}) == 1
    server.wait_connections(0)


def test_a_connector_cannot_follow_into_another_loop(provider: type[AIChatFree]) -> None:
    async def ask() -> None:
        async with aiohttp.TCPConnector() as connector:
            with pytest.raises(InvalidRequestError, match="one event loop"):
                list(provider.create_completion("", MESSAGES, connector=connector))

    asyncio.run(ask())


def test_leaving_early_closes_the_connection(provider: type[AIChatFree], server: ScriptedServer) -> None:
    async def leave() -> None:
        server.enqueue(Reply("first", fault=Stall("in-body")))
        generator = provider.create_async_generator("", MESSAGES)
        assert await anext(generator) == "first"
        await generator.aclose()
        await asyncio.to_thread(server.wait_connections, 0)

    asyncio.run(leave())


def test_cancelling_closes_the_connection(provider: type[AIChatFree], server: ScriptedServer) -> None:
    async def cancel() -> None:
        server.enqueue(Reply("first", fault=Stall("in-body")))
        generator = provider.create_async_generator("", MESSAGES)
        assert await anext(generator) == "first"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(generator, ""), 0.05)
        await asyncio.to_thread(server.wait_connections, 0)

    asyncio.run(cancel())


@pytest.mark.usefixtures("no_leaks")
def test_dropping_a_synchronous_reply_closes_the_connection(provider: type[AIChatFree], server: ScriptedServer) -> None:
    for _ in range(3):
        server.enqueue(Reply("first", fault=Stall("in-body")))
        for piece in provider.create_completion("", MESSAGES):
            assert piece == "first"
            break
        gc.collect()
        server.wait_connections(0)


@pytest.mark.usefixtures("no_leaks")
def test_a_synchronous_reply_that_nobody_began_does_nothing(server: ScriptedServer) -> None:
    AIChatFree.using(server.url).create_completion("", MESSAGES)
    AIChatFree.create_function("", MESSAGES)
    assert server.accepted == 0


def test_the_synchronous_entrance_leaves_the_current_event_loop_alone(provider: type[AIChatFree]) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        synchronously(provider)
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_synchronous_replies_at_the_same_time(provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.default = Reply(["first", " and last"], pause=0.05)
    replies = [provider.create_completion("", MESSAGES) for _ in range(3)]
    assert [next(reply) for reply in replies] == ["first"] * 3
    assert ["".join(reply) for reply in replies] == [" and last"] * 3
    server.wait_connections(0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("ask", [synchronously, in_a_running_loop], ids=lambda ask: ask.__name__)
@pytest.mark.usefixtures("no_leaks")
def test_ctrl_c_ends_a_synchronous_reply(provider: type[AIChatFree], server: ScriptedServer, ask: Ask) -> None:
    server.enqueue(Reply("first", fault=Stall("in-body")))

    def press() -> None:
        server.wait_requests(1)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask(provider)
    assert time.monotonic() - started < 20
    presser.join()
    server.wait_connections(0)


def test_a_reply_left_open_at_the_end_of_the_program_is_silent(server: ScriptedServer) -> None:
    server.default = Reply("first", fault=Stall("in-body"))
    script = f"""
        from aichatfree import AIChatFree
        reply = AIChatFree.using({server.url!r}).create_completion("", [{{"role": "user", "content": "Hi"}}])
        print(next(reply))
    """
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=environment)
    # On a busy machine asyncio's debug mode remarks that something took long; that is not what is tested.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, done.stdout, said) == (0, "first\n", [])
