"""A case's results as a table for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..measuring import Result, Spread

COLUMNS = ("contender", "CPU ms", "wall ms", "ratio (quartiles; range)", "wanted", "seen besides")


def ratio_text(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio.median:.2f} ({ratio.q1:.2f}-{ratio.q3:.2f}; {ratio.min:.2f}-{ratio.max:.2f})"


def note_text(name: str, value: float) -> str:
    return f"{words(name)} {value:,.1f}"


def words(name: str) -> str:
    """A note's name as it is shown."""
    return name.replace("_", " ").replace("kib", "KiB").replace("mib", "MiB")


def wanted(result: Result) -> str:
    """The goals, each with whether it is reached."""
    parts = []
    for goal in result.goals:
        what = "" if goal.of == "ratio" else f"{words(goal.of)} "
        limit = f"{goal.limit:.2f}" if goal.of == "ratio" else f"{goal.limit:g}"
        parts.append(f"{what}{'>=' if goal.least else '<='} {limit}: {result.verdict(goal)}")
    return "; ".join(parts)


def row(result: Result) -> tuple[str, ...]:
    """A result as it stands in the table; its ratio is to the contender with a 1 there."""
    return (
        result.contender if result.size is None else f"{result.contender}, {result.size:,}",
        f"{result.cpu_ms.median:.3f}",
        f"{result.wall_ms.median:.3f}",
        "1" if result.contender == result.baseline else ratio_text(result.ratio),
        wanted(result),
        ", ".join(note_text(name, value) for name, value in result.notes.items()),
    )


def print_table(results: Sequence[Result]) -> None:
    """Print the results of one case: with rich where it is installed, else plainly."""
    rows = [row(result) for result in results]
    title = f"{results[0].title}: {results[0].rounds} rounds"
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in (COLUMNS, *rows)
        ]
        print(f"\n{title}", *(line.rstrip() for line in lines), sep="\n", flush=True)
        return
    table = Table(*COLUMNS, title=title, title_justify="left")
    for line in rows:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 150).print(table)
