"""Where the results of a batch go: what each such place does, and stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Protocol


class Output(Protocol):
    """Where results go."""

    digests: dict[int, str]
    """Of each line that is done, by its number."""
    failed: set[int]
    """Numbers of those that failed."""

    def add(self, number: int, digest: str, result: dict[str, Any], *, failed: bool) -> None:
        """Write what came of a line."""

    def sort(self) -> None:
        """Bring the lines into the order of the input."""

    def close(self) -> None:
        """Write what is left, and let go of it."""


class Stdout:
    """Results that go to stdout: in the order of the input, or as they come.

    Args:
        order: The numbers of the lines in the order in which they are to be written; None for as they come.
    """

    def __init__(self, order: Iterator[int] | None) -> None:
        self.digests: dict[int, str] = {}
        self.failed: set[int] = set()
        self._order = order
        self._next = next(order, None) if order is not None else None
        self._held: dict[int, dict[str, Any]] = {}

    def add(self, number: int, digest: str, result: dict[str, Any], *, failed: bool) -> None:
        """Write what came of a line, or hold it until those before it have come."""
        self.digests[number] = digest
        if failed:
            self.failed.add(number)
        if self._order is None:
            self._print(result)
            return
        self._held[number] = result
        while self._next in self._held:
            assert self._next is not None
            self._print(self._held.pop(self._next))
            self._next = next(self._order, None)

    def sort(self) -> None:
        """Write what is still held."""
        self.close()

    def close(self) -> None:
        """Write what is still held: where a batch is stopped, what it has is not lost."""
        for number in sorted(self._held):
            self._print(self._held.pop(number))

    def _print(self, result: dict[str, Any]) -> None:
        pipe = None if sys.stdout.isatty() else getattr(sys.stdout, "buffer", None)
        if pipe is None:
            from .terminal import print_json

            print_json(result)
        else:
            pipe.write(encode(result))
            pipe.flush()


def encode(value: dict[str, Any]) -> bytes:
    """A line of the output."""
    try:
        return f"{json.dumps(value, ensure_ascii=False, allow_nan=False)}\n".encode()
    except UnicodeEncodeError:  # an id with half a surrogate pair
        return f"{json.dumps(value, allow_nan=False)}\n".encode()
