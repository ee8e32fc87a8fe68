"""The command as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from .forked import Forked, run_forked
from .screen import Person, environment


class Command:
    """Runs ``aichatfree`` in an environment of its own, pointed at a server."""

    def __init__(self, url: str, home: Path) -> None:
        self.home = home
        self.env = environment(
            AICHATFREE_BASE_URL=url,
            HOME=str(home),
            XDG_CONFIG_HOME=str(home / "config"),
            XDG_STATE_HOME=str(home / "state"),
        )

    def __call__(
        self, *args: str, stdin: bytes | None = None, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return run_forked(args, {**self.env, **(env or {})}, input=stdin, **{**pipes, **options})

    def cold(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        """Run it in an interpreter that starts for it."""
        command = [sys.executable, "-m", "aichatfree", *args]
        return subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=50)

    def run_python(self, code: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program that uses the command."""
        return subprocess.run(
            [sys.executable, "-c", code], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=50
        )

    def start(self, *args: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return Forked(args, {**self.env, **(env or {})}, **{**pipes, **options})

    def person(self, *args: str, columns: int = 80, lines: int = 24, **env: str) -> Person:
        return Person(*args, env={**self.env, **env}, columns=columns, lines=lines)

    def job(self, *args: str, **env: str) -> Person:
        """As a job of a shell, which can be stopped and continued, and that tells how it ended."""
        return Person(*args, env={**self.env, **env}, job=True)


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on stderr that says what is wrong."""
    text = done.stderr.decode()
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("aichatfree: "), text
    return lines[0].removeprefix("aichatfree: ")
