"""What a LocalServer costs beside a bare aiohttp.web handler that streams the same pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from ..children import Child, running
from ..clients.contenders import signed_body
from ..measuring import Goal, Result, Sample, interleave, results

NAMES = {"LocalServer, a list": "list", "LocalServer, a function": "function", "aiohttp.web": "bare"}
GOALS = {"LocalServer, a list": [Goal(1.25)], "LocalServer, a function": [Goal(1.35)]}
IDLE_GOALS = {"LocalServer, a function": [Goal(13, "memory_kib_per_stream")]}
LAST_CHUNK = b"0\r\n\r\n"


class _Asker(asyncio.Protocol):
    """Asks again and again on one connection, as cheaply as can be: it is not what is measured."""

    def __init__(self, request: bytes, calls: Iterator[int], done: Callable[[], None]) -> None:
        self._request, self._calls, self._done = request, calls, done
        self._tail = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self) -> None:
        assert self.transport
        if next(self._calls, None) is None:
            self._done()
        else:
            self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-len(LAST_CHUNK) :]
        if self._tail == LAST_CHUNK:
            self._tail = b""
            self.ask()


def _request(port: int, text: str) -> bytes:
    body = signed_body([{"role": "user", "content": text}])
    head = f"POST /api/generate HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def ask(port: int, calls: int, connections: int) -> None:
    """Make so many calls over so many connections."""
    loop = asyncio.get_running_loop()
    running = connections
    over = asyncio.Event()

    def done() -> None:
        nonlocal running
        running -= 1
        if not running:
            over.set()

    rest = iter(range(calls))
    request = _request(port, "Hello, how are you?")
    askers = []
    for _ in range(connections):
        _, asker = await loop.create_connection(lambda: _Asker(request, rest, done), "127.0.0.1", port)
        askers.append(asker)
    for asker in askers:
        asker.ask()
    await over.wait()
    for asker in askers:
        assert asker.transport
        asker.transport.close()


@dataclass(frozen=True)
class Serving:
    """The processor time that a server takes for a call of 20 pieces."""

    name: str
    connections: int
    calls: int
    rounds: int = 11

    @property
    def title(self) -> str:
        return f"serving 20 pieces, {self.connections} at once (CPU of the server)"

    def measure(self, server: str, rounds: int) -> list[Result]:
        with ExitStack() as stack:
            run = {}
            for title, name in NAMES.items():
                child = stack.enter_context(running("servers.serving", name))
                run[title] = partial(self._sample, child, int(child.line()))
                run[title]()  # warms it up
            samples = interleave(run, rounds)
        return results(self.name, self.title, samples, dict.fromkeys(NAMES, "aiohttp.web"), GOALS)

    def _sample(self, child: Child, port: int) -> Sample:
        before, wall = child.used()["cpu"], time.perf_counter()
        asyncio.run(ask(port, self.calls, self.connections))
        return Sample((child.used()["cpu"] - before) / self.calls, (time.perf_counter() - wall) / self.calls)


@dataclass(frozen=True)
class IdleStreams:
    """The memory that a server takes for each stream that has begun and is silent."""

    name: str
    streams: int
    rounds: int = 3

    @property
    def title(self) -> str:
        return f"{self.streams:,} silent streams at a server (CPU per stream, connecting included)"

    def measure(self, server: str, rounds: int) -> list[Result]:
        run = {title: partial(self._sample, name) for title, name in NAMES.items() if name != "list"}
        samples = interleave(run, rounds)
        return results(self.name, self.title, samples, dict.fromkeys(run, "aiohttp.web"), IDLE_GOALS)

    def _sample(self, name: str) -> Sample:
        with running("servers.serving", name) as child:
            port = int(child.line())
            asyncio.run(ask(port, 10, 10))
            before, wall = child.used(), time.perf_counter()
            during = asyncio.run(self._hold(port, child))
        kib = (during["memory"] - before["memory"]) / self.streams / 1024
        cpu = (during["cpu"] - before["cpu"]) / self.streams
        notes = {"memory_kib_per_stream": kib, "process_mib_before": before["memory"] / 1024**2}
        return Sample(cpu, time.perf_counter() - wall, notes)

    async def _hold(self, port: int, child: Child) -> dict[str, float]:
        streams = []
        for _ in range(self.streams):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_request(port, "idle"))
            streams.append((reader, writer))
        for reader, _ in streams:
            await reader.readuntil(b"first")
        seen = await asyncio.to_thread(child.used)
        for _, writer in streams:
            writer.transport.abort()
        return seen
