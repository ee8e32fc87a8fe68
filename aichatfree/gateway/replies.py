"""The replies to one request: one stream of a client or several, cut at the stop sequences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from .stops import Stops

if TYPE_CHECKING:
    from .. import AsyncStream

__all__ = ["Text", "texts_of"]

Text = tuple[int, str | None]
"""The number of a reply, and the next piece of it; None: it is whole."""

_AHEAD = 8
"""How many pieces of each reply may wait for the caller."""


async def texts_of(streams: Sequence[AsyncStream], stop: Sequence[str]) -> AsyncGenerator[Text]:
    """The texts of all replies as they come, until each is whole. Closing it ends all calls.

    Raises:
        AIChatFreeError: One of them failed; the others are ended then.
    """
    if len(streams) > 1:
        async with aclosing(_merged(streams, stop)) as texts:
            async for text in texts:
                yield text
        return
    async with aclosing(_pieces(streams[0], stop)) as pieces:
        async for piece in pieces:
            yield 0, piece
    yield 0, None


async def _pieces(stream: AsyncStream, stop: Sequence[str]) -> AsyncGenerator[str]:
    """The pieces of a reply before the first stop sequence, where its call is ended."""
    try:
        if not stop:
            async for piece in stream:
                yield piece
            return
        stops = Stops(stop)
        async for piece in stream:
            if text := stops.feed(piece):
                yield text
            if stops.found:
                return
        if text := stops.finish():
            yield text
    finally:
        await stream.aclose()


async def _merged(streams: Sequence[AsyncStream], stop: Sequence[str]) -> AsyncGenerator[Text]:
    arrived: asyncio.Queue[Text | Exception] = asyncio.Queue(_AHEAD * len(streams))

    async def pump(index: int, stream: AsyncStream) -> None:
        try:
            async with aclosing(_pieces(stream, stop)) as pieces:
                async for piece in pieces:
                    await arrived.put((index, piece))
            await arrived.put((index, None))
        except Exception as error:
            await arrived.put(error)

    pumps = [asyncio.create_task(pump(index, stream)) for index, stream in enumerate(streams)]
    running = len(pumps)
    try:
        while running:
            text = await arrived.get()
            if isinstance(text, Exception):
                raise text
            running -= text[1] is None
            yield text
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
