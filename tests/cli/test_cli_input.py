"""What is sent: from files, pipes and terminals in any encoding, the right text or none."""

from __future__ import annotations

import locale
import select
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aichatfree.cli.demo import next_step
from aichatfree.cli.proxies import spare_loopback
from aichatfree.cli.reading import decode, read_question
from aichatfree.cli.report import Refusal
from aichatfree.testing import Reply, ScriptedServer

from .running import Command, complaint
from .screen import CTRL_C, CTRL_D

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("option", ["-n", "--no-stdin"])
def test_a_loop_keeps_its_lines(aichatfree: Command, server: ScriptedServer, option: str) -> None:
    loop = f'while read -r name; do {sys.executable} -m aichatfree ask {option} "Who is $name?"; done'
    done = subprocess.run(["/bin/sh", "-c", loop], env=aichatfree.env, input=b"one\ntwo\n", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert [request.prompt for request in server.requests] == ["Who is one?", "Who is two?"]


@pytest.mark.parametrize("args", [["-n", "-"], ["-n", "-f", "-", "Hello"]])
def test_stdin_cannot_be_read_and_left_alone(aichatfree: Command, args: list[str]) -> None:
    assert "leave one of them out" in complaint(aichatfree("ask", *args))


def test_a_silent_pipe_is_not_waited_for_in_silence(aichatfree: Command, server: ScriptedServer) -> None:
    with aichatfree.start("ask", "Hello") as process:
        assert process.stderr is not None
        seen, _, _ = select.select([process.stderr], [], [], 40)
        assert seen
        assert process.poll() is None
        out, err = process.communicate(b"", timeout=20)
    assert (process.returncode, out) == (0, b"Hello from the scripted server.")
    assert b"-n leaves it alone" in err
    assert err.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_files_say_how_they_are_encoded(
    aichatfree: Command, server: ScriptedServer, tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "a.txt").write_bytes("Käse 👋\r\n".encode(encoding))
    assert aichatfree("ask", "-f", str(tmp_path / "a.txt")).returncode == 0
    assert aichatfree("ask", stdin="Käse 👋\r\n".encode(encoding)).returncode == 0
    assert [request.prompt.strip() for request in server.requests] == ["Käse 👋"] * 2


def test_what_bytes_mean(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for big in ("utf-16-be", "utf-32-be", "utf-16-le", "utf-32-le"):
        assert decode("\ufeffä".encode(big), "x") == "ä"
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: "ISO-8859-1")
    assert decode(b"K\xe4se", "x") == "Käse"
    assert decode("Käse".encode(), "x") == "Käse"
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: "ANSI_X3.4-1968")
    assert not capsys.readouterr().err
    assert decode(b"K\xe4se", "x") == "K\ufffdse"
    assert decode(b"\xff\xfeK", "x") == "\ufffd"
    assert capsys.readouterr().err.count("what could not be read was replaced") == 2
    for binary in (b"a\0b", b"\x7fELF\0\xff", "\ufeffa\0".encode("utf-16-le")):
        with pytest.raises(Refusal, match="is no text"):
            decode(binary, "x")
    assert not capsys.readouterr().err


def test_an_argument_that_is_no_text_is_refused(aichatfree: Command, server: ScriptedServer) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aichatfree", "ask", b"K\xe4se"],
        env=aichatfree.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert done.returncode == 2
    assert "not valid UTF-8" in complaint(done)
    assert not server.requests
    with pytest.raises(Refusal, match="cannot read"):
        read_question((), ("a\0b",))


def test_a_pipe_gets_the_exact_bytes_whatever_the_locale(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply("Käse 👋 “quoted”")
    for env in (C_LOCALE, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}):
        done = aichatfree("ask", "Grüße", env=env)
        assert (done.returncode, done.stdout) == (0, "Käse 👋 “quoted”".encode()), env
    assert {request.prompt for request in server.requests} == {"Grüße"}


def test_a_chat_in_a_locale_that_is_not_unicode(aichatfree: Command, server: ScriptedServer) -> None:
    with aichatfree.person("chat", **C_LOCALE) as person:
        person.look(lambda text: text.endswith("\n>"))
        person.type("h\u00e9llo\r")
        person.look("scripted")
        person.look(lambda text: text.endswith("\n>"))
        person.process.send(b"h\xe9llo\r")
        person.look("could not be read as text and was not sent")
        person.look(lambda text: text.endswith("\n>"))
        person.type(CTRL_C)
        person.type(CTRL_D)
        assert person.wait() == 0
    assert [request.prompt for request in server.requests] == ["h\u00e9llo"]


@pytest.mark.parametrize("how", ["variable", "file", "option"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_newline_at_the_end_of_a_password(aichatfree: Command, how: str, end: str) -> None:
    with ScriptedServer(password="open sesame", secret="s3cret") as server:
        env = {"AICHATFREE_BASE_URL": server.url}
        args: list[str] = []
        given = {"password": f"open sesame{end}", "secret": f"s3cret{end}"}
        if how == "variable":
            env.update({f"AICHATFREE_{name.upper()}": value for name, value in given.items()})
        elif how == "option":
            args = [part for name, value in given.items() for part in (f"--{name}", value)]
        else:
            config = aichatfree.home / "config.toml"
            config.touch(0o600)
            escaped = {name: value.replace("\r", "\\r").replace("\n", "\\n") for name, value in given.items()}
            config.write_text("".join(f'{name} = "{value}"\n' for name, value in escaped.items()))
            args = ["--config", str(config)]
        done = aichatfree("ask", *args, "Hello", env=env)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
def test_a_socks_proxy_is_no_obstacle_on_this_machine(aichatfree: Command, server: ScriptedServer, name: str) -> None:
    for scheme in ("socks5", "socks5h", "socks4"):
        done = aichatfree("ask", "Hello", env={name: f"{scheme}://127.0.0.1:9"})
        assert (done.returncode, done.stderr) == (0, b"")


def test_which_servers_are_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for url, spared in (
        ("http://localhost:3000", "localhost"),
        ("http://[::1]:3000", "::1"),
        ("http://127.9.9.9", "127.9.9.9"),
        ("http://me.localhost/x", "me.localhost"),
        ("http://example.org", None),
        ("http://10.0.0.1", None),
        ("http://[broken", None),
        (None, None),
    ):
        monkeypatch.setenv("all_proxy", "socks5://proxy.example:1080")
        monkeypatch.setenv("no_proxy", "other.example")
        spare_loopback(url)
        import os

        assert os.environ["no_proxy"] == (f"other.example,{spared}" if spared else "other.example")
    monkeypatch.setenv("all_proxy", "http://proxy.example:8080")
    monkeypatch.setenv("no_proxy", "")
    spare_loopback("http://localhost")
    assert os.environ["no_proxy"] == ""


@pytest.mark.parametrize("prompt", ["Hello", "-x", "--help", "it's $(touch boom) `x` !\\", "", "two\nlines", "\x1b[2J"])
def test_the_next_step_of_the_demo_can_be_typed(prompt: str) -> None:
    line = next_step(prompt)
    assert "\n" not in line
    program, command, *rest = shlex.split(line)
    assert (program, command) == ("aichatfree", "ask")
    if prompt.isprintable():
        assert rest == [*(["--"] if prompt.startswith("-") else []), prompt]
    else:
        assert rest == ["Hello! Who are you?"]
