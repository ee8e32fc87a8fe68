"""Tables on a terminal, whatever its width: side by side where that fits, else one record a row. Nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from rich.text import Text

Wrap = Callable[[Text, int], list[Text]]
"""Breaks a text into lines of so many columns."""

_GAP = 2
_NARROW = 10
"""Columns narrower than this are hard to read: rather than squeeze a table further, it becomes records."""


def lay_out_table(
    head: Sequence[Text], rows: Sequence[Sequence[Text]], sides: Sequence[str], width: int, wrap: Wrap
) -> list[Text]:
    """The lines of a table.

    Args:
        head: The heads of the columns.
        rows: The cells, as many in each row as there are heads.
        sides: Where each column's text stands: "left", "center" or "right".
        width: How many columns of the terminal there are.
        wrap: Breaks a text into lines.
    """
    wanted = [max(1, *(cell.cell_len for cell in column)) for column in zip(head, *rows, strict=True)]
    widths = _widths(wanted, width - _GAP * (len(wanted) - 1))
    if widths is None:
        return _records(head, rows, width, wrap)
    lines = _row(head, widths, sides, wrap)
    lines.append(Text("─" * (sum(widths) + _GAP * (len(widths) - 1)), "dim"))
    broken = any(cell.cell_len > room for row in rows for cell, room in zip(row, widths, strict=True))
    for number, row in enumerate(rows):
        if broken and number:
            lines.append(Text())
        lines += _row(row, widths, sides, wrap)
    return lines


def _widths(wanted: Sequence[int], room: int) -> list[int] | None:
    """The width of each column, the widest ones narrowed first; None where that leaves them too narrow."""
    if sum(wanted) <= room:
        return list(wanted)
    if sum(min(one, _NARROW) for one in wanted) > room:
        return None
    cap = max(cap for cap in range(_NARROW, max(wanted) + 1) if sum(min(one, cap) for one in wanted) <= room)
    return [min(one, cap) for one in wanted]


def _row(cells: Sequence[Text], widths: Sequence[int], sides: Sequence[str], wrap: Wrap) -> list[Text]:
    columns = [wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for parts in zip_longest(*columns):
        line = Text()
        for part, width, side in zip(parts, widths, sides, strict=True):
            line.append_text(_aligned(part or Text(), width, side)).append(" " * _GAP)
        line.rstrip()
        lines.append(line)
    return lines


def _aligned(text: Text, width: int, side: str) -> Text:
    free = max(0, width - text.cell_len)
    left = {"right": free, "center": free // 2}.get(side, 0)
    return Text(" " * left).append_text(text).append(" " * (free - left))


def _records(head: Sequence[Text], rows: Sequence[Sequence[Text]], width: int, wrap: Wrap) -> list[Text]:
    if not rows:
        return [line for name in head for line in wrap(name, width)]
    lines: list[Text] = []
    for row in rows:
        lines += [Text()] if lines else []
        for name, cell in zip(head, row, strict=True):
            if name.plain.strip() and cell.plain.strip():
                lines += wrap(Text.assemble(name, ": ", cell), width)
            else:
                lines += wrap(name if name.plain.strip() else cell, width)
    return lines
