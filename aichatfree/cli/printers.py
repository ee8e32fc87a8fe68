"""Writing a reply while it arrives: plain, or as Markdown that is rendered live on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol

from .terminal import console, visible


class Printer(Protocol):
    """Writes pieces of a reply; what was written stays there at the end, whichever way it comes."""

    def __enter__(self) -> Printer:
        """Begin."""

    def write(self, piece: str) -> None:
        """Write the next piece."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the reply, also where it broke off."""


def printer(*, plain: bool = False) -> Printer:
    """The printer for stdout as it is: Markdown on a terminal that can move its cursor, else plain text.

    Args:
        plain: No Markdown.
    """
    if not sys.stdout.isatty():
        return _Piped()
    if plain or console().is_dumb_terminal:
        return _Typed()
    from .markdown import Rendered

    return Rendered()


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
        sys.stdout.write(piece)
        sys.stdout.flush()

    def __exit__(self, *exc_info: object) -> None:
        pass


class _Typed:
    """Plain text on a terminal: nothing the terminal would obey, and a newline at the end."""

    def __init__(self) -> None:
        self._last = "\n"

    def __enter__(self) -> Printer:
        return self

    def write(self, piece: str) -> None:
        sys.stdout.write(visible(piece))
        sys.stdout.flush()
        self._last = piece[-1:] or self._last

    def __exit__(self, *exc_info: object) -> None:
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()
