"""Where the local server's replies come from: a text, pieces of one, or a function of the user's.

Whatever it is, it becomes an async iterator of pieces. Sync code of the user runs in a thread of its own, so
that it may take its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Any

__all__ = ["Message", "ReplySource", "Threads", "default_reply", "pieces_of", "reusable"]

Message = dict[str, Any]
"""One message as on the wire: `{"role": "user", "parts": [{"text": "Hello"}]}`."""

Result = str | Iterable[str] | AsyncIterable[str]
ReplySource = str | Iterable[str] | Callable[[list[Message]], Result | Awaitable[Result]]
"""What a reply is made from: a text, its pieces, or a function of the messages that returns these."""

Threads = set[threading.Thread]
"""The threads in which sync replies run now."""

_AHEAD = 16
"""How many pieces a sync reply may be ahead of the network."""


def default_reply(messages: list[Message]) -> Iterable[str]:
    """The reply of a server to which none was given: says what it is, and repeats what was asked."""
    question = "".join(str(part.get("text") or "") for part in messages[-1]["parts"])
    start = "Hello, 你好! 👋 This is the local stand-in for AIChatFree: there is no model behind it. "
    turns = "" if len(messages) == 1 else f" (message {len(messages)} of this conversation)"
    text = f"{start}You asked{turns}: “{question}”"
    # Pieces of a few words, like those of a model.
    words = text.split(" ")
    return [" ".join(words[n : n + 3]) + (" " if n + 3 < len(words) else "") for n in range(0, len(words), 3)]


def reusable(source: object) -> ReplySource:
    """Check a source of replies, and make it usable for every request.

    Raises:
        TypeError: It is neither a str, nor pieces that are, nor a function.
    """
    if isinstance(source, str) or callable(source):
        return source
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        # An iterator would be used up by the first request.
        pieces = tuple(source)
        for piece in pieces:
            _checked(piece)
        return pieces
    raise TypeError(f"reply must be a str, pieces of str, or a function of the messages, not {source!r}")


async def pieces_of(source: ReplySource, messages: list[Message], threads: Threads) -> AsyncGenerator[str, None]:
    """The pieces of one reply; empty ones are left out.

    Args:
        source: What `reusable` returned.
        messages: What was asked, for a function.
        threads: Where a thread that runs sync code is to be found as long as it runs.

    Raises:
        TypeError: A function returned what is no reply.
        Exception: Whatever a function raises.
    """
    async with contextlib.aclosing(_pieces(source, messages, threads)) as pieces:
        async for piece in pieces:
            if _checked(piece):
                yield piece


async def _pieces(source: ReplySource, messages: list[Message], threads: Threads) -> AsyncGenerator[Any, None]:
    result: Any = source
    if callable(source):
        if _is_async(source):
            result = source(messages)
        else:
            async with contextlib.aclosing(_in_thread(map(source, [messages]), threads)) as results:
                result = await anext(results)
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, (str, list, tuple)):
        for piece in [result] if isinstance(result, str) else result:
            yield piece
    elif isinstance(result, (AsyncIterable, Iterable)):
        rest = result if isinstance(result, AsyncIterable) else _in_thread(result, threads)
        try:
            async for piece in rest:
                yield piece
        finally:
            if isinstance(rest, AsyncGenerator):
                await rest.aclose()
    else:
        raise TypeError(f"a reply must be a str or pieces of str, not {result!r}")


async def _in_thread(iterable: Iterable[Any], threads: Threads) -> AsyncGenerator[Any, None]:
    """Iterate in a daemon thread, which ends at its next item once nobody wants more."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[tuple[bool, Any]] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    abandoned = threading.Event()

    def post(more: bool, item: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(arrived.put_nowait, (more, item))

    def work() -> None:
        try:
            for item in iterable:
                room.acquire()
                if abandoned.is_set():
                    break
                post(True, item)
            post(False, None)
        except BaseException as exc:
            post(False, exc)
        finally:
            threads.discard(threading.current_thread())

    thread = threading.Thread(target=work, name="aichatfree-reply", daemon=True)
    threads.add(thread)
    thread.start()
    try:
        while True:
            more, item = await arrived.get()
            if not more:
                break
            room.release()
            yield item
        if item is not None:
            raise item
    finally:
        abandoned.set()
        room.release()


def _is_async(function: Any) -> bool:
    """Whether calling it cannot block: it may also be a partial, or an object whose `__call__` is async."""
    calls = (function, type(function).__call__)
    return any(inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call) for call in calls)


def _checked(piece: object) -> str:
    if not isinstance(piece, str):
        raise TypeError(f"a piece of a reply must be a str, not {piece!r}")
    return piece
