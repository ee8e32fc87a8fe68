"""Writing a reply while it arrives: plain, or as Markdown that is rendered live on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Protocol

from .filter import Cleaner
from .terminal import Screen, write_exactly

_CANNOT_DRAW = ("dumb", "unknown")


class Printer(Protocol):
    """Writes pieces of a reply; what was written stays there at the end, whichever way it comes."""

    def __enter__(self) -> Printer:
        """Begin."""
        raise NotImplementedError

    def write(self, piece: str) -> None:
        """Write the next piece."""

    def __exit__(self, *exc_info: object) -> None:
        """End the reply, also where it broke off."""


def printer(*, plain: bool = False) -> Printer:
    """The printer for stdout as it is: Markdown on a terminal that can move its cursor, else plain text.

    Args:
        plain: No Markdown.
    """
    if not sys.stdout.isatty():
        return _Piped()
    if plain or os.environ.get("TERM", "").lower() in _CANNOT_DRAW or not isinstance(sys.stdout, Screen):
        return _Typed()
    from .markdown import Rendered

    return Rendered(sys.stdout)


def print_reply(pieces: Iterable[str], *, plain: bool = False) -> None:
    """Write a reply as it arrives.

    Args:
        pieces: The reply, a stream or a list.
        plain: No Markdown, also on a terminal.
    """
    with printer(plain=plain) as out:
        for piece in pieces:
            out.write(piece)


class _Piped:
    """Every piece as it is, at once, and nothing else."""

    def __enter__(self) -> Printer:
        return self

    def write(self, piece: str) -> None:
        write_exactly(piece)

    def __exit__(self, *exc_info: object) -> None:
        pass


class _Typed:
    """Plain text on a terminal, at once: nothing the terminal would obey, and a newline at the end."""

    def __init__(self) -> None:
        self._last = "\n"
        self._cleaner = Cleaner()

    def __enter__(self) -> Printer:
        return self

    def write(self, piece: str) -> None:
        self._write(self._cleaner.feed(piece))

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._last = text[-1:] or self._last

    def __exit__(self, *exc_info: object) -> None:
        self._write(self._cleaner.feed("", last=True))
        if self._last != "\n":
            self._write("\n")
