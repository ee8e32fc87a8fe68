"""Many prompts: ``map`` in both clients, beside what one writes with a pool of threads or with a semaphore.

``python -m tests.benchmarks.clients.mapping CONTENDER SERVER_URL`` is one contender in a process of its own: each line
says how many prompts to ask; each answer is what they took, as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from ..canned_server import Spec
from ..children import running
from ..measuring import Goals, Result, Sample, interleave, results
from ..usage import memory
from .contenders import HEADERS, TIMEOUT_SECONDS, signed_body

AT_ONCE = 20
SPEC = Spec(20, 20)
POOL, SEMAPHORE = "threads over requests", "semaphore over aiohttp"
BASELINES = {"Client.map": POOL, POOL: POOL, "AsyncClient.map": SEMAPHORE, SEMAPHORE: SEMAPHORE}
LOOK_EVERY = 256
"""Results between two looks at the memory."""


class Count:
    """Counts whole replies, and how much memory there was in use at most."""

    def __init__(self) -> None:
        self.whole = 0
        self.most = memory()
        self._expected = "".join(SPEC.texts())

    def take(self, text: str | None) -> None:
        assert text == self._expected, "text was lost"
        self.whole += 1
        if self.whole % LOOK_EVERY == 0:
            self.look()

    def look(self) -> None:
        self.most = max(self.most, memory())


def prompts(count: int) -> Iterator[str]:
    return (f"question {number}" for number in range(count))


def ours(url: str, count: int, seen: Count) -> None:
    from aichatfree import Client

    with Client(url) as client:
        for result in client.map(prompts(count), concurrency=AT_ONCE):
            seen.take(result.text)


def ours_async(url: str, count: int, seen: Count) -> None:
    from aichatfree import AsyncClient

    async def main() -> None:
        async with AsyncClient(url) as client:
            async for result in client.map(prompts(count), concurrency=AT_ONCE):
                seen.take(result.text)

    asyncio.run(main())


def pool(url: str, count: int, seen: Count) -> None:
    import requests

    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as threads:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))

        def ask(prompt: str) -> str:
            body = signed_body([{"role": "user", "content": prompt}])
            answer = session.post(f"{url}/api/generate", data=body, headers=HEADERS, timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
            return answer.content.decode()

        for text in threads.map(ask, prompts(count)):
            seen.take(text)


def semaphore(url: str, count: int, seen: Count) -> None:
    import aiohttp

    async def main() -> None:
        free = asyncio.Semaphore(AT_ONCE)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:

            async def ask(prompt: str) -> str:
                async with free:
                    body = signed_body([{"role": "user", "content": prompt}])
                    async with session.post(f"{url}/api/generate", data=body, headers=HEADERS) as answer:
                        answer.raise_for_status()
                        return (await answer.read()).decode()

            for text in await asyncio.gather(*map(ask, prompts(count))):
                seen.take(text)

    asyncio.run(main())


CONTENDERS = {"Client.map": ours, POOL: pool, "AsyncClient.map": ours_async, SEMAPHORE: semaphore}


@dataclass(frozen=True)
class Mapping:
    """So many prompts, some at once, each contender in a new process for each round."""

    name: str
    prompts: int
    goals: Goals = field(default_factory=dict)
    rounds: int = 5

    @property
    def title(self) -> str:
        return f"{self.prompts:,} prompts, {AT_ONCE} at once, 20 pieces each (CPU per prompt)"

    def measure(self, server: str, rounds: int) -> list[Result]:
        run = {name: partial(self._sample, name, server) for name in BASELINES}
        return results(self.name, self.title, interleave(run, rounds), BASELINES, self.goals)

    def _sample(self, name: str, server: str) -> Sample:
        with running("clients.mapping", name, f"{server}/{SPEC}") as child:
            child.ask(AT_ONCE)
            return Sample.of(child.ask(self.prompts))


def main(name: str, url: str) -> None:
    for line in sys.stdin:
        gc.collect()
        seen = Count()
        before = seen.most
        wall, cpu = time.perf_counter(), time.process_time()
        CONTENDERS[name](url, int(line), seen)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert seen.whole == int(line), "prompts were lost"
        seen.look()
        more = (seen.most - before) / 1024
        found = {
            "cpu": cpu / seen.whole,
            "wall": wall / seen.whole,
            "memory_kib_more": more,
            "memory_kib": seen.most / 1024,
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
