"""Many streams at once in one process, which this module is: it prints what it saw as JSON.

``python -m tests.benchmarks.streams CONTENDER SERVER_URL STREAMS PIECES``
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
from pathlib import Path

from . import contenders
from .canned_server import Spec, allow_many_files

CHARACTERS = 20
PAUSE_SECONDS = 0.020
STAMP = 20
"""Characters of the first piece, which is the server's clock when it was sent."""


class Watch:
    """Takes the text of one stream, and notes how late each piece came."""

    def __init__(self, late: list[float]) -> None:
        self._late = late
        self._started = 0.0
        self._characters = -STAMP
        self._pieces = 0

    def take(self, text: str) -> None:
        if not self._started:
            self._started = float(text[:STAMP])
        self._characters += len(text)
        pieces = self._characters // CHARACTERS
        if pieces > self._pieces:
            late = time.monotonic() - self._started - (self._pieces + 1) * PAUSE_SECONDS
            self._late.append(late)  # of the oldest piece in this read
            self._pieces = pieces


def memory() -> int:
    """Bytes of memory that this process has in use, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def measure(name: str, server: str, streams: int, pieces: int) -> dict[str, float]:
    contender = contenders.by_name(name).__new__(contenders.by_name(name))
    await contender.open(f"{server}/{Spec(pieces, CHARACTERS, PAUSE_SECONDS)}")
    await contender.ask(contenders.QUESTION, Watch([]).take)
    late: list[float] = []
    gc.collect()
    before = memory()
    cpu, wall = time.process_time(), time.perf_counter()
    asking = [asyncio.create_task(contender.ask(contenders.QUESTION, Watch(late).take)) for _ in range(streams)]
    await asyncio.sleep(pieces * PAUSE_SECONDS * 0.75)
    during = memory()
    await asyncio.gather(*asking)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await contender.aclose()
    return {
        "cpu": cpu / (streams * pieces),
        "wall": wall,
        "memory_kb_per_stream": (during - before) / streams / 1024,
        "reads_per_piece": len(late) / (streams * pieces),
        "late_percent": 100 * sum(one > PAUSE_SECONDS for one in late) / len(late),
        "median_late_ms": 1e3 * statistics.median(late),
    }


if __name__ == "__main__":
    allow_many_files()
    contender_name, server_url, *counts = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(contender_name, server_url, *map(int, counts)))))
