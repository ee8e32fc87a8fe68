"""What the gateway costs, beside a proxy that only passes bytes and beside litellm's proxy."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

from ..canned_server import Spec
from ..children import running
from ..measuring import Goal, Goals, Result, Sample, interleave, note_difference, results
from .litellm import KEY, LITELLM, Server, running_litellm

OURS = "gateway"
BASELINE = "aiohttp reverse proxy"
OPENAI_PROXY = "aiohttp proxy of the OpenAI API"
BODY = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "Hello, how are you?"}], "stream": True}
).encode()


@contextmanager
def running_server(name: str, upstream: str) -> Iterator[Server]:
    """A gateway or proxy in a process of its own."""
    if name == LITELLM:
        with running_litellm(upstream) as found:
            yield found
        return
    with running("servers.proxies", name, upstream) as child:
        yield Server(int(child.line()), child.used)


async def ask(port: int, calls: int) -> None:
    """Ask so many times on one connection, and read each answer to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (KEY, len(BODY))
    for _ in range(calls):
        writer.write(head + BODY)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answer.partition(b"\r\n")[0], answer
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    writer.close()
    await writer.wait_closed()


async def ask_at_once(port: int, streams: int, seconds: float, server: Server) -> dict[str, float]:
    """Ask on so many connections at once; what the server has used half way."""
    asking = [asyncio.create_task(ask(port, 1)) for _ in range(streams)]
    await asyncio.sleep(seconds / 2)
    during = await asyncio.to_thread(server.used)
    await asyncio.gather(*asking)
    return during


@dataclass(frozen=True)
class GatewayCalls:
    """Streamed completions, one after the other. The processor time is the gateway's alone.

    Args:
        name: The case's name.
        title: What it is, in words.
        spec: What the server answers.
        calls: Calls in a sample.
        goals: What the contenders should reach.
        with_litellm: Whether litellm's proxy takes part, where it is installed: it starts slowly.
        rounds: How often each is measured, unless the user says.
    """

    name: str
    title: str
    spec: Spec
    calls: int
    goals: Goals = field(default_factory=dict)
    with_litellm: bool = False
    rounds: int = 9

    def measure(self, server: str, rounds: int) -> list[Result]:
        names = [OURS, BASELINE, OPENAI_PROXY]
        if self.with_litellm and find_spec("litellm") and find_spec("fastapi") and find_spec("psutil"):
            names.append(LITELLM)
        with ExitStack() as stack:
            run = {}
            for name in names:
                found = stack.enter_context(running_server(name, f"{server}/{self.spec}"))
                asyncio.run(ask(found.port, self.calls))  # warms it up
                run[name] = partial(self._sample, found)
            samples = interleave(run, rounds)
        for theirs, ours in zip(samples.get(LITELLM, []), samples[OURS], strict=False):
            theirs.notes["times_ours"] = theirs.cpu / ours.cpu
        return results(self.name, self.title, samples, dict.fromkeys(names, BASELINE), self.goals)

    def _sample(self, found: Server) -> Sample:
        before, wall = found.used(), time.perf_counter()
        asyncio.run(ask(found.port, self.calls))
        wall = time.perf_counter() - wall
        cpu = found.used()["cpu"] - before["cpu"]
        return Sample(max(cpu, 1e-6) / self.calls, wall / self.calls)


@dataclass(frozen=True)
class GatewayStreams:
    """Many streamed completions at once. The processor time is the gateway's, for a piece."""

    name: str
    streams: int
    pieces: int
    pause: float
    goals: Goals = field(default_factory=dict)
    rounds: int = 3

    @property
    def title(self) -> str:
        return (
            f"gateway: {self.streams:,} streams at once, {self.pieces} pieces each, one every {self.pause * 1e3:g} ms"
            " (CPU per piece)"
        )

    def measure(self, server: str, rounds: int) -> list[Result]:
        names = (OURS, BASELINE)
        samples = interleave({name: partial(self._sample, name, server) for name in names}, rounds)
        more = {OURS: BASELINE}
        note_difference(samples, more, "memory_kib_over_bare", lambda sample: sample.notes["memory_kib_per_stream"])
        return results(self.name, self.title, samples, dict.fromkeys(names, BASELINE), self.goals)

    def _sample(self, name: str, server: str) -> Sample:
        with running_server(name, f"{server}/{Spec(self.pieces, 20, self.pause)}") as found:
            asyncio.run(ask(found.port, 1))
            before, wall = found.used(), time.perf_counter()
            during = asyncio.run(ask_at_once(found.port, self.streams, self.pieces * self.pause, found))
            wall = time.perf_counter() - wall
            cpu = found.used()["cpu"] - before["cpu"]
        kib = (during["memory"] - before["memory"]) / self.streams / 1024
        notes = {"memory_kib_per_stream": kib, "process_mib_before": before["memory"] / 1024**2}
        return Sample(cpu / self.streams / self.pieces, wall, notes)


def gateway_cases(few: int) -> list[GatewayCalls | GatewayStreams]:
    """The cases; ``few`` divides the work."""
    pieces = 200 // few
    ours = {OURS: [Goal(2.0)]}
    trickled = {OURS: [Goal(1.6)], LITELLM: [Goal(10, "times_ours", least=True)]}
    return [
        GatewayCalls("gateway_short", "gateway: one short reply", Spec(1, 20), 100 // few, ours, with_litellm=True),
        GatewayCalls("gateway_pieces", f"gateway: {pieces} pieces at once", Spec(pieces, 20), 50 // few, ours),
        GatewayCalls(
            "gateway_trickle",
            f"gateway: {pieces} pieces, 5 ms apart",
            Spec(pieces, 20, 0.005),
            1,
            trickled,
            with_litellm=True,
        ),
        GatewayStreams("gateway_streams", 500 // few, 20, 0.25 / few, ours),
    ]
