"""``aichatfree check``: the report as a person and as a script gets it."""

from __future__ import annotations

import json

import pytest

from aichatfree.testing import Reply, ScriptedServer

from .running import Command

NAMES = ("reachable", "protocol", "password", "signature", "upstream", "reply")


def test_all_is_well(aichatfree: Command) -> None:
    done = aichatfree("check")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("ascii")
    assert all(name in text for name in NAMES)
    assert "failed" not in text


def test_a_failure_names_the_option_that_mends_it(aichatfree: Command) -> None:
    with ScriptedServer(password="right") as server:
        done = aichatfree("check", "--base-url", server.url, "--password", "wr0ng")
    assert done.returncode == 1
    assert b"--password" in done.stdout
    assert b"password=..." not in done.stdout
    assert b"wr0ng" not in done.stdout + done.stderr


def test_nothing_answers(aichatfree: Command) -> None:
    done = aichatfree("check", "--base-url", "http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"--base-url" in done.stdout


def test_json(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply.quota()
    done = aichatfree("check", "--json", "--timeout", "5")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["base_url"], report["ok"]) == (server.url, False)
    assert tuple(result["name"] for result in report["results"]) == NAMES


@pytest.mark.parametrize(("columns", "env"), [(80, {}), (40, {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"})])
def test_the_table_on_a_terminal(aichatfree: Command, columns: int, env: dict[str, str]) -> None:
    with aichatfree.person("check", columns=columns, **env) as person:
        assert person.wait() == 0
    assert all(name in person.text for name in NAMES)
    assert person.text.count("ok ok" if env else "✓ ok") == 6
    assert max(map(len, person.text.splitlines())) <= columns
    assert (b"\x1b[32m" in person.raw) == (not env)
    assert person.raw.isascii() == bool(env)


def test_ctrl_c_ends_it(aichatfree: Command, server: ScriptedServer) -> None:
    from aichatfree.testing import Pause

    server.enqueue(Reply([Pause(None)]))
    with aichatfree.person("check") as person:
        server.wait_requests(1)
        person.type("\x03")
        assert person.wait() == 130
    assert "Traceback" not in person.text
