"""The figures of docs/benchmarks.md. What stands between its marks is written here, the rest by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..cases import all_cases
from ..children import ROOT
from ..clients.growth import growth_cases
from ..measuring import Result
from . import scale
from .lines import STRAIGHT_PERCENT, Line, all_lines
from .markdown import milliseconds, table
from .saved import Found
from .tables import note_text

DOCS = ROOT / "docs"
PAGE, PLOT = "benchmarks.md", "_static/growth.svg"
_BEGIN, _END = "<!-- measured: {} -->", "<!-- end of what was measured -->"


def write_page(folder: Path, found: Found) -> None:
    """Write the figures into the page in a folder, and draw its plot."""
    from .plots import write_growth

    lines = growth_lines(found)
    text = (folder / PAGE).read_text("utf-8")
    for name, part in (
        ("machine", machine(found)),
        ("cases", cases_table(found)),
        ("growth", growth_table(lines)),
        ("scale", scale.text(found)),
    ):
        text = put(text, name, part)
    (folder / PAGE).write_text(text, "utf-8")
    if lines:
        write_growth(folder / PLOT, lines)


def put(text: str, name: str, part: str) -> str:
    """The page with a part between its marks replaced."""
    begin = _BEGIN.format(name)
    pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(_END)}", re.DOTALL)
    new, count = pattern.subn(lambda _: f"{begin}\n\n{part.strip()}\n\n{_END}", text)
    if count != 1:
        raise ValueError(f"{PAGE} has {count} places for {name}, not one")
    return new


def machine(found: Found) -> str:
    """What was measured, and on what."""
    on: dict[str, Any] = found.environment
    packages = ", ".join(f"{name} {number}" for name, number in on["packages"].items())
    quick = (
        "**These figures are from a quick run with small cases, on a machine that had other work: they show what is"
        " measured, and are no claim.** "
        if found.quick
        else ""
    )
    return (
        f"{quick}Measured with {on['implementation']} {on['python']} on {on['system']} ({on['machine']}, {on['cpus']}"
        f" processors): {packages}."
    )


def cases_table(found: Found) -> str:
    """Every case, and what was wanted of it."""
    growing = {case.name for case in growth_cases(found.quick)}
    rows: list[tuple[str, ...]] = []
    for case in all_cases(found.quick):
        if case.name in growing:
            continue
        results = found.of(case.name)
        title = f"**{results[0].title}**, {results[0].rounds} rounds" if results else f"**{case.title}**"
        rows.append((f"`{case.name}`", title, "", "", ""))
        rows += [("", *_cells(result)) for result in results]
        if not results:
            rows.append(("", "not measured", "", "", ""))
    missed = [
        f"`{result.case}`, {result.contender}"
        for result in found.results
        if any(result.verdict(goal) == "MISSED" for goal in result.goals)
    ]
    summary = f"Missed: {'; '.join(missed)}." if missed else "No goal is missed."
    return f"{table(('case', 'who', 'CPU', 'ratio (quartiles)', 'besides'), rows)}\n\n{summary}"


_SHOWN = ("memory_kib_per_stream", "memory_kib_over_bare", "ms_more", "times_ours", "memory_kib_more")


def _cells(result: Result) -> tuple[str, ...]:
    baseline = result.contender == result.baseline
    ratio = result.ratio
    shown = "1" if baseline else f"{ratio.median:.2f} ({ratio.q1:.2f}-{ratio.q3:.2f})" if ratio else ""
    shown += _goals(result, "ratio")
    about = {goal.of for goal in result.goals}
    names = [name for name in result.notes if name in about or name in _SHOWN]
    besides = "; ".join(note_text(name, result.notes[name]) + _goals(result, name) for name in names)
    return result.contender, milliseconds(result.cpu_ms.median), shown, besides


def _goals(result: Result, of: str) -> str:
    """What was wanted of one number, and whether it is."""
    parts = []
    for goal in result.goals:
        if goal.of == of:
            limit = f"{goal.limit:.2f}" if of == "ratio" else f"{goal.limit:,g}"
            verdict = result.verdict(goal)
            shown = f"**{verdict.lower()}**" if verdict == "MISSED" else verdict
            parts.append(f", wanted {'≥' if goal.least else '≤'} {limit}: {shown}")
    return "".join(parts)


def growth_lines(found: Found) -> list[Line]:
    return all_lines(found.results, {case.name: (case.unit, case.bends) for case in growth_cases(found.quick)})


def growth_table(lines: list[Line]) -> str:
    """The straight lines through what was measured, and where it bends, why."""
    rows = []
    bent: dict[str, str] = {}
    for line in lines:
        worst, size = line.worst
        verdict = f"within {worst:.0f} %" if line.straight else f"bends: {worst:.0f} % off at {size:,}"
        if not line.straight:
            bent[line.case] = line.bends
        points = ", ".join(f"{point.size:,}: {milliseconds(point.cpu_ms)}" for point in line.points)
        cost = f"{milliseconds(line.fixed)} + {milliseconds(line.each)} a {line.unit}"
        rows.append((f"`{line.case}`", line.contender, points, cost, verdict))
    memory = [_memory(line) for line in lines if any("memory" in note for note in line.points[-1].result.notes)]
    parts = [
        table(("case", "who", "CPU of the whole, by size", "the line", "straight?"), rows),
        *(f"`{case}` is more than {STRAIGHT_PERCENT:g} % off its line. {why}" for case, why in bent.items()),
        *memory,
    ]
    return "\n\n".join(parts) if lines else "Growth was not measured."


def _memory(line: Line) -> str:
    name = next(note for note in line.points[-1].result.notes if "memory" in note)
    seen = "; ".join(
        f"{point.size:,}: {point.result.notes[name]:,.0f} KiB{_goals(point.result, name)}" for point in line.points
    )
    what = "Memory a stream" if name == "memory_kib_per_stream" else "Memory more than before, at most"
    return f"{what}, `{line.case}`, {line.contender}: {seen}."
