"""Thousands of calls with random faults, from threads and from tasks at once: all end well, nothing is left."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import tracemalloc
from collections import Counter
from typing import Any

import psutil
import pytest
from faces import eventually

import aichatfree
from aichatfree import AsyncClient, Client, RetryPolicy, Timeout
from aichatfree.testing import (
    BrokenChunk,
    BrokenEncoding,
    Drop,
    Garbage,
    OversizedHeaders,
    Pause,
    Reply,
    ScriptedServer,
    Stall,
    WrongLength,
)

THREADS, TASKS, CALLS = 8, 24, 60
TEXT = "Größe 你好 🌍 " * 3
RETRY = RetryPolicy(max_retries=1, initial_delay=0.01, max_retry_after=0.02)
LIMITS = Timeout(connect=10, first_byte=0.3, idle=0.3, total=5)


def random_reply(rng: random.Random) -> Reply:
    cut = rng.randrange(len(TEXT))
    pieces: list[Any] = [TEXT[:cut], TEXT[cut:]]
    whole: dict[str, Any] = {
        "framing": rng.choice(["chunked", "content-length", "until-close"]),
        "encoding": rng.choice([None, None, "gzip", "deflate"]),
        "split": rng.choice([None, None, 1, 7]),
    }
    reset = rng.random() < 0.5
    faults: list[Any] = [
        lambda: Reply(pieces, **whole),
        lambda: Reply(pieces, **whole),
        lambda: Reply(pieces, **whole),
        lambda: Reply(pieces, keep_alive=False),
        lambda: Reply(pieces, fault=Drop(rng.choice(["before-answer", "in-headers", "after-headers"]), reset=reset)),
        lambda: Reply(pieces, fault=Drop(rng.choice(["in-chunk", "in-body"]), reset=reset)),
        lambda: Reply(pieces, framing="content-length", fault=WrongLength(7)),
        lambda: Reply(pieces, fault=BrokenChunk()),
        lambda: Reply(pieces, encoding="gzip", fault=BrokenEncoding(truncated=reset)),
        lambda: Reply("", fault=Garbage()),
        lambda: Reply("", fault=OversizedHeaders(size=200_000)),
        lambda: Reply.in_band_error(*pieces, glued=reset, split=not reset),
        lambda: Reply.quota(retry_in=0.01),
        lambda: Reply.overloaded(),
        lambda: Reply.html(rng.choice([403, 429, 502, 503, 504]), "vercel"),
        lambda: Reply.wrong_password(),
        lambda: Reply.redirect("http://127.0.0.1:1/", 307),
        lambda: Reply.endless("x" * 1000),
        lambda: Reply(""),
    ]
    if rng.random() < 0.02:
        return Reply([pieces[0], Pause(None)]) if reset else Reply(pieces, fault=Stall("before-answer"))
    return rng.choice(faults)()


class Tally:
    """What the calls ended in."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def whole(self, text: str, how: str = "whole") -> None:
        with self._lock:
            self.ends[how] += 1
            if text != TEXT:
                self.wrong.append(f"{how}: {text[:80]!r}")

    def failed(self, error: aichatfree.AIChatFreeError, text: str) -> None:
        with self._lock:
            self.ends[type(error).__name__] += 1
            if error.partial != text:
                self.wrong.append(f"{error!r}: partial {error.partial[:80]!r}, given {text[:80]!r}")
            # A reply that a time limit cuts off just before its end may end in the in-band error's words.
            known = f"{TEXT}Internal server error".startswith(text) or set(text) == {"x"}
            if not known:
                self.wrong.append(f"{error!r}: {text[:80]!r}")


def work(client: Client, rng: random.Random, tally: Tally) -> None:
    for _ in range(CALLS):
        stream = client.stream("hi")
        pieces: list[str] = []
        try:
            for piece in stream:
                pieces.append(piece)
                if rng.random() < 0.05:
                    stream.close()
                    tally.ends["closed early"] += 1
                    break
            else:
                tally.whole("".join(pieces))
        except aichatfree.AIChatFreeError as error:
            tally.failed(error, "".join(pieces))


async def awork(client: AsyncClient, rng: random.Random, tally: Tally) -> None:
    for _ in range(CALLS):
        stream = client.stream("hi")
        pieces: list[str] = []

        async def read(stream: Any = stream, pieces: list[str] = pieces) -> None:
            async for piece in stream:
                pieces.append(piece)
                if rng.random() < 0.05:
                    tally.ends["left early"] += 1
                    return
            tally.whole("".join(pieces))

        try:
            await asyncio.wait_for(read(), 0.05 if rng.random() < 0.05 else 20)
        except TimeoutError:
            tally.ends["cancelled"] += 1
        except aichatfree.AIChatFreeError as error:
            tally.failed(error, "".join(pieces))


def round_of_calls(server: ScriptedServer, seed: int, tally: Tally) -> None:
    options: dict[str, Any] = {"retry": RETRY, "timeout": LIMITS, "max_reply_bytes": 100_000}
    with Client(server.url, **options) as client:
        threads = [
            threading.Thread(target=work, args=(client, random.Random(seed * 1000 + n), tally)) for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()

        async def main() -> None:
            async with AsyncClient(server.url, **options) as aclient:
                rngs = (random.Random(seed * 1000 + 500 + n) for n in range(TASKS))
                await asyncio.gather(*(awork(aclient, rng, tally) for rng in rngs))

        asyncio.run(main())
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def collect() -> None:
    """Collect until nothing comes any more: an asynchronous generator that is collected lives once again."""
    while gc.collect():
        pass


@pytest.mark.soak
@pytest.mark.timeout(150)
def test_soak() -> None:
    process = psutil.Process()
    tally = Tally()
    rng = random.Random(20240229)
    lock = threading.Lock()

    def answer(request: Any) -> Reply:
        with lock:
            return random_reply(rng)

    with ScriptedServer() as server:
        server.default = answer
        round_of_calls(server, 0, tally)  # what is loaded once is loaded now
        server.reset()
        server.default = answer
        collect()
        threads, descriptors = threading.active_count(), process.num_fds()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for seed in (1, 2):
            round_of_calls(server, seed, tally)
        server.wait_connections(0)
        server.reset()
        collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert eventually(lambda: threading.active_count() <= threads), threading.enumerate()
        assert eventually(lambda: process.num_fds() <= descriptors)
    assert tally.wrong == []
    assert sum(tally.ends.values()) == 3 * CALLS * (THREADS + TASKS)
    assert tally.ends["whole"] > 500
    kinds = {"StreamInterruptedError", "ConnectError", "RequestTimeoutError", "RateLimitError", "ReplyTooLargeError"}
    assert kinds <= set(tally.ends), tally.ends
    assert grown < 1_000_000, f"{grown} bytes more after {sum(tally.ends.values())} calls"
