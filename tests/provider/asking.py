"""The ways to ask a provider: asynchronous or not, and as frameworks do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aichatfree import AsyncGeneratorProvider

MESSAGES = [{"role": "user", "content": "Hello"}]
Ask = Callable[..., list[str]]


def in_one_task(provider: type[AsyncGeneratorProvider], messages: Any = MESSAGES, /, **options: Any) -> list[str]:
    async def collect() -> list[str]:
        options.setdefault("model", "")
        return [piece async for piece in provider.create_async_generator(messages=messages, **options)]

    return asyncio.run(collect())


def in_a_task_a_piece(provider: type[AsyncGeneratorProvider], messages: Any = MESSAGES, /, **options: Any) -> list[str]:
    """As g4f does: every step of the generator runs in a task of its own."""

    async def collect() -> list[str]:
        options.setdefault("model", "")
        generator = provider.create_async_generator(messages=messages, **options)
        pieces = []

        async def step() -> str | None:
            return await anext(generator, None)

        while (piece := await asyncio.create_task(step())) is not None:
            pieces.append(piece)
        return pieces

    return asyncio.run(collect())


def synchronously(provider: type[AsyncGeneratorProvider], messages: Any = MESSAGES, /, **options: Any) -> list[str]:
    options.setdefault("model", "")
    return list(provider.create_completion(messages=messages, **options))


def in_a_running_loop(provider: type[AsyncGeneratorProvider], messages: Any = MESSAGES, /, **options: Any) -> list[str]:
    """The synchronous entrance, called in a notebook."""

    async def cell() -> list[str]:
        return synchronously(provider, messages, **options)

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(cell())  # as notebooks do: asyncio.run() has its own way with Ctrl-C
    finally:
        loop.close()
