"""Whoever reads on after a read was given up is told that the reply is not whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aichatfree import AIChatFree, RequestTimeoutError, StreamInterruptedError
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
