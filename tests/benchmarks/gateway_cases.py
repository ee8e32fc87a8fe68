"""What the gateway costs, beside a proxy that only passes bytes and beside litellm's proxy."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from .canned_server import Spec
from .measuring import Result, Sample, interleave, results

ROOT = Path(__file__).parents[2]
BASELINE = "aiohttp reverse proxy"
LITELLM = "litellm proxy"
START_SECONDS = 300.0
BODY = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "Hello, how are you?"}], "stream": True}
).encode()
KEY = b"sk-benchmarks"


class Running:
    """A gateway or proxy in a process of its own.

    Args:
        process: The process.
        port: Where it listens.
    """

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def used(self) -> dict[str, float]:
        """Seconds of processor time and bytes of memory, so far and now."""
        assert self.process.stdin and self.process.stdout
        print(file=self.process.stdin, flush=True)
        found: dict[str, float] = json.loads(self.process.stdout.readline())
        return found


class RunningForeign(Running):
    """The same of a program that does not tell what it used; the system does."""

    def used(self) -> dict[str, float]:
        import psutil

        root = psutil.Process(self.process.pid)
        family = [root, *root.children(recursive=True)]
        times = [member.cpu_times() for member in family]
        memory = sum(member.memory_info().rss for member in family)
        return {"cpu": sum(each.user + each.system for each in times), "memory": memory}


@contextmanager
def running(name: str, upstream: str) -> Iterator[Running]:
    if name == LITELLM:
        with _running_litellm(upstream) as found:
            yield found
        return
    command = [sys.executable, "-m", f"{__package__}.gateways", name, upstream]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin and process.stdout
        yield Running(process, int(process.stdout.readline()))
        process.stdin.close()


@contextmanager
def _running_litellm(upstream: str) -> Iterator[Running]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--model", "openai/m", "--api_base", f"{upstream}/v1", "--host", "127.0.0.1", "--port", str(port))
    command = [sys.executable, "-c", "from litellm.proxy.proxy_cli import run_server; run_server()", *options]
    environment = {
        **os.environ,
        "OPENAI_API_KEY": KEY.decode(),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on loopback, for as long as this runs
    }
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent, text=True, env=environment) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise SystemExit("litellm's proxy did not start") from None
                    time.sleep(0.2)
            yield RunningForeign(process, port)
        finally:
            process.terminate()


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


async def ask_at_once(port: int, streams: int, seconds: float, server: Running) -> dict[str, float]:
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
        target: What the ratio should be at most.
        rounds: How often each is measured, unless the user says.
    """

    name: str
    title: str
    spec: Spec
    calls: int
    target: float
    rounds: int = 9

    def measure(self, server: str, rounds: int) -> list[Result]:
        names = ["gateway", BASELINE, "aiohttp proxy of the OpenAI API"]
        if find_spec("litellm") and find_spec("fastapi"):
            names.append(LITELLM)
        with ExitStack() as stack:
            run = {}
            for name in names:
                found = stack.enter_context(running(name, f"{server}/{self.spec}"))
                asyncio.run(ask(found.port, self.calls))  # warms it up
                run[name] = partial(self._sample, found)
            samples = interleave(run, rounds)
        return results(self.name, self.title, samples, dict.fromkeys(names, BASELINE), {"gateway": self.target})

    def _sample(self, found: Running) -> Sample:
        before, wall = found.used(), time.perf_counter()
        asyncio.run(ask(found.port, self.calls))
        wall = time.perf_counter() - wall
        cpu = found.used()["cpu"] - before["cpu"]
        return Sample(max(cpu, 1e-6) / self.calls, wall / self.calls)


@dataclass(frozen=True)
class GatewayStreams:
    """Many streamed completions at once. The processor time is the gateway's, for a stream."""

    name: str
    streams: int
    pieces: int
    rounds: int = 3
    pause: float = 0.02

    @property
    def title(self) -> str:
        return f"gateway: {self.streams:,} streams at once, {self.pieces} pieces each, one every 20 ms (CPU per stream)"

    def measure(self, server: str, rounds: int) -> list[Result]:
        names = ("gateway", BASELINE)
        samples = interleave({name: partial(self._sample, name, server) for name in names}, rounds)
        return results(self.name, self.title, samples, dict.fromkeys(names, BASELINE), {"gateway": 2.0})

    def _sample(self, name: str, server: str) -> Sample:
        with running(name, f"{server}/{Spec(self.pieces, 20, self.pause)}") as found:
            asyncio.run(ask(found.port, 1))
            before, wall = found.used(), time.perf_counter()
            during = asyncio.run(ask_at_once(found.port, self.streams, self.pieces * self.pause, found))
            wall = time.perf_counter() - wall
            cpu = found.used()["cpu"] - before["cpu"]
        kilobytes = (during["memory"] - before["memory"]) / self.streams / 1024
        return Sample(cpu / self.streams, wall, {"memory_kb_per_stream": kilobytes})


def gateway_cases(few: int) -> list[GatewayCalls | GatewayStreams]:
    """The cases; ``few`` divides the work."""
    pieces = 200 // few
    return [
        GatewayCalls("gateway_short", "gateway: one short reply", Spec(1, 20), 100 // few, 2.0),
        GatewayCalls("gateway_pieces", f"gateway: {pieces} pieces at once", Spec(pieces, 20), 50 // few, 2.0),
        GatewayCalls("gateway_trickle", f"gateway: {pieces} pieces, 5 ms apart", Spec(pieces, 20, 0.005), 2, 1.6),
        GatewayStreams("gateway_streams", 500 // few, 100 // few),
    ]
