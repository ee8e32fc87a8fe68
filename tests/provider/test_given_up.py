"""Whoever reads on after a read was given up is told that the reply is not whole."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from faces import eventually

from aichatfree import AIChatFree, AsyncGeneratorProvider, RequestTimeoutError, StreamInterruptedError
from aichatfree.testing import Reply, ScriptedServer, Stall

MESSAGES = [{"role": "user", "content": "Hi"}]


def half(server: ScriptedServer, provider: type[AIChatFree]) -> AsyncGenerator[str, None]:
    server.enqueue(Reply("grüße", fault=Stall("in-body")))
    return provider.create_async_generator("", MESSAGES)


async def by_wait_for(pieces: AsyncGenerator[str, None]) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(anext(pieces), 0.05)


async def by_cancelling(pieces: AsyncGenerator[str, None]) -> None:
    reading = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def by_closing(pieces: AsyncGenerator[str, None]) -> None:
    await pieces.aclose()


async def by_throwing(pieces: AsyncGenerator[str, None]) -> None:
    with pytest.raises(KeyError):
        await pieces.athrow(KeyError("mine"))


async def by_the_loop(pieces: AsyncGenerator[str, None]) -> None:
    await asyncio.get_running_loop().shutdown_asyncgens()


@pytest.mark.parametrize("give_up", [by_wait_for, by_cancelling, by_closing, by_throwing, by_the_loop])
def test_reading_on(provider: type[AIChatFree], server: ScriptedServer, give_up: Any) -> None:
    async def main() -> None:
        pieces = half(server, provider)
        assert await anext(pieces) == "grüße"
        await give_up(pieces)
        for _ in range(2):
            with pytest.raises(StreamInterruptedError) as caught:
                await anext(pieces)
            assert caught.value.partial == "grüße"

    asyncio.run(main())


def test_closing_under_a_readers_hands(provider: type[AIChatFree], server: ScriptedServer) -> None:
    async def main() -> None:
        pieces = half(server, provider)
        assert await anext(pieces) == "grüße"
        reading = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        await pieces.aclose()
        with pytest.raises(StreamInterruptedError) as caught:
            await reading
        assert caught.value.partial == "grüße"

    asyncio.run(main())


def test_reading_on_in_another_loop(provider: type[AIChatFree], server: ScriptedServer) -> None:
    pieces: list[AsyncGenerator[str, None]] = []

    async def begin() -> str:
        pieces.append(half(server, provider))
        return await anext(pieces[0])

    async def go_on() -> str:
        return await anext(pieces[0])

    assert asyncio.run(begin()) == "grüße"
    with pytest.raises(StreamInterruptedError):
        asyncio.run(go_on())


def test_a_whole_reply_just_ends(provider: type[AIChatFree], server: ScriptedServer) -> None:
    async def main() -> list[str]:
        pieces = provider.create_async_generator("", MESSAGES)
        had = [piece async for piece in pieces]
        assert await anext(pieces, "the end") == "the end"
        return had

    assert "".join(asyncio.run(main())) == "".join(provider.create_completion("", MESSAGES))


def test_reading_on_synchronously(provider: type[AIChatFree], server: ScriptedServer) -> None:
    server.enqueue(Reply("grüße", fault=Stall("in-body")))
    pieces = provider.create_completion("", MESSAGES, timeout=0.3)
    assert next(pieces) == "grüße"
    with pytest.raises(RequestTimeoutError):
        next(pieces)
    with pytest.raises(StreamInterruptedError) as caught:
        next(pieces)
    assert caught.value.partial == "grüße"
    server.enqueue(Reply("grüße", fault=Stall("in-body")))
    pieces = provider.create_completion("", MESSAGES)
    assert next(pieces) == "grüße"
    pieces.close()
    with pytest.raises(StreamInterruptedError):
        next(pieces)
    server.wait_connections(0)


def plainly(read: Callable[[], Any]) -> Any:
    return read()


def in_a_notebook(read: Callable[[], Any]) -> Any:
    """In a thread that has a running loop."""

    async def cell() -> Any:
        return read()

    return asyncio.run(cell())


class Waiting(AsyncGeneratorProvider):
    """A provider of somebody else's, with a plain generator."""

    reads = 0

    @classmethod
    async def create_async_generator(cls, model: str, messages: Any, **kwargs: Any) -> AsyncGenerator[str, None]:
        yield "grüße"
        cls.reads += 1
        await asyncio.Event().wait()


def closed_by_another_thread(
    pieces: Generator[str, None, None], how: Callable[..., Any], waits: Callable[[], Any]
) -> StreamInterruptedError:
    """The error of a reader who waits while another thread closes."""
    had: list[str] = []

    def read() -> None:
        for piece in pieces:
            had.append(piece)

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(how, read)
        assert eventually(lambda: had == ["grüße"])
        waits()
        pieces.close()
        pieces.close()
        with pytest.raises(StreamInterruptedError) as caught:
            reading.result(20)
    with pytest.raises(StreamInterruptedError):
        next(pieces)
    return caught.value


@pytest.mark.parametrize("how", [plainly, in_a_notebook])
@pytest.mark.usefixtures("no_leaks")
def test_closed_by_another_thread(provider: type[AIChatFree], server: ScriptedServer, how: Any) -> None:
    server.enqueue(Reply("grüße", fault=Stall("in-body")))
    pieces = provider.create_completion("", MESSAGES)
    error = closed_by_another_thread(pieces, how, lambda: server.wait_requests(1))
    assert (error.partial, error.by_caller) == ("grüße", True)
    server.wait_connections(0)


@pytest.mark.parametrize("how", [plainly, in_a_notebook])
def test_any_provider_is_closed_by_another_thread(how: Any) -> None:
    before = Waiting.reads
    pieces = Waiting.create_completion("", MESSAGES)
    error = closed_by_another_thread(pieces, how, lambda: eventually(lambda: Waiting.reads > before))
    assert error.partial == "grüße"


@pytest.mark.parametrize("begun", [False, True])
def test_closed_by_another_thread_between_reads(
    provider: type[AIChatFree], server: ScriptedServer, begun: bool
) -> None:
    server.enqueue(Reply("grüße", fault=Stall("in-body")))
    pieces = provider.create_completion("", MESSAGES)
    if begun:
        assert next(pieces) == "grüße"
    closer = threading.Thread(target=pieces.close)
    closer.start()
    closer.join(20)
    with pytest.raises(StreamInterruptedError) as caught:
        next(pieces)
    assert caught.value.partial == ("grüße" if begun else "")
    server.wait_connections(0)


class Stubborn(AsyncGeneratorProvider):
    """It does not end when it is cancelled, as where Ctrl-C has struck in asyncio's own code."""

    over = False

    @classmethod
    async def create_async_generator(cls, model: str, messages: Any, **kwargs: Any) -> AsyncGenerator[str, None]:
        yield "grüße"
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
        while not cls.over:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_cannot_be_cancelled_does_not_hold_up_ctrl_c() -> None:
    pieces = Stubborn.create_completion("", MESSAGES)
    assert next(pieces) == "grüße"
    with pytest.raises(KeyboardInterrupt):
        next(pieces)
    with pytest.raises(StreamInterruptedError):
        next(pieces)
    Stubborn.over = True
