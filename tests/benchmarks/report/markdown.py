"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def milliseconds(value: float) -> str:
    """A time in the unit that suits it."""
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    if value >= 1:
        return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"
    return f"{value * 1000:.3g} µs"
