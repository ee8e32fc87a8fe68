"""A person at a terminal: a real process on a pseudo-terminal, typed keys, and the screen as it would be seen."""

from __future__ import annotations

import os
import re
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pexpect
import ptyprocess
import pyte
from wcwidth import wcwidth

from .forked import PROGRAM, fork_server

ENTER, CTRL_C, CTRL_D, CTRL_Z, UP = "\r", "\x03", "\x04", "\x1a", "\x1b[A"
ALT_ENTER = "\x1b\r"


class Screen(pyte.HistoryScreen):
    """What a plain terminal shows: of an emoji that is several, joined by zero-width signs, it draws each by itself."""

    def draw(self, data: str) -> None:
        super().draw("".join(sign for sign in data if wcwidth(sign) > 0 or unicodedata.combining(sign)))


class Spawned(pexpect.spawn):  # type: ignore[misc]
    """``aichatfree`` on a terminal, forked if there is a server for it."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], dimensions: tuple[int, int], *, job: bool) -> None:
        self._server = fork_server(env)
        self._order = {"args": args, "env": dict(env), "cwd": os.getcwd(), "terminal": True, "job": job}
        command = [PROGRAM, "job", *args] if job else ["-m", "aichatfree", *args]
        super().__init__(sys.executable, command, env=env, dimensions=dimensions, timeout=20)  # type: ignore[arg-type]

    def _spawnpty(self, args: Any, **options: Any) -> ptyprocess.PtyProcess:  # what pexpect starts a process with
        if self._server is None:
            return super()._spawnpty(args, **options)
        ours, theirs = os.openpty()
        try:
            termios.tcsetwinsize(theirs, options["dimensions"])
            pid = self._server.fork((theirs,) * 3, **self._order)
        finally:
            os.close(theirs)
        return ptyprocess.PtyProcess(pid, ours)


class Person:
    """Someone who runs ``aichatfree`` with ``args`` in a window, as a job of a shell if wanted."""

    def __init__(
        self, *args: str, env: Mapping[str, str], columns: int = 80, lines: int = 24, job: bool = False
    ) -> None:
        self.screen = Screen(columns, lines, history=2000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process = Spawned(args, {"TERM": "xterm-256color", **env}, (lines, columns), job=job)
        self.process.delaybeforesend = None  # who types has looked
        # pyte answers the terminal's questions (where is the cursor?) through this.
        self.screen.write_process_input = self.process.send  # type: ignore[method-assign]

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.process.close(force=True)
        except pexpect.ExceptionPexpect:  # it was killed, and is not gone yet
            self.process.wait()
            self.process.close()

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
        self.process.wait()
        self.process.ptyproc.delayafterclose = 0  # there is nothing left to be given time
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

    def resize(self, columns: int, lines: int) -> None:
        """Change the window, as with the mouse."""
        self.screen.resize(lines, columns)
        self.process.setwinsize(lines, columns)

    def watch(self, seconds: float) -> None:
        """Take what is written in this time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read():
            pass

    def assert_left_as_found(self) -> None:
        """What escape sequences switched on or off is as it was."""
        usual = {"25": "h", "7": "h", "2004": "l", "1049": "l", "1000": "l", "1006": "l", "1": "l"}
        for mode, last in usual.items():
            words = re.findall(rb"\x1b\[\?" + mode.encode() + rb"([hl])", self.raw)
            assert not words or words[-1] == last.encode(), f"mode {mode} was left switched"
        colours = re.findall(rb"\x1b\[([\d;]*)m", self.raw)
        assert not colours or colours[-1] in (b"", b"0"), "colours were left on"


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without anything that would change what a command prints, and with ``changes``."""
    ours = ("AICHATFREE_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "LC_", "LANG", "PYTHONIOENCODING", "TTY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error", **changes}
