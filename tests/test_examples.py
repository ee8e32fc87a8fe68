"""Every example runs, under warnings as errors, and says something."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
ASYNC_ONLY = {"provider_async.py"}
SYNC_ONLY = {"g4f_provider.py", "test_my_script.py"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_example(name: str) -> None:
    run = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if name.startswith("test_") else ["-X", "dev", "-W", "error"]
    if name == "g4f_provider.py":
        run = []  # what a framework warns of is its own business
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *run, str(EXAMPLES / name)], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    assert done.stdout
    # asyncio's debug mode times every step, which on a busy machine says something of the machine.
    complaints = [
        line for line in done.stderr.decode().splitlines() if not re.match(r"Executing .* took .* seconds", line)
    ]
    assert complaints == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_examples_are_short(name: str) -> None:
    lines = (EXAMPLES / name).read_text().splitlines()
    assert len(lines) <= 25


def test_each_has_its_twin() -> None:
    twins = {name.replace("_async.py", ".py") for name in SCRIPTS if name.endswith("_async.py")} - {"provider.py"}
    assert twins == set(SCRIPTS) - {name for name in SCRIPTS if name.endswith("_async.py")} - SYNC_ONLY
