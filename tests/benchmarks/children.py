"""Processes under test: each has its own, so that nobody pays for another's memory or garbage.

Such a process reads lines and answers each with a line of JSON; it ends when its standard input does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
END_SECONDS = 10.0
PACKAGE = __package__ or "tests.benchmarks"


class ChildError(Exception):
    """A process under test has ended before its time; what it said stands above, on standard error."""


class Child:
    """A process under test, seen from outside."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self.process = process
        self._name = name

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise ChildError(f"{self._name} ended: what it said stands above")
        return line

    def ask(self, question: object = "") -> dict[str, float]:
        """What it answers to a line; to an empty one, what it has used so far."""
        assert self.process.stdin
        try:
            print(question, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise ChildError(f"{self._name} ended: what it said stands above") from None
        answer: dict[str, float] = json.loads(self.line())
        return answer

    def used(self) -> dict[str, float]:
        """Seconds of processor time and bytes of memory, so far and now."""
        return self.ask()


def command(module: str, *arguments: object) -> list[str]:
    """How a module of this package is started."""
    return [sys.executable, "-m", f"{PACKAGE}.{module}", *map(str, arguments)]


@contextmanager
def running(module: str, *arguments: object) -> Iterator[Child]:
    """Start a module of this package, and end it: by force, if it must be."""
    name = " ".join([module, *map(str, arguments)])
    process = subprocess.Popen(
        command(module, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin and process.stdout
    try:
        yield Child(process, name)
    finally:
        try:
            process.stdin.close()
            process.wait(END_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        finally:
            process.kill()  # does nothing to one that has ended
            process.wait()
            process.stdout.close()


def answer_of(module: str, *arguments: object) -> dict[str, float]:
    """What a module of this package prints, which measures once and ends."""
    with running(module, *arguments) as child:
        answer: dict[str, float] = json.loads(child.line())
        return answer


@contextmanager
def canned_server() -> Iterator[str]:
    """The canned server's URL."""
    with running("canned_server") as child:
        yield f"http://127.0.0.1:{int(child.line())}"
