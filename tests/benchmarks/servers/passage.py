"""What the passage of a reply from an upstream through a LocalServer costs, beside a bare aiohttp proxy.

``python -m tests.benchmarks.servers.passage CONTENDER UPSTREAM_URL`` is one contender in a process of its own. It
prints its port; each line it reads is answered with what it has used, as JSON; it ends with its input.
"""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..canned_server import Spec
from ..children import Child, running
from ..clients.contenders import QUESTION, signed_body
from ..measuring import Goal, Result, Sample, interleave, results
from ..usage import answer_lines
from .serving import InThread, listen

OURS, BARE = "LocalServer over OpenAICompatible", "aiohttp proxy"
GOALS = {OURS: [Goal(1.6)]}


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
    return await listen(app)


def contender(name: str, upstream: str) -> Any:
    """A contender that runs in a thread, as a context with its ``url``."""
    if name != OURS:
        return InThread(partial(bare_proxy, upstream))
    from aichatfree.server import LocalServer, OpenAICompatible

    return LocalServer(reply=OpenAICompatible(upstream, model="m"))


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
                child = stack.enter_context(running("servers.passage", name, upstream))
                run[name] = partial(self._sample, child, int(child.line()))
                run[name]()  # warms it up
            samples = interleave(run, rounds)
        return results(self.name, self.title, samples, {OURS: BARE, BARE: BARE}, GOALS)

    def _sample(self, child: Child, port: int) -> Sample:
        expected = "".join(self.spec.texts())
        connection = http.client.HTTPConnection("127.0.0.1", port)
        body = signed_body(QUESTION)
        before, wall = child.used()["cpu"], time.perf_counter()
        for _ in range(self.calls):
            connection.request("POST", "/api/generate", body)
            text = connection.getresponse().read().decode()
            assert text == expected or text.startswith("data: "), "text was lost"
        cpu, wall = child.used()["cpu"] - before, time.perf_counter() - wall
        connection.close()
        return Sample(cpu / self.calls, wall / self.calls, {})


def main(name: str, upstream: str) -> None:
    with contender(name, upstream) as running_one:
        print(running_one.url.rpartition(":")[2], flush=True)
        answer_lines()


if __name__ == "__main__":
    main(*sys.argv[1:])
