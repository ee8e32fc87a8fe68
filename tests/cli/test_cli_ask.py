"""``aichatfree ask`` as a script uses it: pipes, files, exit statuses, signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from aichatfree.testing import Drop, Pause, ProxyServer, Reply, ScriptedServer

from .running import Command, complaint

TEXT = "# Käse\r\n\n*not* rendered \x1b[31m 👋\ttab, no newline at the end"


def test_a_piped_reply_is_written_byte_for_byte(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(TEXT, split=1)
    done = aichatfree("ask", "Hello", "there")
    assert (done.returncode, done.stdout, done.stderr) == (0, TEXT.encode(), b"")
    assert server.requests[0].prompt == "Hello there"


def test_each_piece_is_written_when_it_arrives(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(["first ", Pause(None), "never"])
    with aichatfree.start("ask", "Hello", stdin=DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"first "
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stdout.read() == b""
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("args", "stdin", "sent"),
    [
        (["What?"], None, "What?"),
        ([], b"from a pipe\n", "from a pipe"),
        (["What went wrong?"], b"line 1\nline 2\n", "line 1\nline 2\n\nWhat went wrong?"),
        (["-f", "a.txt", "-f", "b.txt", "Compare"], None, "text of a\n\ntext of b\n\nCompare"),
        (["--file", "a.txt"], b"piped", "text of a\n\npiped"),
        (["-f", "-", "-f", "a.txt"], b"piped", "piped\n\ntext of a"),
        (["--", "-x"], None, "-x"),
        (["-"], b"piped", "piped"),
        ([], "\ufeffmarked".encode("utf-16-le"), "marked"),
    ],
)
def test_the_prompt_comes_from_arguments_stdin_and_files(
    aichatfree: Command, server: ScriptedServer, tmp_path: Path, args: list[str], stdin: bytes | None, sent: str
) -> None:
    (tmp_path / "a.txt").write_text("text of a\n")
    (tmp_path / "b.txt").write_text("\ufefftext of b\n", "utf-8")
    done = aichatfree("ask", *args, stdin=stdin, cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd())})
    assert done.returncode == 0, done.stderr
    assert server.requests[0].prompt == sent


def test_the_system_text_goes_before_the_prompt(aichatfree: Command, server: ScriptedServer) -> None:
    assert aichatfree("ask", "--system", "Be brief.", "Hello").returncode == 0
    assert server.requests[0].prompt == "Be brief.\n\nHello"


def test_input_that_is_no_utf8_is_sent_with_a_warning(aichatfree: Command, server: ScriptedServer) -> None:
    done = aichatfree("ask", stdin=b"caf\xe9")
    assert done.returncode == 0
    assert server.requests[0].prompt == "caf\ufffd"
    assert "stdin is no valid UTF-8" in complaint(done)


@pytest.mark.parametrize("option", [[], ["--no-stream"]])
def test_what_arrived_is_printed_when_the_reply_breaks_off(
    aichatfree: Command, server: ScriptedServer, option: list[str]
) -> None:
    server.default = Reply(["Half a ", "reply"], fault=Drop("in-body"))
    done = aichatfree("ask", *option, "Hello")
    assert (done.returncode, done.stdout) == (1, b"Half a reply")
    assert "broke off" in complaint(done)
    assert len(server.requests) == (3 if option else 1)


def test_json_holds_the_text_and_what_it_took(aichatfree: Command, server: ScriptedServer) -> None:
    server.enqueue(Reply.overloaded(), Reply("Käse\n"))
    done = aichatfree("ask", "--json", "Hello")
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert (result["text"], result["attempts"]) == ("Käse\n", 2)
    assert 0 <= result["first_text_seconds"] <= result["seconds"]
    assert "error" not in result
    assert "ä".encode() in done.stdout


def test_json_of_a_failure_holds_the_partial_text(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply("Käse", fault=Drop("in-body"))
    done = aichatfree("ask", "--json", "Hello", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    result = json.loads(done.stdout.decode("ascii"))
    assert (result["text"], result["error"]["type"]) == ("Käse", "StreamInterruptedError")
    assert result["error"]["message"] in complaint(done)


def test_a_closed_pipe_is_no_trouble(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply.endless("A line of text\n", pause=0.001)
    with aichatfree.start("ask", "Hello", stdin=DEVNULL) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"A line of text\n"
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""
    server.wait_connections(0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(aichatfree: Command) -> None:
    with open("/dev/full", "wb") as full:
        done = aichatfree("ask", "Hello", stdout=full, stderr=PIPE)
    assert done.returncode == 1
    assert "cannot write the output: No space left on device" in complaint(done)


def test_a_closed_stdout_is_no_trouble(aichatfree: Command) -> None:
    script = f'exec "{sys.executable}" -X dev -W error -m aichatfree ask Hello >&-'
    done = subprocess.run(["/bin/sh", "-c", script], env=aichatfree.env, stdin=DEVNULL, stderr=PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("args", ["ask", "ask -f -", "batch - -o out.jsonl"])
def test_a_closed_stdin_is_an_empty_one(aichatfree: Command, tmp_path: Path, args: str) -> None:
    script = f'exec "{sys.executable}" -m aichatfree {args} <&-'
    env = {"PYTHONPATH": str(Path.cwd()), **aichatfree.env}
    done = subprocess.run(["/bin/sh", "-c", script], env=env, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == (2 if args.startswith("ask") else 0)
    assert ("the prompt is empty" if args.startswith("ask") else "all 0 lines are done") in complaint(done)


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["ask"], 2, "the prompt is empty"),
        (["ask", "  "], 2, "the prompt is empty"),
        (["ask", "-f", "missing.txt"], 2, "cannot read missing.txt: No such file or directory"),
        (["ask", "-f", "."], 2, "cannot read .: Is a directory"),
        (["ask", "--nope", "x"], 2, "No such option '--nope'"),
        (["ask", "--base-url", "example.com", "x"], 2, "--base-url 'example.com' must begin with http://"),
        (["ask", "--proxy", "ftp://127.0.0.1:1", "x"], 2, "must begin with http://, https://, socks5://"),
        (["ask", "--timeout", "0", "x"], 2, "--timeout is 0.0: give seconds as a positive number"),
        (["ask", "--timeout", "soon", "x"], 2, "'soon' is not a valid float"),
        (["ask", "--config", "missing.toml", "x"], 2, "there is no config file missing.toml"),
        (["ask", "--password", "-", "x"], 2, "set AICHATFREE_PASSWORD instead"),
        (["ask", "--base-url", "http://127.0.0.1:1", "x"], 1, "nothing accepts connections there"),
        (["aks", "x"], 2, "there is no command 'aks': the commands are ask, chat"),
        (["--nope"], 2, "No such option '--nope'"),
    ],
)
def test_a_mistake_gives_one_line_that_helps(aichatfree: Command, args: list[str], status: int, words: str) -> None:
    done = aichatfree(*args, start_new_session=True)  # no terminal to ask at, also where the tests have one
    assert (done.returncode, done.stdout) == (status, b"")
    assert words in complaint(done)


def test_binary_input_is_refused(aichatfree: Command, server: ScriptedServer) -> None:
    done = aichatfree("ask", "What is it?", stdin=b"\x7fELF\0\0")
    assert done.returncode == 2
    assert "stdin is no text" in complaint(done)
    assert not server.requests


def test_a_wrong_password_names_the_option(aichatfree: Command, tmp_path: Path) -> None:
    with ScriptedServer(password="right") as server:
        done = aichatfree("ask", "--base-url", server.url, "--password", "wr0ng", "Hello")
        assert done.returncode == 1
        assert "--password -" in complaint(done)
        assert b"wr0ng" not in done.stderr
        assert aichatfree("ask", "--base-url", server.url, "--password", "right", "Hello").returncode == 0


def test_a_proxy_is_used(aichatfree: Command, server: ScriptedServer) -> None:
    with ProxyServer() as proxy:
        assert aichatfree("ask", "--proxy", proxy.url, "Hello").returncode == 0
        assert proxy.targets


def test_a_timeout_counts(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(["Hello", Pause(None)])
    done = aichatfree("ask", "--timeout", "0.3", "Hello")
    assert (done.returncode, done.stdout) == (1, b"Hello")
    assert "0.3" in complaint(done)


def test_verbose_tells_what_happens_without_secrets(aichatfree: Command) -> None:
    with ScriptedServer(password="pa55", secret="s3cret") as server:
        args = ["--base-url", server.url, "--password", "pa55", "--secret", "s3cret", "Hello"]
        done = aichatfree("ask", "--verbose", *args)
        before = aichatfree("--verbose", "ask", *args)
    assert done.returncode == before.returncode == 0
    for text in (done.stderr.decode(), before.stderr.decode()):
        assert "HTTP 200" in text
        assert server.url in text
        assert "pa55" not in text
        assert "s3cret" not in text


def test_a_server_cannot_steer_the_terminal_through_its_errors(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply.error(500, "evil \x1b]0;title\x07\nmore \x9b31m")
    done = aichatfree("ask", "Hello")
    assert done.returncode == 1
    assert not any(character in complaint(done) for character in "\x1b\x07\x9b")
