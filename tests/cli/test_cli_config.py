"""``aichatfree config``: each setting, its value and its source; and the config file it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aichatfree.cli.program import COMMANDS, program
from aichatfree.cli.timing import describe
from aichatfree.testing import ScriptedServer

from .running import Command, complaint


@pytest.fixture
def config(aichatfree: Command) -> Path:
    path = aichatfree.home / "config" / "aichatfree" / "config.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    return path


def found(aichatfree: Command, *args: str, **env: str) -> dict[str, Any]:
    done = aichatfree("config", "--json", *args, env=env)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_every_source(aichatfree: Command, config: Path) -> None:
    del aichatfree.env["AICHATFREE_BASE_URL"]
    config.write_text('base_url = "http://file"\npassword = "p1"\ntimeout = 5\nlog = false\n')
    env = {"AICHATFREE_BASE_URL": "http://environment", "AICHATFREE_GATEWAY_KEY": "k1"}
    settings = found(aichatfree, "--timeout", "7", "--secret", "s1", **env)
    assert {name: tuple(entry.values()) for name, entry in settings.items()} == {
        "base_url": ("http://environment", "environment: AICHATFREE_BASE_URL"),
        "secret": ("(hidden)", "option: --secret"),
        "password": ("(hidden)", f"file: {config}"),
        "proxy": (None, "default"),
        "timeout": (7.0, "option: --timeout"),
        "system": (None, "default"),
        "log": (False, f"file: {config}"),
        "upstream_key": (None, "default"),
        "gateway_key": ("(hidden)", "environment: AICHATFREE_GATEWAY_KEY"),
        "config file": (str(config), "default"),
        "history": (str(aichatfree.home / "state" / "aichatfree" / "conversations"), "default"),
    }
    assert found(aichatfree)["base_url"]["source"] == f"file: {config}"
    config.unlink()
    settings = found(aichatfree, AICHATFREE_PASSWORD="", HTTPS_PROXY="http://me:hunter2@proxy")
    assert settings["base_url"] == {"value": "https://aichatfree.info", "source": "default"}
    assert settings["password"] == {"value": "", "source": "environment: AICHATFREE_PASSWORD"}
    assert settings["proxy"] == {"value": "http://***@proxy", "source": "environment: HTTPS_PROXY"}
    assert settings["config file"]["source"] == "default, does not exist"


def test_it_is_what_ask_does(aichatfree: Command, server: ScriptedServer, config: Path) -> None:
    config.write_text('password = "from the file"\nsystem = "Be brief."\n')
    aichatfree("ask", "x")
    (request,) = server.requests
    settings = found(aichatfree)
    assert request.json["pass"] == "from the file"
    assert settings["password"]["source"] == f"file: {config}"
    assert request.prompt == f"{settings['system']['value']}\n\nx"
    assert settings["base_url"]["value"] == server.url


@pytest.mark.parametrize("columns", [200, 40])
def test_the_table_shows_all_and_no_secret(aichatfree: Command, config: Path, columns: int) -> None:
    config.write_text(
        'proxy = "http://me:hunter2@127.0.0.1:9"\nbase_url = "http://me:hunter3@x"\nsecret = "hunter4"\n'
        'system = "two\\nlines \\u001b]0;owned\\u0007"\n'
    )
    config.chmod(0o644)
    del aichatfree.env["AICHATFREE_BASE_URL"]
    with aichatfree.person("config", columns=columns, lines=60) as person:
        assert person.wait() == 0
    assert "hunter" not in person.text
    assert "http://***@127.0.0.1:9" in person.text
    assert "two lines" in person.text
    assert "otherscanreadit" in person.text.replace("\n", "").replace(" ", "")
    assert b"\x1b]0" not in person.raw
    assert str(config) in person.text.replace("\n", "").replace(" ", "")


def test_what_cannot_be_used_is_told_and_the_rest_is_shown(aichatfree: Command, config: Path) -> None:
    config.write_text('passwort = "hunter2"\ntimeout = "5"\nsystem = "Be brief."\n')
    done = aichatfree("config")
    assert done.returncode == 0
    unknown, wrong = done.stderr.decode().splitlines()
    assert "warning: " in unknown
    assert "has the unknown setting 'passwort'" in unknown
    assert unknown.endswith("; did you mean password?")
    assert f"warning: timeout in {config} must be a number of seconds" in wrong
    assert b"Be brief." in done.stdout
    assert b"hunter2" not in done.stdout + done.stderr
    assert aichatfree("ask", "x").returncode == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('proxy = "http://me:hunter2@127.0.0.1:9"', True),
        ('base_url = "http://me@127.0.0.1:9"', True),
        ('upstream_key = "x"', True),
        ('gateway_key = "x"', True),
        ("log = true", False),
    ],
)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o600])
def test_a_password_that_others_can_read(aichatfree: Command, config: Path, text: str, words: bool, mode: int) -> None:
    config.write_text(text)
    config.chmod(mode)
    done = aichatfree("config")
    warned = f"warning: {config} holds a password or secret, and others can read it: run chmod 600 {config}"
    assert (warned in done.stderr.decode()) == (words and mode != 0o600)


@pytest.mark.parametrize("text", ["log = 1", 'log = "no"', "log = []", "x = " + "[" * 5000, "a = {" * 3000])
def test_a_file_that_cannot_be_used_is_one_line(aichatfree: Command, config: Path, text: str) -> None:
    config.write_text(text + "\n")
    done = aichatfree("ask", "x")
    assert done.returncode == 2
    assert str(config) in complaint(done)
    assert "fault of this program" not in complaint(done)


def test_a_home_that_nobody_has(aichatfree: Command) -> None:
    done = aichatfree("config", "--config", "~nobody-of-that-name/x")
    assert done.returncode == 2
    assert "give the whole path" in complaint(done)


def all_commands() -> list[list[str]]:
    return [[name] for name in COMMANDS] + [["history", name] for name in ("show", "search", "export", "delete")]


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_help_fits_80_columns_and_has_an_example(command: list[str]) -> None:
    text = CliRunner().invoke(program, [*command, "--help"], terminal_width=80).output
    assert max(map(len, text.splitlines())) <= 80
    assert f"aichatfree {' '.join(command)}" in text.split("Options:")[1]


class Stats:
    attempts = 1
    first_text_seconds: float | None = 0.5
    total_seconds = 2.0
    pieces = 3
    bytes_received = 400


def test_where_the_time_went() -> None:
    stats = Stats()
    assert describe(stats, 2.25) == (
        "time: 250 ms to start, 500 ms until the first text, 1.5 s for the rest; 3 pieces, 400 bytes"
    )
    stats.attempts, stats.first_text_seconds = 3, None
    assert describe(stats, None) == "time: 2.0 s without any text (3 attempts); 3 pieces, 400 bytes"
