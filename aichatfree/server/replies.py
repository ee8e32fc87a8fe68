"""Where the local server's replies come from: a text, pieces of one, or a function of the user's.

Whatever it is, it becomes a sequence or an async iterator of pieces. Sync code of the user runs in a thread of its own,
so that it may take its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

__all__ = [
    "Message",
    "NotAReplyError",
    "Pieces",
    "ReplySource",
    "Threads",
    "checked",
    "close_reply",
    "default_reply",
    "open_reply",
    "reusable",
]

Message = dict[str, Any]
"""One message as on the wire: `{"role": "user", "parts": [{"text": "Hello"}]}`."""

Result = str | Iterable[str] | AsyncIterable[str]
ReplySource = str | Iterable[str] | Callable[[list[Message]], Result | Awaitable[Result]]
"""What a reply is made from: a text, its pieces, or a function of the messages that returns these."""

Pieces = Sequence[Any] | AsyncIterable[Any]
"""The pieces of one reply, not checked yet."""

Threads = set[threading.Thread]
"""The threads in which sync replies run now."""

_AHEAD = 64
_CHARACTERS_AHEAD = 256 << 10
"""How many pieces, and how many characters, a sync reply may be ahead of the network."""


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
    if isinstance(source, str):
        return (source,)
    if callable(source):
        return cast("ReplySource", source)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        # An iterator would be used up by the first request.
        pieces = tuple(source)
        for piece in pieces:
            checked(piece)
        return pieces
    raise TypeError(f"reply must be a str, pieces of str, or a function of the messages, not {source!r}")


class NotAReplyError(TypeError):
    """What a function returned is no reply; the text names types only."""


async def open_reply(source: ReplySource, messages: list[Message], threads: Threads) -> Pieces:
    """The pieces of one reply, to be given to `close_reply` at the end, whatever happens.

    Args:
        source: What `reusable` returned.
        messages: What was asked, for a function.
        threads: Where a thread that runs sync code is to be found as long as it runs.

    Raises:
        TypeError: A function returned what is no reply.
        Exception: Whatever a function raises.
    """
    result: Any = source
    if callable(source):
        if _is_async(source):
            result = source(messages)
        else:
            async with contextlib.aclosing(_in_thread(map(source, [messages]), threads)) as results:
                result = await anext(results)
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, str):
        return (result,)
    if isinstance(result, (list, tuple, AsyncIterable)):
        return result
    if isinstance(result, Iterable):
        return _in_thread(result, threads)
    raise NotAReplyError(f"a reply must be a str or pieces of str, not {type(result).__name__}")


async def close_reply(pieces: Pieces) -> None:
    """End a reply: a generator runs its `finally` blocks, an upstream's request is given up."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


def checked(piece: object) -> str:
    """A piece that is one.

    Raises:
        TypeError: It is not a str.
    """
    if not isinstance(piece, str):
        raise NotAReplyError(f"a piece of a reply must be a str, not {type(piece).__name__}")
    return piece


async def _in_thread(iterable: Iterable[Any], threads: Threads) -> AsyncGenerator[Any, None]:
    """Iterate in a daemon thread, which ends at its next item once nobody wants more."""
    thread = _Thread(iterable, threads)
    try:
        while True:
            while thread.arrived:
                yield thread.take()
            thread.go_on()
            if not await thread.more():
                break
        if isinstance(thread.error, Exception):
            raise thread.error
        if thread.error is not None:  # sys.exit(), say: not to end the server
            raise RuntimeError("the reply's thread was ended") from thread.error
    finally:
        thread.abandon()


class _Thread:
    """Items made in a thread, and taken in an event loop: many at a time where they come fast."""

    def __init__(self, iterable: Iterable[Any], threads: Threads) -> None:
        self.arrived: deque[Any] = deque()
        self.error: BaseException | None = None
        self._iterable = iterable
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._told = False
        self._room = threading.Event()
        # Characters made and taken, each counted by one thread only.
        self._made = self._taken = 0
        self._done = False
        self._abandoned = False
        # The context goes with it: logging and tracing of the user's see the request.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work, threads), name="aichatfree-reply", daemon=True)
        threads.add(self._thread)
        self._thread.start()

    async def more(self) -> bool:
        """Wait until something has arrived, or all has."""
        if not self.arrived and not self._done:
            await self._news.wait()
        self._news.clear()
        self._told = False  # before what has arrived is looked at: what comes later tells again
        done = self._done  # before what has arrived is looked at: what comes last comes before it
        return bool(self.arrived) or not done

    def take(self) -> Any:
        """The next item that has arrived."""
        item = self.arrived.popleft()
        self._taken += _length(item)
        return item

    def go_on(self) -> None:
        """Let the thread make more."""
        self._room.set()

    def abandon(self) -> None:
        """End the thread at its next item."""
        self._abandoned = True
        self._room.set()

    def _work(self, threads: Threads) -> None:
        try:
            for item in self._iterable:
                if self._abandoned:
                    break
                self._made += _length(item)
                self.arrived.append(item)
                self._tell()
                self._wait_for_room()
        except BaseException as exc:
            self.error = exc
        finally:
            self._done = True
            self._tell()
            threads.discard(threading.current_thread())

    def _wait_for_room(self) -> None:
        while self._is_full() and not self._abandoned:
            self._room.clear()
            if self._is_full() and not self._abandoned:  # not changed in between
                self._room.wait()

    def _is_full(self) -> bool:
        return len(self.arrived) >= _AHEAD or self._made - self._taken >= _CHARACTERS_AHEAD

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                self._loop.call_soon_threadsafe(self._news.set)


def _length(item: object) -> int:
    return len(item) if isinstance(item, str) else 0


def _is_async(function: Any) -> bool:
    """Whether calling it cannot block: also a partial, an object whose `__call__` is async, or an upstream."""
    calls = (function, type(function).__call__)
    return hasattr(function, "aclose") or any(
        inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call) for call in calls
    )
