"""What is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from . import canned_server
from .canned_server import Spec
from .contenders import installed
from .gateway_cases import GatewayCalls, GatewayStreams, gateway_cases
from .measuring import Result, Sample, interleave, results
from .passage import Passage

ROOT = Path(__file__).parents[2]
PROCESSES = 6
"""How many processes each contender has in a case, one after the other: how its memory came to lie can make one process
a fifth faster than the next, for as long as it lives."""
IMPORTS = {
    "bare interpreter": "pass",
    "import aichatfree": "import aichatfree",
    "Client": "from aichatfree import Client",
    "import requests": "import requests",
    "AsyncClient": "from aichatfree import AsyncClient",
    "import aiohttp": "import aiohttp",
}
WARM_UP_SECONDS = 0.1
"""For so long, and one sample at least, a process works before it counts."""


@contextmanager
def running_server() -> Iterator[str]:
    """The canned server's URL."""
    command = [sys.executable, canned_server.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


@contextmanager
def running_worker(*arguments: object) -> Iterator[Callable[[int], Sample]]:
    """A process with one contender, as a function that makes so many calls."""
    command = [sys.executable, "-m", f"{__package__}.worker", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin and process.stdout
        questions, answers = process.stdin, process.stdout

        def measure(calls: int) -> Sample:
            print(calls, file=questions, flush=True)
            answer = answers.readline()
            if not answer:
                raise SystemExit(f"{arguments[0]} failed: what it said stands above")
            seen = json.loads(answer)
            return Sample(seen.pop("cpu"), seen.pop("wall"), seen)

        yield measure
        questions.close()


@dataclass(frozen=True)
class Calls:
    """A case of calls one after the other.

    Args:
        name: The case's name.
        title: What it is, in words.
        spec: What the server answers.
        calls: Calls in a sample.
        turns: Turns of history that go along with the question.
        targets: What the ratio should be at most, by contender.
        contenders: Who takes part; empty for all.
        rounds: How often each is measured, unless the user says.
    """

    name: str
    title: str
    spec: Spec
    calls: int
    turns: int = 0
    targets: tuple[tuple[str, float], ...] = ()
    contenders: tuple[str, ...] = ()
    rounds: int = 15

    def measure(self, server: str, rounds: int) -> list[Result]:
        baselines = {kind.name: kind.baseline for kind in installed()}
        names = [name for name in baselines if not self.contenders or name in self.contenders]
        samples: dict[str, list[Sample]] = {name: [] for name in names}
        processes = min(PROCESSES, rounds)
        for number in range(processes):
            with ExitStack() as workers:
                run = {}
                for name in names:
                    worker = workers.enter_context(running_worker(name, server, self.spec, self.turns))
                    warm = time.perf_counter() + WARM_UP_SECONDS
                    while time.perf_counter() < warm:
                        worker(self.calls)
                    run[name] = partial(worker, self.calls)
                for name, found in interleave(run, len(range(number, rounds, processes))).items():
                    samples[name] += found
        return results(self.name, self.title, samples, baselines, dict(self.targets))


@dataclass(frozen=True)
class ManyStreams:
    """Many streams at once. The processor time is that of a piece, connecting included."""

    name: str
    streams: int
    pieces: int
    rounds: int = 7

    @property
    def title(self) -> str:
        return f"{self.streams:,} streams at once, {self.pieces} pieces each, one every 20 ms (CPU per piece)"

    def measure(self, server: str, rounds: int) -> list[Result]:
        names = ("AsyncClient.stream", "aiohttp")
        samples = interleave({name: partial(self._sample, name, server) for name in names}, rounds)
        return results(self.name, self.title, samples, {names[0]: names[1], names[1]: names[1]}, {names[0]: 1.25})

    def _sample(self, name: str, server: str) -> Sample:
        module = f"{__package__}.streams"
        command = [sys.executable, "-m", module, name, server, str(self.streams), str(self.pieces)]
        seen = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)
        return Sample(seen.pop("cpu"), seen.pop("wall"), seen)


@dataclass(frozen=True)
class Imports:
    """What an import costs, in an interpreter of its own whose start is part of it."""

    name: str = "import"
    title: str = "import, in a fresh interpreter"
    rounds: int = 15

    def measure(self, server: str, rounds: int) -> list[Result]:
        with TemporaryDirectory() as cache:
            environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
            run = {name: partial(self._sample, code, environment) for name, code in IMPORTS.items()}
            for sample in run.values():
                sample()  # writes the byte code, as an installation does
            samples = interleave(run, rounds)
        bare = samples["bare interpreter"]
        for own in samples.values():
            for one, start in zip(own, bare, strict=True):
                one.notes["ms_over_bare"] = (one.cpu - start.cpu) * 1e3
        baselines = {
            "import aichatfree": "bare interpreter",
            "Client": "import requests",
            "AsyncClient": "import aiohttp",
        }
        return results(self.name, self.title, samples, baselines, {"Client": 1.15, "AsyncClient": 1.15})

    def _sample(self, code: str, environment: dict[str, str]) -> Sample:
        command = [sys.executable, "-c", f"{code}\nimport time; print(time.process_time())"]
        started = time.perf_counter()
        seen = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT, env=environment, text=True)
        return Sample(float(seen.stdout), time.perf_counter() - started)


Case = Calls | ManyStreams | Imports | Passage | GatewayCalls | GatewayStreams


def all_cases(quick: bool = False) -> list[Case]:
    """The cases.

    Args:
        quick: Smaller ones, to see that everything runs.
    """
    few = 10 if quick else 1
    many, large = 2000 // few, 160 // few
    plain = ("Client.stream", "requests", "AsyncClient.stream", "aiohttp")

    def targets(sync: float, asynchronous: float) -> tuple[tuple[str, float], ...]:
        return ("Client.stream", sync), ("AsyncClient.stream", asynchronous)

    cases: list[Case] = [
        Calls("short", "one short reply", Spec(1, 20), 20, rounds=60),
        Calls("pieces_20", "20 pieces", Spec(20, 20), 20, targets=targets(0.65, 1.15), rounds=60),
        Calls("pieces_2000", f"{many:,} pieces at once", Spec(many, 20), 2),
        Calls("trickle_2000", f"{many:,} pieces trickled", Spec(many, 20, 0.0002), 1, targets=targets(1.25, 1.25)),
        Calls("large", f"{large / 16:.0f} MB", Spec(large, 65536), 2, targets=targets(1.10, 1.10), contenders=plain),
        Calls("history", "after 99 turns of 2 kB each", Spec(20, 20), 3, turns=99, rounds=25),
        ManyStreams("streams_100", 100 // few, 100 // few),
        ManyStreams("streams_1000", 1000 // few, 100 // few),
        Imports(),
        Passage("passage_20", Spec(20, 20), 100 // few),
        Passage("passage_trickle", Spec(200, 20, 0.0005), 10 // few),
        *gateway_cases(few),
    ]
    for times in (1, 10, 100):
        name = f"text_x{times}"
        cases.append(Calls(name, f"a reply of {100 * times:,} pieces", Spec(100 * times, 20), 1, contenders=plain))
    for times in (1, 10, 100):
        name = f"history_x{times}"
        cases.append(
            Calls(name, f"a history of {times} turns", Spec(1, 20), max(1, 20 // times), turns=times, contenders=plain)
        )
    return cases
