"""Plots, as SVG: the ratios, and how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ..measuring import Result
from .lines import Line

_INK, _PAPER, _GRID = "#222222", "#fcfcfc", "#dddddd"
_COLOURS = ("#0b6bb3", "#c2571a", "#3d7a3d")
_MARKS = ("o", "s", "^")


def _pyplot() -> Any:
    """pyplot, set up so that the same figures give the same file, on a paper of its own for dark pages."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams.update(
        {
            "svg.hashsalt": "aichatfree",
            "svg.fonttype": "none",
            "figure.facecolor": _PAPER,
            "axes.facecolor": _PAPER,
            "savefig.facecolor": _PAPER,
            "axes.edgecolor": _INK,
            "axes.labelcolor": _INK,
            "axes.titlecolor": _INK,
            "text.color": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "grid.color": _GRID,
        }
    )
    return pyplot


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    lines = path.read_text("utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), "utf-8")


def write_ratios(path: Path, results: Sequence[Result]) -> None:
    """Draw the ratios: a bar for the median, a line from the first to the third quartile."""
    pyplot = _pyplot()
    rivals = [result for result in results if result.ratio and result.contender != result.baseline]
    cases = [(title, list(group)) for title, group in groupby(rivals, key=lambda result: result.title)]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.28 * (len(rivals) + len(cases))), layout="constrained")
    labels: list[str] = []
    for title, group in cases:
        labels.append(title)
        for result in group:
            assert result.ratio
            low, high = result.ratio.median - result.ratio.q1, result.ratio.q3 - result.ratio.median
            colour = _COLOURS[0] if result.goals else "lightgrey"
            axes.barh(len(labels), result.ratio.median, xerr=[[low], [high]], color=colour, capsize=2)
            axes.text(result.ratio.q3, len(labels), f"  {result.ratio.median:.2f}", va="center", fontsize=7)
            labels.append(f"{result.contender} / {result.baseline}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("processor time, as a multiple of the bare library's")
    _save(figure, path)
    pyplot.close(figure)


def write_growth(path: Path, lines: Sequence[Line]) -> None:
    """Draw how cost grows: a panel for each kind of work, points for what was measured, straight lines through them."""
    pyplot = _pyplot()
    panels = [(title, list(group)) for title, group in groupby(lines, key=lambda line: line.title)]
    rows = -(-len(panels) // 2)
    figure, all_axes = pyplot.subplots(rows, 2, figsize=(9, 3.4 * rows), layout="constrained", squeeze=False)
    flat = list(all_axes.flat)
    for axes in flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, group) in zip(flat, panels, strict=False):
        in_seconds = max(point.cpu_ms for line in group for point in line.points) >= 2000
        scale = 1000.0 if in_seconds else 1.0
        for line, colour, mark in zip(group, _COLOURS, _MARKS, strict=False):
            sizes = [point.size for point in line.points]
            axes.plot(sizes, [line.at(size) / scale for size in sizes], color=colour, linewidth=1)
            measured = [point.cpu_ms / scale for point in line.points]
            axes.plot(sizes, measured, mark, color=colour, markersize=5, label=line.contender)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(f"{group[0].unit}s", fontsize=9)
        axes.set_ylabel("s of processor time" if in_seconds else "ms of processor time", fontsize=9)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(labelsize=8)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True)
        axes.legend(fontsize=8, frameon=False, loc="upper left")
    _save(figure, path)
    pyplot.close(figure)
