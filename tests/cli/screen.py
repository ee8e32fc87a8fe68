"""A person at a terminal: a real process on a pseudo-terminal, typed keys, and the screen as it would be seen."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping

import pexpect
import pyte

ENTER, CTRL_C, CTRL_D, UP = "\r", "\x03", "\x04", "\x1b[A"
ALT_ENTER = "\x1b\r"


class Person:
    """Someone who runs ``aichatfree`` with ``args`` in a window of ``columns`` by ``lines``."""

    def __init__(self, *args: str, env: Mapping[str, str], columns: int = 80, lines: int = 24) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=2000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "aichatfree", *args],
            env={"TERM": "xterm-256color", **env},  # type: ignore[arg-type]
            dimensions=(lines, columns),
            timeout=20,
        )
        # pyte answers the terminal's questions (where is the cursor?) through this.
        self.screen.write_process_input = self.process.send  # type: ignore[method-assign]

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.close(force=True)

    def type(self, text: str) -> None:
        self.process.send(text)

    @property
    def text(self) -> str:
        """What stands on the screen, and above it, without the blank ends of lines."""
        above = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in (*above, *self.screen.display)).rstrip()

    def look(self, until: Callable[[str], object] | str, timeout: float = 20) -> str:
        """Watch the screen until it holds a text, or satisfies a condition; return it."""
        seen = (lambda text: until in text) if isinstance(until, str) else until
        deadline = time.monotonic() + timeout
        while not seen(self.text):
            if not self._read():
                break
            assert time.monotonic() < deadline, f"{until!r} was not seen on this screen:\n{self.text}"
        assert seen(self.text), f"it ended without {until!r} on this screen:\n{self.text}"
        return self.text

    def wait(self) -> int:
        """Wait for the end of the process; return its exit status."""
        deadline = time.monotonic() + 20
        while self._read():
            assert time.monotonic() < deadline, f"it did not end; the screen:\n{self.text}"
        self.process.close()
        status = self.process.exitstatus
        assert status is not None, f"killed by signal {self.process.signalstatus}; the screen:\n{self.text}"
        return status

    def _read(self) -> bool:
        try:
            data = self.process.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without anything that would change what a command prints, and with ``changes``."""
    ours = ("AICHATFREE_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "LC_", "LANG", "PYTHONIOENCODING", "TTY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", **changes}
