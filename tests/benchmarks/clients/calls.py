"""Calls one after the other."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from ..canned_server import Spec
from ..children import Child, running
from ..measuring import Goals, Result, Sample, interleave, results
from .contending import installed

PROCESSES = 6
"""How many processes each contender has in a case, one after the other: how its memory came to lie can make one process
a fifth faster than the next, for as long as it lives."""
WARM_UP_SECONDS = 0.1
"""For so long, and one sample at least, a process works before it counts."""


@dataclass(frozen=True)
class Calls:
    """A case of calls one after the other.

    Args:
        name: The case's name.
        title: What it is, in words.
        spec: What the server answers.
        calls: Calls in a sample.
        turns: Turns of history that go along with the question.
        goals: What the contenders should reach.
        contenders: Who takes part; empty for all that make calls.
        rounds: How often each is measured, unless the user says.
    """

    name: str
    title: str
    spec: Spec
    calls: int
    turns: int = 0
    goals: Goals = field(default_factory=dict)
    contenders: tuple[str, ...] = ()
    rounds: int = 15

    def measure(self, server: str, rounds: int) -> list[Result]:
        baselines = installed(self.contenders)
        samples: dict[str, list[Sample]] = {name: [] for name in baselines}
        processes = min(PROCESSES, rounds)
        for number in range(processes):
            with ExitStack() as workers:
                run = {}
                for name in baselines:
                    worker = workers.enter_context(running("clients.worker", name, server, self.spec, self.turns))
                    run[name] = partial(sample, worker, self.calls)
                    warm_up(worker, self.calls)
                for name, found in interleave(run, len(range(number, rounds, processes))).items():
                    samples[name] += found
        return results(self.name, self.title, samples, baselines, self.goals)


def sample(worker: Child, calls: int) -> Sample:
    return Sample.of(worker.ask(calls))


def warm_up(worker: Child, calls: int) -> None:
    ends = time.perf_counter() + WARM_UP_SECONDS
    while True:
        worker.ask(calls)
        if time.perf_counter() > ends:
            return
