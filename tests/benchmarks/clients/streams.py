"""Many streams at once in one process, which this module is: it prints what it saw as JSON.

``python -m tests.benchmarks.clients.streams CONTENDER SERVER_URL STREAMS PIECES PAUSE``: the contender's streams run as
tasks of a loop, or, where it is synchronous, in as many threads. They begin one after the other, over a quarter of the
time that a reply takes, as callers do; all at the same moment, they would need for a moment what none of them keeps.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable

from ..canned_server import Spec, allow_many_files
from ..usage import memory
from .contenders import QUESTION, AsyncContender, PlainRequests, SyncContender
from .contending import by_name

CHARACTERS = 20
STAMP = 20
"""Characters of the first piece, which is the server's clock when it was sent."""
STACK_BYTES = 256 * 1024
"""Of a thread."""


class Watch:
    """Takes the text of one stream, and notes how late each piece came."""

    def __init__(self, late: list[float], pause: float) -> None:
        self._late = late
        self._pause = pause
        self._started = 0.0
        self._characters = -STAMP
        self._pieces = 0

    def take(self, text: str) -> None:
        if not self._started:
            self._started = float(text[:STAMP])
        self._characters += len(text)
        pieces = self._characters // CHARACTERS
        if pieces > self._pieces:
            late = time.monotonic() - self._started - (self._pieces + 1) * self._pause
            self._late.append(late)  # of the oldest piece in this read
            self._pieces = pieces


class Watched:
    """What a process takes while its streams run, and what became of their pieces."""

    def __init__(self, streams: int, spec: Spec) -> None:
        self.streams = streams
        self.spec = spec
        self.late: list[float] = []
        whole = spec.pieces * spec.pause
        self._gap = whole / 4 / streams
        self._look = whole * 0.75
        gc.collect()
        self._before = self._during = memory()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def take(self) -> Callable[[str], None]:
        """What takes the text of one more stream."""
        return Watch(self.late, self.spec.pause).take

    def until(self, number: int) -> float:
        """Seconds until a stream is to begin."""
        return self._since(number * self._gap)

    def until_look(self) -> float:
        """Seconds until all of them run."""
        return self._since(self._look)

    def _since(self, seconds: float) -> float:
        return max(0.0, self._wall + seconds - time.perf_counter())

    def look(self) -> None:
        """While all of them run."""
        self._during = memory()

    def seen(self) -> dict[str, float]:
        """When all have ended."""
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        pieces = self.streams * self.spec.pieces
        return {
            "cpu": cpu / pieces,
            "wall": wall,
            "memory_kib_per_stream": (self._during - self._before) / self.streams / 1024,
            "process_mib_before": self._before / 1024**2,
            "reads_per_piece": len(self.late) / pieces,
            "late_percent": 100 * sum(one > self.spec.pause for one in self.late) / len(self.late),
            "median_late_ms": 1e3 * statistics.median(self.late),
        }


async def in_tasks(kind: type[AsyncContender], url: str, streams: int, spec: Spec) -> dict[str, float]:
    contender = kind.__new__(kind)
    await contender.open(url)
    await contender.ask(QUESTION, Watch([], spec.pause).take)
    watched = Watched(streams, spec)
    asking = []
    for number in range(streams):
        if wait := watched.until(number):  # even sleep(0) would be a round of a loop that may be busy
            await asyncio.sleep(wait)
        asking.append(asyncio.create_task(contender.ask(QUESTION, watched.take())))
    await asyncio.sleep(watched.until_look())
    watched.look()
    await asyncio.gather(*asking)
    seen = watched.seen()
    await contender.aclose()
    return seen


def in_threads(kind: type[SyncContender], url: str, streams: int, spec: Spec) -> dict[str, float]:
    contender = kind(url)
    contender.ask(QUESTION, Watch([], spec.pause).take)
    threading.stack_size(STACK_BYTES)
    watched = Watched(streams, spec)
    asking = [threading.Thread(target=contender.ask, args=(QUESTION, watched.take())) for _ in range(streams)]
    for number, thread in enumerate(asking):
        time.sleep(watched.until(number))
        thread.start()
    time.sleep(watched.until_look())
    watched.look()
    for thread in asking:
        thread.join()
    seen = watched.seen()
    contender.close()
    return seen


def main(name: str, server: str, streams: str, pieces: str, pause: str) -> None:
    allow_many_files()
    spec = Spec(int(pieces), CHARACTERS, float(pause))
    kind = by_name(name)
    if issubclass(kind, PlainRequests):
        kind.connections = int(streams)
    if issubclass(kind, AsyncContender):
        seen = asyncio.run(in_tasks(kind, f"{server}/{spec}", int(streams), spec))
    else:
        seen = in_threads(kind, f"{server}/{spec}", int(streams), spec)
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
