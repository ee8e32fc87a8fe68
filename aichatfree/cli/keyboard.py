"""The keyboard while a reply is on its way: what is typed is not shown in the middle of it, and is not lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

try:
    import termios
except ImportError:  # Windows, which shows nothing before it is read
    termios = None  # type: ignore[assignment]

_INPUT, _LOCAL = 0, 3
"""Where tcgetattr has the flags for input and for local behaviour."""


@contextmanager
def typing_unseen(*, keys: bool = False) -> Iterator[None]:
    """Do not echo what is typed; it stays there for whoever reads next. Ctrl-C works as ever.

    Args:
        keys: Keep single keys and not lines, as a line editor wants them: Enter stays Enter.
    """
    before = _modes()
    if before is None:
        yield
        return
    quiet = list(before)
    quiet[_LOCAL] = quiet[_LOCAL] & ~termios.ECHO | termios.NOFLSH  # Ctrl-C throws away what was typed, but for NOFLSH
    if keys:
        quiet[_LOCAL] &= ~termios.ICANON
        quiet[_INPUT] &= ~termios.ICRNL
    _set_modes(quiet)
    try:
        yield
    finally:
        _set_modes(before)


def _modes() -> list[Any] | None:
    """The terminal's modes, None if there is no terminal that is ours to set."""
    if termios is None:
        return None
    with suppress(AttributeError, OSError, ValueError, termios.error):
        if os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp():  # setting them from the background would stop us
            return termios.tcgetattr(sys.stdin.fileno())
    return None


def _set_modes(modes: list[Any]) -> None:
    if _modes() is not None:
        with suppress(termios.error):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, modes)
