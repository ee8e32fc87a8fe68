"""What the passage of a reply from an upstream through a LocalServer costs, beside a bare aiohttp proxy.

``python -m tests.benchmarks.passage CONTENDER UPSTREAM_URL`` is one contender in a process of its own: it prints its
port; for each line it reads, it prints the processor time it has used; it ends with its input.
"""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .canned_server import Spec
from .contenders import QUESTION, signed_body
from .measuring import Result, Sample, interleave, results

ROOT = Path(__file__).parents[2]
OURS, BARE = "LocalServer over OpenAICompatible", "aiohttp proxy"
TARGET = 1.6


async def bare_proxy(upstream: str) -> int:
    """What one writes with aiohttp alone to pass an answer on as it comes in; its port."""
    import aiohttp
    from aiohttp import web

    session = aiohttp.ClientSession()

    async def generate(request: web.Request) -> web.StreamResponse:
        await request.json()
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        async with session.post(f"{upstream}/chat/completions", json=body) as answer:
            response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
        return response

    app = web.Application()
    app.router.add_post("/api/generate", generate)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    return int(runner.addresses[0][1])


@contextmanager
def contender(name: str, upstream: str) -> Iterator[int]:
    """The port of a contender that runs in a thread."""
    if name == OURS:
        from aichatfree.server import LocalServer, OpenAICompatible

        with LocalServer(reply=OpenAICompatible(upstream, model="m")) as server:
            yield int(server.url.rpartition(":")[2])
        return
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    yield asyncio.run_coroutine_threadsafe(bare_proxy(upstream), loop).result()


@contextmanager
def running(name: str, upstream: str) -> Iterator[tuple[int, Callable[[], float]]]:
    """A contender in a process of its own: its port, and what says how much processor time it has used."""
    command = [sys.executable, "-m", f"{__package__}.passage", name, upstream]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin and process.stdout
        questions, answers = process.stdin, process.stdout

        def used() -> float:
            print(file=questions, flush=True)
            return float(answers.readline())

        yield int(answers.readline()), used
        questions.close()


@dataclass(frozen=True)
class Passage:
    """The processor time that a server takes to pass a reply on, asked once at a time."""

    name: str
    spec: Spec
    calls: int
    rounds: int = 15

    @property
    def title(self) -> str:
        pause = f", one every {self.spec.pause * 1e3:g} ms" if self.spec.pause else " at once"
        return f"an upstream's passage, {self.spec.pieces} pieces{pause} (CPU of the server)"

    def measure(self, server: str, rounds: int) -> list[Result]:
        upstream = f"{server}/{self.spec}/v1"
        with ExitStack() as stack:
            run: dict[str, Callable[[], Sample]] = {}
            for name in (OURS, BARE):
                run[name] = partial(self._sample, *stack.enter_context(running(name, upstream)))
                run[name]()
            samples = interleave(run, rounds)
        return results(self.name, self.title, samples, {OURS: BARE, BARE: BARE}, {OURS: TARGET})

    def _sample(self, port: int, used: Callable[[], float]) -> Sample:
        expected = "".join(self.spec.texts())
        connection = http.client.HTTPConnection("127.0.0.1", port)
        body = signed_body(QUESTION)
        before, wall = used(), time.perf_counter()
        for _ in range(self.calls):
            connection.request("POST", "/api/generate", body)
            text = connection.getresponse().read().decode()
            assert text == expected or text.startswith("data: "), "text was lost"
        cpu, wall = used() - before, time.perf_counter() - wall
        connection.close()
        return Sample(cpu / self.calls, wall / self.calls, {})


def main(name: str, upstream: str) -> None:
    with contender(name, upstream) as port:
        print(port, flush=True)
        for _ in sys.stdin:
            print(time.process_time(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
