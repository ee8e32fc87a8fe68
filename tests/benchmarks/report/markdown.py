"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def milliseconds(value: float) -> str:
    """A time in the unit that suits it, with three digits."""
    if not value:
        return "0"
    number, unit = (value * 1000, "µs") if value < 1 else (value, "ms") if value < 1000 else (value / 1000, "s")
    digits = 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:.{digits}f} {unit}"
