"""What a LocalServer costs beside a bare aiohttp.web handler that streams the same pieces."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .contenders import signed_body
from .measuring import Result, Sample, interleave, results

ROOT = Path(__file__).parents[2]
NAMES = {"LocalServer, a list": "list", "LocalServer, a function": "function", "aiohttp.web": "bare"}
TARGETS = {"LocalServer, a list": 1.25, "LocalServer, a function": 1.35}
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


@contextmanager
def running_server(name: str) -> Iterator[tuple[int, Callable[[], dict[str, float]]]]:
    """A server's port, and what says what it has used."""
    command = [sys.executable, "-m", f"{__package__}.serving", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin and process.stdout
        questions, answers = process.stdin, process.stdout

        def used() -> dict[str, float]:
            print(file=questions, flush=True)
            seen: dict[str, float] = json.loads(answers.readline())
            return seen

        yield int(answers.readline()), used
        questions.close()


@dataclass(frozen=True)
class Serving:
    """The processor time that a server takes for a call of 20 pieces."""

    name: str
    connections: int
    calls: int
    rounds: int = 25

    @property
    def title(self) -> str:
        return f"serving 20 pieces, {self.connections} at once (CPU of the server)"

    def measure(self, server: str, rounds: int) -> list[Result]:
        with ExitStack() as stack:
            run = {}
            for title, name in NAMES.items():
                port, used = stack.enter_context(running_server(name))
                run[title] = lambda port=port, used=used: self._sample(port, used)
                run[title]()
            samples = interleave(run, rounds)
        return results(self.name, self.title, samples, dict.fromkeys(NAMES, "aiohttp.web"), TARGETS)

    def _sample(self, port: int, used: Callable[[], dict[str, float]]) -> Sample:
        before, wall = used()["cpu"], time.perf_counter()
        asyncio.run(ask(port, self.calls, self.connections))
        return Sample((used()["cpu"] - before) / self.calls, (time.perf_counter() - wall) / self.calls)


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
        run = {title: lambda name=name: self._sample(name) for title, name in NAMES.items() if name != "list"}
        return results(self.name, self.title, interleave(run, rounds), dict.fromkeys(run, "aiohttp.web"), {})

    def _sample(self, name: str) -> Sample:
        with running_server(name) as (port, used):
            asyncio.run(ask(port, 10, 10))
            before, wall = used(), time.perf_counter()
            during = asyncio.run(self._hold(port, used))
        kilobytes = (during["memory"] - before["memory"]) / self.streams / 1024
        cpu = (during["cpu"] - before["cpu"]) / self.streams
        return Sample(cpu, time.perf_counter() - wall, {"kb_per_stream": kilobytes})

    async def _hold(self, port: int, used: Callable[[], dict[str, float]]) -> dict[str, float]:
        writers = []
        for _ in range(self.streams):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_request(port, "idle"))
            writers.append((reader, writer))
        for reader, _ in writers:
            await reader.readuntil(b"first")
        seen = await asyncio.to_thread(used)
        for _, writer in writers:
            writer.transport.abort()
        return seen
