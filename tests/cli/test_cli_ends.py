"""Output that cannot be written: one word about it, or none where nobody listens, and the status that fits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .running import Command, complaint

COMMANDS = [["--version"], ["--help"], ["ask", "--help"], ["ask", "Hi"], ["ask", "--json", "Hi"], ["demo"], ["check"]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", COMMANDS)
def test_a_full_disk_is_told_once(aichatfree: Command, args: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = aichatfree(*args, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1
        assert complaint(done) == "cannot write the output: No space left on device"
        assert aichatfree(*args, stdout=full, stderr=full).returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_cannot_be_written_does_not_stop_the_work(aichatfree: Command) -> None:
    with open("/dev/full", "wb") as full:
        done = aichatfree("ask", "-v", "Hi", stdout=subprocess.PIPE, stderr=full)
    assert (done.returncode, done.stdout) == (0, b"Hello from the scripted server.")


@pytest.mark.parametrize("args", COMMANDS)
def test_a_closed_pipe_is_a_quiet_end(aichatfree: Command, args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = aichatfree(*args, stdout=writer, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (141, b"")
        done = aichatfree(*args, stdout=subprocess.PIPE, stderr=writer)
        assert done.returncode == 0
    finally:
        os.close(writer)
