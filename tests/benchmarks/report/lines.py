"""Whether cost grows in proportion: the straight line through what was measured, and how far it is missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..measuring import Result

STRAIGHT_PERCENT = 15.0
"""A line is called straight where no point is further off than this."""


class Point(NamedTuple):
    """What a whole piece of work of one size took."""

    size: int
    cpu_ms: float
    result: Result


@dataclass(frozen=True)
class Line:
    """One contender's cost over all sizes: ``fixed`` ms, and ``each`` ms for each of ``unit``.

    Args:
        case: The case's name.
        title: What the work is.
        unit: What the sizes count, in the singular.
        contender: Who did it.
        points: What was measured.
        bends: Why it may not be straight.
    """

    case: str
    title: str
    unit: str
    contender: str
    points: tuple[Point, ...]
    bends: str
    fixed: float
    each: float

    def at(self, size: int) -> float:
        """Milliseconds that the line has at a size."""
        return self.fixed + self.each * size

    @property
    def worst(self) -> tuple[float, int]:
        """By how many percent the worst point is off the line, and its size."""
        return max((abs(point.cpu_ms / self.at(point.size) - 1) * 100, point.size) for point in self.points)

    @property
    def straight(self) -> bool:
        return self.worst[0] <= STRAIGHT_PERCENT

    @classmethod
    def through(cls, results: Sequence[Result], unit: str, bends: str) -> Line:
        """The line through one contender's results that misses them by the least, in proportion."""
        first = results[0]
        points = tuple(Point(result.size or 0, result.cpu_ms.median, result) for result in results)
        fixed, each = fit([point.size for point in points], [point.cpu_ms for point in points])
        return cls(first.case, first.title, unit, first.contender, points, bends, fixed, each)


def fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Least squares of the relative errors: a and b of ``y = a + b x``, neither below 0."""
    if len(xs) == 1:
        return ys[0], 0.0
    weights = [1 / y**2 for y in ys]
    w = sum(weights)
    wx = sum(weight * x for weight, x in zip(weights, xs, strict=True))
    wy = sum(weight * y for weight, y in zip(weights, ys, strict=True))
    wxx = sum(weight * x * x for weight, x in zip(weights, xs, strict=True))
    wxy = sum(weight * x * y for weight, x, y in zip(weights, xs, ys, strict=True))
    determinant = w * wxx - wx * wx
    each = (w * wxy - wx * wy) / determinant
    fixed = (wy - each * wx) / w
    if fixed < 0:
        return 0.0, wxy / wxx
    return (fixed, each) if each > 0 else (wy / w, 0.0)


def all_lines(results: Sequence[Result], units: dict[str, tuple[str, str]]) -> list[Line]:
    """The lines of all cases of growth.

    Args:
        results: What was measured.
        units: By case: what its sizes count, and why its lines may bend.
    """
    found = []
    for case, (unit, bends) in units.items():
        own = [result for result in results if result.case == case]
        for contender in dict.fromkeys(result.contender for result in own):
            found.append(Line.through([result for result in own if result.contender == contender], unit, bends))
    return found
