"""What a measurement is, and how contenders are measured in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Sample:
    """One contender in one round, a call on average.

    Args:
        cpu: Seconds of processor time.
        wall: Seconds.
        notes: Whatever else was seen, by name.
    """

    cpu: float
    wall: float
    notes: dict[str, float] = field(default_factory=dict)


class Spread(NamedTuple):
    """How a number spreads over the rounds."""

    min: float
    q1: float
    median: float
    q3: float
    max: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        q1, median, q3 = statistics.quantiles(numbers, method="inclusive") if len(numbers) > 1 else [numbers[0]] * 3
        return cls(min(numbers), q1, median, q3, max(numbers))


@dataclass(frozen=True)
class Result:
    """One contender in one case.

    Args:
        case: The case's name.
        title: What the case is, in words.
        contender: Who was measured.
        baseline: Whose cost is 1, None for who is nobody's rival here.
        cpu_ms: Milliseconds of processor time a call.
        wall_ms: Milliseconds a call.
        ratio: Processor time as a multiple of the baseline's in the same round.
        target: What the median of the ratios should be at most, where there is a target.
        notes: Medians of whatever else was seen.
    """

    case: str
    title: str
    contender: str
    baseline: str | None
    rounds: int
    cpu_ms: Spread
    wall_ms: Spread
    ratio: Spread | None
    target: float | None
    notes: dict[str, float]


def interleave(run: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Measure A B C, B C A, C A B and so on, so that what disturbs the machine disturbs all alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in run}
    names = list(run)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(run[name]())
    return samples


def results(
    case: str,
    title: str,
    samples: Mapping[str, Sequence[Sample]],
    baselines: Mapping[str, str],
    targets: Mapping[str, float],
) -> list[Result]:
    """What the samples of a case say."""
    found = []
    for name, own in samples.items():
        baseline = baselines.get(name)
        theirs = samples.get(baseline or "")
        found.append(
            Result(
                case=case,
                title=title,
                contender=name,
                baseline=baseline if theirs else None,
                rounds=len(own),
                cpu_ms=Spread.of([sample.cpu * 1e3 for sample in own]),
                wall_ms=Spread.of([sample.wall * 1e3 for sample in own]),
                ratio=Spread.of([a.cpu / b.cpu for a, b in zip(own, theirs, strict=True)]) if theirs else None,
                target=targets.get(name),
                notes={note: statistics.median(s.notes[note] for s in own) for note in own[0].notes},
            )
        )
    return found
