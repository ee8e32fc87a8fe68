"""The commands in an interpreter that starts for them: most other tests fork them from one that has loaded all."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from aichatfree.cli.program import COMMANDS
from aichatfree.testing import ScriptedServer

from .running import Command

ARGS = [
    ["--version"],
    ["--help"],
    ["nonsense"],
    ["ask", "Hi"],
    ["ask", "--json", "--no-log", "Hi"],
    ["chat", "Hi"],
    ["check", "--help"],
    ["batch", "missing.jsonl", "-o", "out.jsonl"],
    ["history", "show", "last"],
    ["config", "--help"],
    ["serve", "--port", "{taken}"],
    ["gateway", "--port", "{taken}"],
    ["demo", "Hi"],
    ["completion", "zsh"],
]


def test_each_command_is_among_them() -> None:
    assert {args[0] for args in ARGS} >= set(COMMANDS)


@pytest.mark.parametrize("args", ARGS, ids=" ".join)
def test_started_or_forked_it_does_the_same(aichatfree: Command, server: ScriptedServer, args: list[str]) -> None:
    args = [arg.format(taken=server.url.rpartition(":")[2]) for arg in args]
    started, forked = aichatfree.cold(*args), aichatfree(*args)
    told = [
        (
            done.returncode,
            *(re.sub(rb"\d+\.?\d*(?= m?s\b)|\d+\.\d+", b"0", text) for text in (done.stdout, done.stderr)),
        )
        for done in (started, forked)
    ]
    assert told[0] == told[1]
    assert b"Traceback" not in started.stderr


@pytest.mark.parametrize("command", ["serve", "gateway"])
def test_what_serves_starts_and_ends(aichatfree: Command, command: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "aichatfree", command, "--port", "0"],
        env=aichatfree.env,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        while b"http://127.0.0.1:" not in (line := process.stderr.readline()):
            assert line
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 0, rest
        assert b"Traceback" not in rest
