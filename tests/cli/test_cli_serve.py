"""``aichatfree serve`` and ``demo``: a server to try things with."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .running import Command, complaint


@contextmanager
def serving(command: Command, *args: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """A server in the foreground: its URL, and what it said first. It ends by Ctrl-C."""
    with command.start("serve", "--port", "0", *args, env=env, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline().decode() + process.stderr.readline().decode()
            yield re.findall(r"http://127\.0\.0\.1:\d+", said)[0], said
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == b"Stopped.\n"


def test_serve_answers_until_ctrl_c(aichatfree: Command) -> None:
    with serving(aichatfree) as (url, said):
        assert f"aichatfree ask --base-url {url}" in said
        done = aichatfree("ask", "--base-url", url, "Hello?")
        assert done.returncode == 0
        assert "“Hello?”" in done.stdout.decode()


def test_serve_wants_what_it_is_told_to(aichatfree: Command) -> None:
    with serving(aichatfree, "--password", "pa55", "--secret", "s3cret", "--reply", "Käse") as (url, said):
        assert "with password and secret" in said
        assert "pa55" not in said
        right = ("--base-url", url, "--password", "pa55", "--secret", "s3cret", "x")
        assert aichatfree("ask", *right).stdout == "Käse".encode()
        assert aichatfree("ask", "--base-url", url, "--password", "pa55", "x").returncode == 1
        assert aichatfree("ask", "--base-url", url, "--secret", "s3cret", "x").returncode == 1


def test_serve_and_ask_agree_where_the_environment_has_the_password(aichatfree: Command) -> None:
    env = {"AICHATFREE_PASSWORD": "pa55", "AICHATFREE_SECRET": "s3cret"}
    with serving(aichatfree, env=env) as (url, said):
        assert "with password and secret" in said
        assert aichatfree("ask", "--base-url", url, "x", env=env).returncode == 0
        assert aichatfree("ask", "--base-url", url, "x").returncode == 1


def test_serve_ends_cleanly_at_sigterm(aichatfree: Command) -> None:
    with aichatfree.start("serve", "--port", "0", stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["--port", "{taken}"], 1, "Address already in use; choose another port"),
        (["--port", "70000"], 2, "70000 is not in the range 0<=x<=65535"),
        (["--port", "http"], 2, "'http' is not a valid integer"),
        (["--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1"),
    ],
)
def test_serve_that_cannot_listen(aichatfree: Command, args: list[str], status: int, words: str) -> None:
    with serving(aichatfree) as (url, _):
        done = aichatfree("serve", *[arg.format(taken=url.rpartition(":")[2]) for arg in args])
    assert done.returncode == status
    assert words in complaint(done)


def test_the_demo_needs_neither_network_nor_settings(aichatfree: Command) -> None:
    env = {
        "AICHATFREE_BASE_URL": "http://127.0.0.1:1",
        "AICHATFREE_PASSWORD": "x",
        "AICHATFREE_SECRET": "y",
        "AICHATFREE_CONFIG": "/missing.toml",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
        "ALL_PROXY": "socks5://127.0.0.1:1",
        "SSL_CERT_FILE": "/missing.pem",
    }
    done = aichatfree("demo", "Can", "you?", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "“Can you?”" in done.stdout.decode()
    assert b"local stand-in" in aichatfree("demo", env=env).stdout


def test_the_demo_refuses_an_empty_prompt(aichatfree: Command) -> None:
    done = aichatfree("demo", " ")
    assert done.returncode == 2
    assert "the prompt is empty" in complaint(done)


def test_the_demo_is_quiet_on_a_closed_pipe(aichatfree: Command) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        done = aichatfree("demo", capture_output=False, stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")
