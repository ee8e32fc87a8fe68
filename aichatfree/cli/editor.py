"""The line editor's way to the terminal: its own commands pass, and of what is typed or remembered only text."""

from __future__ import annotations

import os
import sys

from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output

from .filter import edited
from .terminal import Screen


class _Output(Vt100_Output):
    """Writes content filtered; the commands of the editor go another way, through ``write_raw``."""

    def write(self, data: str) -> None:
        super().write(edited(data))


def editor_output() -> Output:
    """Where a prompt is drawn: stdout."""
    stream = sys.stdout
    if os.name != "posix" or not isinstance(stream, Screen):
        return create_output()
    # It wants the stream itself: the gate would take its commands for those of an intruder.
    return _Output.from_pty(stream.stream, term=os.environ.get("TERM"))
