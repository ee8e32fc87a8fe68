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


def texts_of(streams: Sequence[AsyncStream], stop: Sequence[str]) -> AsyncGenerator[Text]:
    """The texts of all replies as they come, until each is whole. Closing the generator ends all calls.

    Raises:
        AIChatFreeError: One of them failed; the others are ended then.
    """
    return _merged(streams, stop) if len(streams) > 1 else _texts(0, streams[0], stop)


async def _texts(index: int, stream: AsyncStream, stop: Sequence[str]) -> AsyncGenerator[Text]:
    """The texts of one reply before the first stop sequence, where its call is ended."""
    try:
        if stop:
            stops = Stops(stop)
            async for piece in stream:
                if text := stops.feed(piece):
                    yield index, text
                if stops.found:
                    break
            if text := stops.finish():
                yield index, text
        else:
            async for piece in stream:
                yield index, piece
    finally:
        await stream.aclose()
    yield index, None


async def _merged(streams: Sequence[AsyncStream], stop: Sequence[str]) -> AsyncGenerator[Text]:
    arrived: asyncio.Queue[Text | Exception] = asyncio.Queue(_AHEAD * len(streams))

    async def pump(index: int, stream: AsyncStream) -> None:
        try:
            async with aclosing(_texts(index, stream, stop)) as texts:
                async for text in texts:
                    await arrived.put(text)
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
