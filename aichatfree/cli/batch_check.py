"""What is looked at before a batch asks anything: every line of the input, and what the output has already."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from .batch_line import BadLineError
from .batch_lines import Source, read_line
from .batch_output import Output
from .report import Refusal
from .terminal import complain

_TOLD = 20
"""Of so many wrong lines it is said what is wrong; of more, which they are."""


@dataclass
class Plan:
    """What there is to do.

    Args:
        total: How many lines the input has.
        wrong: Numbers of lines that ask nothing.
        corrected: Numbers of lines that failed, and have been changed since.
    """

    total: int = 0
    wrong: set[int] = field(default_factory=set)
    corrected: set[int] = field(default_factory=set)


def check_apart(lines: Source, output: str) -> None:
    """Refuse an output that is the input, by whatever name.

    Raises:
        Refusal: It is.
    """
    with suppress(OSError, ValueError):  # a stand-in for a stream; an output that does not exist
        found = os.fstat(sys.stdout.fileno()) if output == "-" else Path(output).stat()
        if os.path.samestat(os.fstat(lines.fileno()), found) and not os.isatty(lines.fileno()):
            raise Refusal("the input and -o are the same file: give -o another")


def check_lines(lines: Source, results: Output, system: str | None, output: str) -> Plan:
    """Look at every line; tell what is wrong with those that ask nothing.

    Args:
        lines: The input.
        results: What is done already.
        system: The system message's text for lines that bring none.
        output: What to call the output.

    Raises:
        Refusal: The results belong to other lines, or to another system message.
    """
    plan = Plan()
    changed: list[int] = []
    other_system: list[int] = []
    unseen = set(results.digests)
    first: dict[str, int] = {}
    same: list[int] = []
    if lines.plain:
        complain(f"{lines.name} holds no JSON: each of its lines is a prompt as it is")
    for line in lines:
        plan.total += 1
        unseen.discard(line.number)
        try:
            ask = read_line(line, system)
        except BadLineError as error:
            plan.wrong.add(line.number)
            if len(plan.wrong) <= _TOLD:
                complain(str(error))
            ask = error.ask
        if ask.name is not None and ask.name != line.number:
            name = json.dumps(ask.name, sort_keys=True)
            if first.setdefault(name, line.number) != line.number:
                same.append(line.number)
        digest = line.digest(ask.system)
        known = results.digests.get(line.number, digest)
        if known == digest:
            continue
        if line.number in results.failed:
            plan.corrected.add(line.number)
        elif known.partition("-")[0] == digest.partition("-")[0]:
            other_system.append(line.number)
        else:
            changed.append(line.number)
    _tell(plan, same)
    if changed:
        answered = "is not the one" if len(changed) == 1 else "are not the ones"
        raise Refusal(f"{numbers(changed)} of {lines.name} {answered} that {output} answers: give another -o")
    if other_system:
        raise Refusal(f"{output} was answered with another system message: give that with --system, or another -o")
    if unseen:
        raise Refusal(f"{output} answers line {min(unseen)}, which {lines.name} has not: give another -o")
    return plan


def _tell(plan: Plan, same: list[int]) -> None:
    if len(plan.wrong) > _TOLD:
        rest = sorted(plan.wrong)[_TOLD:]
        complain(f"{len(rest)} more lines ask nothing: {numbers(rest)}")
    if same:
        complain(f"warning: {numbers(same)} {'has an id' if len(same) == 1 else 'have ids'} of a line before")


def numbers(lines: Iterable[int]) -> str:
    """Lines by their numbers, those in a row shortened."""
    ordered = list(lines)
    rows = [[number for _, number in row] for _, row in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0])]
    names = list(_names(rows))
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"line{'s' if len(ordered) > 1 else ''} {text}"


def _names(rows: list[list[int]]) -> Iterator[str]:
    for row in rows:
        if len(row) < 3:
            yield from map(str, row)
        else:
            yield f"{row[0]}-{row[-1]}"
