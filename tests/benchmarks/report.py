"""How the results are shown: a table, JSON, a plot."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from .measuring import Result, Spread

COLUMNS = ("contender", "CPU ms", "wall ms", "ratio (quartiles; range)", "at most", "seen besides")
PACKAGES = ("aichatfree", "requests", "urllib3", "aiohttp", "openai", "ollama")


def environment() -> dict[str, Any]:
    """What was measured, and on what."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "cpus": os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _ratio(ratio: Spread | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio.median:.2f} ({ratio.q1:.2f}-{ratio.q3:.2f}; {ratio.min:.2f}-{ratio.max:.2f})"


def row(result: Result) -> tuple[str, ...]:
    """A result as it stands in the table; its ratio is to the contender with a 1 there."""
    missed = result.target is not None and result.ratio is not None and result.ratio.median > result.target
    return (
        result.contender,
        f"{result.cpu_ms.median:.3f}",
        f"{result.wall_ms.median:.3f}",
        "1" if result.contender == result.baseline else _ratio(result.ratio),
        "" if result.target is None else f"{result.target:.2f}{' MISSED' if missed else ''}",
        ", ".join(f"{name.replace('_', ' ')} {value:,.1f}" for name, value in result.notes.items()),
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


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Write everything that was found."""
    found = []
    for result in results:
        spreads = {name: value._asdict() for name, value in vars(result).items() if isinstance(value, Spread)}
        found.append({**asdict(result), **spreads})
    path.write_text(json.dumps({"environment": environment(), "results": found}, indent=1) + "\n", "utf-8")


def write_plot(path: Path, results: Sequence[Result]) -> None:
    """Draw the ratios: a bar for the median, a line from the first to the third quartile."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    rivals = [result for result in results if result.ratio and result.contender != result.baseline]
    cases = [(title, list(group)) for title, group in groupby(rivals, key=lambda result: result.title)]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.28 * (len(rivals) + len(cases))), layout="constrained")
    labels: list[str] = []
    for title, group in cases:
        labels.append(title)
        for result in group:
            assert result.ratio
            low, high = result.ratio.median - result.ratio.q1, result.ratio.q3 - result.ratio.median
            ours = "Client" in result.contender or "aichatfree" in result.contender
            colour = "tab:blue" if ours else "lightgrey"
            axes.barh(len(labels), result.ratio.median, xerr=[[low], [high]], color=colour, capsize=2)
            axes.text(result.ratio.q3, len(labels), f"  {result.ratio.median:.2f}", va="center", fontsize=7)
            labels.append(f"{result.contender} / {result.baseline}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("processor time, as a multiple of the bare library's")
    figure.savefig(path)
    pyplot.close(figure)
