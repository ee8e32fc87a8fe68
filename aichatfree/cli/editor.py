"""The line editor's way to the terminal: its own commands pass, and of what is typed or remembered only text."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext

from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output

from .borrowed import borrow
from .filter import edited
from .terminal import Screen


class _Output(Vt100_Output):
    """Writes content filtered; the commands of the editor go another way, through ``write_raw``."""

    def write(self, data: str) -> None:
        super().write(edited(data))


class _Editing:
    """What a line editor has switched at the terminal; where a signal ends it, it may not come to switch it back."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._given_back = False

    def take(self) -> None:
        """Switch on what a stop switched off; at first the editor does so itself."""
        if self._given_back:
            self._screen.command("\x1b[?2004h")
        self._given_back = False

    def give_back(self) -> None:
        """No bracketed paste and no colours; a cursor, and wrapping."""
        self._screen.command("\x1b[?2004l\x1b[?1l\x1b[0m\x1b[?7h\x1b[?25h")
        self._given_back = True

    def abandon(self) -> None:
        """The same, and the cursor on a line of its own."""
        self.give_back()
        self._screen.command("\r\n")


def editing() -> AbstractContextManager[None]:
    """For as long as a prompt is there: whatever ends it, the terminal is left as it was found."""
    return borrow(_Editing(sys.stdout)) if isinstance(sys.stdout, Screen) else nullcontext()


def editor_output() -> Output:
    """Where a prompt is drawn: stdout."""
    stream = sys.stdout
    if os.name != "posix" or not isinstance(stream, Screen):
        return create_output()
    # It wants the stream itself: the gate would take its commands for those of an intruder.
    return _Output.from_pty(stream.stream, term=os.environ.get("TERM"))
