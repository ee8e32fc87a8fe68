"""Every example runs, under warnings as errors, and says something."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli.forked import run_forked
from cli.screen import environment

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
ASYNC_ONLY = {"provider_async.py"}
SYNC_ONLY = {"g4f_provider.py", "test_my_script.py"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_example(name: str) -> None:
    script, options = str(EXAMPLES / name), {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 50}
    usual = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}
    if name.startswith("test_"):
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", script]
        done = subprocess.run(command, env=usual, check=False, **options)
    elif name == "g4f_provider.py":  # what a framework warns of is its own business
        done = subprocess.run([sys.executable, script], env=usual, check=False, **options)
    else:
        done = run_forked([], environment(PYTHONPATH=str(EXAMPLES.parent)), script=script, **options)
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
