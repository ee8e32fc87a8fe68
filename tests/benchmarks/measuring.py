"""What a measurement is, and how contenders are measured in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NOISE = 0.05
"""Ratios that differ by less say nothing: two copies of the same code differ by up to 0.04."""


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

    @classmethod
    def of(cls, seen: Mapping[str, float]) -> Sample:
        """What a process under test saw."""
        rest = {name: value for name, value in seen.items() if name not in ("cpu", "wall")}
        return cls(seen["cpu"], seen["wall"], rest)


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
class Goal:
    """What a median should be.

    Args:
        limit: At most this much.
        of: The name of a note, or ``ratio``.
        least: At least so much instead.
    """

    limit: float
    of: str = "ratio"
    least: bool = False


Goals = Mapping[str, Sequence[Goal]]


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
        goals: What it should reach.
        notes: Medians of whatever else was seen.
        size: How much work it was, in a case of growth.
    """

    case: str
    title: str
    contender: str
    baseline: str | None
    rounds: int
    cpu_ms: Spread
    wall_ms: Spread
    ratio: Spread | None
    goals: tuple[Goal, ...] = ()
    notes: dict[str, float] = field(default_factory=dict)
    size: int | None = None

    def value(self, goal: Goal) -> float | None:
        """The median that a goal is about."""
        if goal.of == "ratio":
            return self.ratio.median if self.ratio else None
        return self.notes.get(goal.of)

    def verdict(self, goal: Goal) -> str:
        """Whether a goal is reached: ``kept``, ``MISSED``, or ``close`` where a ratio is past it within the noise."""
        value = self.value(goal)
        if value is None:
            return "not measured"
        past = (goal.limit - value) if goal.least else (value - goal.limit)
        if past <= 0:
            return "kept"
        return "close" if goal.of == "ratio" and past < NOISE else "MISSED"


def interleave(run: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Measure A B C, B C A, C A B and so on, so that what disturbs the machine disturbs all alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in run}
    names = list(run)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(run[name]())
    return samples


def note_difference(
    samples: Mapping[str, Sequence[Sample]], pairs: Mapping[str, str], note: str, of: Callable[[Sample], float]
) -> None:
    """Note by how much something is more than the baseline's in the same round."""
    for name, baseline in pairs.items():
        for own, theirs in zip(samples[name], samples[baseline], strict=True):
            own.notes[note] = of(own) - of(theirs)


def results(
    case: str,
    title: str,
    samples: Mapping[str, Sequence[Sample]],
    baselines: Mapping[str, str],
    goals: Goals,
    size: int | None = None,
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
                goals=tuple(goals.get(name, ())),
                notes={note: statistics.median(s.notes[note] for s in own) for note in own[0].notes},
                size=size,
            )
        )
    return found
