"""What it costs to start: imports, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ..canned_server import Spec
from ..children import ROOT
from ..measuring import Goals, Result, Sample, interleave, note_difference, results

IMPORTS = {
    "bare interpreter": "pass",
    "import aichatfree": "import aichatfree",
    "Client": "from aichatfree import Client",
    "import requests": "import requests",
    "AsyncClient": "from aichatfree import AsyncClient",
    "import aiohttp": "import aiohttp",
}
IMPORTED_OVER = {"import aichatfree": "bare interpreter", "Client": "import requests", "AsyncClient": "import aiohttp"}
ENTRY = "import re, sys; from aichatfree.cli import main; sys.exit(main())"
"""What an installed command runs."""
VERSION, ASK = "aichatfree --version", "aichatfree ask"
COMMANDS = {"import re": "import re", VERSION: ENTRY, "import requests": "import requests", ASK: ENTRY}
STARTED_OVER = {VERSION: "import re", ASK: "import requests"}


@dataclass(frozen=True)
class Starts:
    """What Python code costs in an interpreter of its own whose start is part of it.

    Args:
        name: The case's name.
        title: What it is, in words.
        code: What runs, by contender.
        over: Beside which of them which is measured.
        goals: What the contenders should reach.
        rounds: How often each is measured, unless the user says.
    """

    name: str
    title: str
    code: Mapping[str, str]
    over: Mapping[str, str]
    goals: Goals = field(default_factory=dict)
    rounds: int = 15

    def measure(self, server: str, rounds: int) -> list[Result]:
        with TemporaryDirectory() as folder:
            environment = _environment(Path(folder))
            arguments = {
                VERSION: ["--version"],
                ASK: ["ask", "--no-log", "--base-url", f"{server}/{Spec(1, 20)}", "Hello"],
            }
            run = {
                name: partial(self._sample, [sys.executable, "-c", code, *arguments.get(name, [])], environment)
                for name, code in self.code.items()
            }
            for sample in run.values():
                sample()  # writes the byte code, as an installation does
            samples = interleave(run, rounds)
        note_difference(samples, self.over, "ms_more", lambda sample: sample.cpu * 1e3)
        return results(self.name, self.title, samples, self.over, self.goals)

    def _sample(self, command: list[str], environment: dict[str, str]) -> Sample:
        before, started = _children_seconds(), time.perf_counter()
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, cwd=ROOT, env=environment
        )
        wall = time.perf_counter() - started
        return Sample(_children_seconds() - before, wall)


def _environment(folder: Path) -> dict[str, str]:
    """One with an empty home, and none of the user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AICHATFREE_", "XDG_"))}
    return {**kept, "HOME": str(folder), "PYTHONPYCACHEPREFIX": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": ""}


def _children_seconds() -> float:
    """Processor time of all processes that this one started and that have ended."""
    import resource  # Windows has none

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imports(goals: Goals) -> Starts:
    return Starts("import", "import, in a fresh interpreter", IMPORTS, IMPORTED_OVER, goals)


def commands(goals: Goals) -> Starts:
    return Starts("command", "the command's start", COMMANDS, STARTED_OVER, goals)
