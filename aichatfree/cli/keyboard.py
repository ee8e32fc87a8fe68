"""The keyboard: what is typed while a reply is on its way is neither shown nor lost, and passwords are never shown."""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from .borrowed import borrow, in_foreground
from .signals import wait_for_input

try:
    import termios as _termios
except ImportError:  # Windows, which shows nothing before it is read
    _termios = None  # type: ignore[assignment]
termios: Any = _termios

_INPUT, _LOCAL = 0, 3
"""Where tcgetattr has the flags for input and for local behaviour."""


class _Modes:
    """The modes of a terminal, changed.

    Args:
        descriptor: The terminal.
        change: Changes the flags that it is given.
        prompt: Written again when the program continues after a stop.
    """

    def __init__(self, descriptor: int, change: Callable[[list[Any]], None], prompt: bytes = b"") -> None:
        self._descriptor = descriptor
        self._found = termios.tcgetattr(descriptor)
        self._wanted = termios.tcgetattr(descriptor)
        self._prompt = prompt
        change(self._wanted)
        self._given_back = False

    def take(self) -> None:
        """Set the changed modes."""
        if not in_foreground(self._descriptor):
            return
        self._set(self._wanted)
        if self._given_back and self._prompt:
            os.write(self._descriptor, self._prompt)
        self._given_back = False

    def give_back(self) -> None:
        """Set the modes that were found; remember those of now, as the line editor has its own."""
        if not self._given_back and in_foreground(self._descriptor):
            with suppress(termios.error):
                self._wanted = termios.tcgetattr(self._descriptor)
        self.abandon()

    def abandon(self) -> None:
        """Set the modes that were found."""
        self._set(self._found)
        self._given_back = True

    def _set(self, modes: list[Any]) -> None:
        if in_foreground(self._descriptor):
            with suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSANOW, modes)


@contextmanager
def typing_unseen(*, keys: bool = False) -> Iterator[None]:
    """Do not echo what is typed; it stays there for whoever reads next. Ctrl-C works as ever.

    Args:
        keys: Keep single keys and not lines, as a line editor wants them: Enter stays Enter.
    """

    def change(modes: list[Any]) -> None:
        modes[_LOCAL] = modes[_LOCAL] & ~termios.ECHO | termios.NOFLSH  # else Ctrl-C throws away what was typed
        if keys:
            modes[_LOCAL] &= ~termios.ICANON
            modes[_INPUT] &= ~termios.ICRNL

    modes = None
    if termios is not None:
        with suppress(AttributeError, OSError, ValueError, termios.error):
            descriptor = sys.stdin.fileno()
            if in_foreground(descriptor):
                modes = _Modes(descriptor, change)
    with borrow(modes) if modes is not None else nullcontext():
        yield


def read_secret(prompt: str) -> str | None:
    """Ask at the terminal for something that is not to be seen.

    Args:
        prompt: What to ask.

    Returns:
        What was typed, without the newline; None where there is no terminal.

    Raises:
        EOFError: Ctrl-D.
        UnicodeDecodeError: What was typed is not text in the encoding of this terminal.
    """
    if termios is None:
        import getpass

        return getpass.getpass(prompt) if sys.stdin.isatty() else None
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return _read_unseen(terminal, prompt.encode())
    finally:
        os.close(terminal)


def _read_unseen(terminal: int, prompt: bytes) -> str:
    def change(modes: list[Any]) -> None:
        modes[_LOCAL] = modes[_LOCAL] & ~termios.ECHO | termios.ICANON | termios.ISIG

    line = b""
    with borrow(_Modes(terminal, change, prompt)):
        os.write(terminal, prompt)
        try:
            while not line.endswith(b"\n"):
                if in_foreground(terminal) and not wait_for_input(terminal):
                    continue  # elsewhere, a read stops the program, as it should
                data = os.read(terminal, 65536)
                if not data:
                    raise EOFError
                line += data
        finally:
            with suppress(OSError):
                os.write(terminal, b"\n")  # the one that was typed was not shown
    return line.rstrip(b"\r\n").decode(_typed_encoding())


def _typed_encoding() -> str:
    """How a terminal encodes what is typed: as the locale says; one that says ASCII knows nothing of it."""
    name = locale.getpreferredencoding(False)
    return "utf-8" if name.lower() in ("ascii", "ansi_x3.4-1968", "646", "us-ascii") else name
