"""``ask --continue``, and ``aichatfree history`` with what it can do."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from aichatfree.testing import Drop, RecordedRequest, Reply, ScriptedServer

from .running import Command, complaint
from .screen import CTRL_C

EVIL = "a\x1b]0;owned\x07 \x9b4242m b"


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    server.default = lambda request: Reply(f"Re: {request.prompt}")
    return server


@pytest.fixture
def folder(aichatfree: Command) -> Path:
    return aichatfree.home / "state" / "aichatfree" / "conversations"


def texts(request: RecordedRequest) -> list[str]:
    return ["".join(part["text"] for part in message["parts"]) for message in request.contents]


def ids(aichatfree: Command) -> list[str]:
    return [json.loads(line)["id"] for line in aichatfree("history", "--json").stdout.splitlines()]


def test_each_ask_is_a_conversation_and_continue_goes_on_with_the_last(
    aichatfree: Command, server: ScriptedServer
) -> None:
    for question in ("one", "two"):
        assert aichatfree("ask", question).stderr == b""
    for option, question in (("--continue", "three"), ("-c", "four")):
        done = aichatfree("ask", option, question)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"Re: {question}".encode(), b"")
    assert texts(server.requests[-1]) == ["two", "Re: two", "three", "Re: three", "four"]
    assert len(ids(aichatfree)) == 2


@pytest.mark.parametrize("how", [["--json"], ["--no-stream"], ["--plain"], []])
def test_every_way_of_asking_is_kept(aichatfree: Command, server: ScriptedServer, how: list[str]) -> None:
    assert aichatfree("ask", *how, "one").returncode == 0
    assert aichatfree("ask", *how, "-c", "two").returncode == 0
    assert texts(server.requests[-1]) == ["one", "Re: one", "two"]


def test_half_a_reply_is_kept_and_none_is_not(aichatfree: Command, server: ScriptedServer) -> None:
    assert aichatfree("ask", "one").returncode == 0
    server.enqueue(Reply.error(400, "No."))
    assert aichatfree("ask", "refused").returncode == 1
    assert aichatfree("ask", "-c", "two").returncode == 0
    assert texts(server.requests[-1])[0] == "one"
    for how in ([], ["--json"], ["--no-stream"]):
        server.enqueue(*[Reply("Half a", fault=Drop("in-body"))] * 4)
        assert aichatfree("ask", *how, "three").returncode == 1
        server.reset()
        server.default = Reply("whole")
        assert aichatfree("ask", "-c", "four").returncode == 0
        assert texts(server.requests[-1]) == ["three", "Half a", "four"], how


def test_the_system_message_goes_on_and_another_is_told(aichatfree: Command, server: ScriptedServer) -> None:
    assert aichatfree("ask", "-s", "Be brief.", "one").stderr == b""
    done = aichatfree("ask", "-c", "two")
    assert done.stderr == b""
    assert texts(server.requests[-1])[0] == "Be brief.\n\none"
    done = aichatfree("ask", "-c", "-s", "In French.", "three")
    assert complaint(done) == "the system message of this conversation is now: In French.; it was: Be brief."
    assert texts(server.requests[-1])[0] == "In French.\n\none"
    done = aichatfree("ask", "-c", "-s", "", "four")
    assert complaint(done) == "the system message of this conversation is now: none; it was: In French."
    assert texts(server.requests[-1])[0] == "one"


def test_nothing_to_go_on_with(aichatfree: Command, server: ScriptedServer) -> None:
    done = aichatfree("ask", "-c", "one")
    assert done.returncode == 2
    assert "there is no conversation to go on with" in complaint(done)
    assert not server.requests


@pytest.mark.parametrize("how", ["option", "file"])
def test_nothing_is_kept_where_nobody_wants_it(
    aichatfree: Command, server: ScriptedServer, folder: Path, how: str
) -> None:
    assert aichatfree("ask", "before").returncode == 0
    config = aichatfree.home / "config" / "aichatfree" / "config.toml"
    config.parent.mkdir(parents=True)
    if how == "file":
        config.write_text("log = false\n")
    option = ["--no-log"] if how == "option" else []
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    assert aichatfree("ask", *option, "secret").returncode == 0
    assert aichatfree("ask", *option, "-c", "secret too").returncode == 0
    assert texts(server.requests[-1]) == ["before", "Re: before", "secret too"]
    with aichatfree.person("chat", *option) as person:
        person.look(lambda text: text.endswith("\n>"))
        person.type("typed secret\r")
        person.look("Re: typed secret")
        person.look(lambda text: text.endswith("\n>"))
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept
    state = aichatfree.home / "state"
    assert not [path for path in state.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


def test_a_folder_that_cannot_be_written_is_a_warning(aichatfree: Command, server: ScriptedServer) -> None:
    (aichatfree.home / "state").touch()
    done = aichatfree("ask", "one")
    assert (done.returncode, done.stdout) == (0, b"Re: one")
    assert complaint(done).startswith(f"warning: this conversation is not kept: {aichatfree.home}/state")
    assert aichatfree("ask", "--no-log", "one").stderr == b""


def test_the_password_of_an_address_is_not_kept(aichatfree: Command, server: ScriptedServer, folder: Path) -> None:
    url = server.url.replace("http://", "http://me:hunter2@")
    assert aichatfree("ask", "--base-url", url, "one").returncode == 0
    (kept,) = folder.glob("*.json")
    assert f'"base_url": "{server.url}"' in kept.read_text()
    assert "hunter2" not in kept.read_text()


def test_the_list(aichatfree: Command, server: ScriptedServer) -> None:
    done = aichatfree("history")
    assert (done.returncode, done.stdout) == (0, b"")
    assert "no conversation is kept yet" in complaint(done)
    for number in range(22):
        aichatfree("ask", f"question {number}\nand more")
    done = aichatfree("history")
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 20
    assert lines[0].endswith("question 21 and more")
    assert "2 older ones are not shown: aichatfree history -n 0 lists all" in complaint(done)
    assert len(aichatfree("history", "-n", "0").stdout.splitlines()) == 22
    assert len(aichatfree("history", "-n", "3").stdout.splitlines()) == 3
    summary = json.loads(aichatfree("history", "--json").stdout.splitlines()[0])
    assert (summary["turns"], summary["title"]) == (1, "question 21\nand more")
    assert lines[0].startswith(summary["id"])


def test_on_a_terminal_a_line_is_a_line_and_nothing_is_obeyed(aichatfree: Command, server: ScriptedServer) -> None:
    aichatfree("ask", f"{EVIL} 漢字 {'long ' * 40}")
    (name,) = ids(aichatfree)
    for args in (["history"], ["history", "show", "last"], ["history", "search", "long"], ["history", "export", name]):
        with aichatfree.person(*args, columns=60) as person:
            assert person.wait() == 0
        assert b"\x1b]" not in person.raw
        assert b"\x07" not in person.raw
        assert "\x9b" not in person.raw.decode()
        if args == ["history"]:
            (line,) = person.text.splitlines()
            assert line.endswith("…")


def test_show(aichatfree: Command, server: ScriptedServer) -> None:
    aichatfree("ask", "-s", "Be *brief*.", f"one\n{EVIL}")
    aichatfree("ask", "-c", "two")
    done = aichatfree("history", "show", "last")
    assert done.stdout.decode() == (
        f"## System\n\nBe *brief*.\n\n## You\n\none\n{EVIL}\n\n## Assistant\n\nRe: Be *brief*.\n\none\n{EVIL}\n\n"
        "## You\n\ntwo\n\n## Assistant\n\nRe: two\n"
    )
    with aichatfree.person("history", "show", "last") as person:
        assert person.wait() == 0
    assert "> one" in person.text
    assert "Re: two" in person.text


def test_a_pipe_gets_every_letter_whatever_the_locale(aichatfree: Command, server: ScriptedServer) -> None:
    aichatfree("ask", "Käse 漢")
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for args in (["history"], ["history", "show", "last"], ["history", "search", "Re:"], ["history", "export", "last"]):
        done = aichatfree(*args, env=env)
        assert (done.returncode, done.stderr) == (0, b"")
        assert "Käse 漢".encode() in done.stdout, args
        with aichatfree.start(*args) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["show", "x"], "there is no conversation 'x': aichatfree history lists what there is"),
        (["show", "2"], "2 conversations begin with 2, such as "),
        (["delete"], "which? Give ids, or --all"),
        (["delete", "--all", "last"], "which? Give ids, or --all"),
        (["delete", "last"], "--yes deletes without asking"),
        (["export", "last", "-o", "{home}/missing/x.md"], "cannot write {home}/missing/x.md: No such file"),
        (["export", "last", "-o", "{home}"], "{home}"),
        (["shwo"], "shwo"),
    ],
)
def test_mistakes(aichatfree: Command, server: ScriptedServer, args: list[str], words: str) -> None:
    aichatfree("ask", "one")
    aichatfree("ask", "two")
    done = aichatfree("history", *(arg.format(home=aichatfree.home) for arg in args))
    assert done.returncode == 2
    assert words.format(home=aichatfree.home) in complaint(done)
    assert len(ids(aichatfree)) == 2


def test_search(aichatfree: Command, server: ScriptedServer) -> None:
    aichatfree("ask", "-s", "Sprich über Straßen.", "one\nabout Lasagne\nend")
    aichatfree("ask", "two")
    done = aichatfree("history", "search", "ABOUT", "lasagne")
    (line,) = done.stdout.decode().splitlines()
    assert (done.returncode, line.endswith("about Lasagne")) == (0, True)
    assert aichatfree("history", "search", "STRASSEN").returncode == 0
    assert aichatfree("history", "search", "Re: two").stdout.count(b"\n") == 1
    done = aichatfree("history", "search", "pizza")
    assert (done.returncode, done.stdout, complaint(done)) == (1, b"", "no conversation holds this text")


def test_export(aichatfree: Command, server: ScriptedServer, tmp_path: Path) -> None:
    aichatfree("ask", "-s", "Be brief.", "Käse\n")
    markdown = "## System\n\nBe brief.\n\n## You\n\nKäse\n\n## Assistant\n\nRe: Be brief.\n\nKäse\n"
    assert aichatfree("history", "export", "last").stdout.decode() == markdown
    assert aichatfree("history", "export", "last", "-o", "-").stdout.decode() == markdown
    done = aichatfree("history", "export", "last", "-f", "json")
    assert [message["content"] for message in json.loads(done.stdout)["messages"]] == [
        "Be brief.",
        "Käse",
        "Re: Be brief.\n\nKäse",
    ]
    target = tmp_path / "talk.json"
    assert aichatfree("history", "export", "last", "-o", str(target), umask=0).returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    from aichatfree import Client, Conversation

    with Client(server.url) as client:
        assert Conversation.load(target, client=client).messages[1].content == "Käse"
    done = aichatfree("history", "export", "last", "-f", "markdown", "-o", str(target))
    assert done.returncode == 2
    assert complaint(done) == f"{target} exists: --force overwrites it"
    assert aichatfree("history", "export", "last", "-f", "markdown", "--force", "-o", str(target)).returncode == 0
    assert target.read_text("utf-8") == markdown


def test_delete(aichatfree: Command, server: ScriptedServer) -> None:
    for question in ("one", "two", "three", "four"):
        aichatfree("ask", question)
    four, three, *_ = ids(aichatfree)
    done = aichatfree("history", "delete", "--yes", four, "last")
    assert (done.returncode, complaint(done)) == (0, "1 deleted")
    assert len(ids(aichatfree)) == 3
    with aichatfree.person("history", "delete", three) as person:
        person.look("Delete this conversation? [y/N]:")
        person.type("n\r")
        assert person.wait() == 1
    assert len(ids(aichatfree)) == 3
    with aichatfree.person("history", "delete", three) as person:
        person.look("[y/N]:")
        person.type(CTRL_C)
        assert person.wait() == 130
    assert len(ids(aichatfree)) == 3
    with aichatfree.person("history", "delete", "--all") as person:
        person.look("Delete these 3 conversations?")
        person.type("y\r")
        assert person.wait() == 0
    assert ids(aichatfree) == []
    assert complaint(aichatfree("history", "delete", "--all", "--yes")) == "there is nothing to delete"


def test_a_damaged_file_is_told_and_can_be_deleted(aichatfree: Command, server: ScriptedServer, folder: Path) -> None:
    aichatfree("ask", "one")
    aichatfree("ask", "two")
    last, _ = ids(aichatfree)
    (folder / f"{last}.json").write_bytes(b"\xff\x1b]0;x\x07")
    done = aichatfree("history")
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    assert "holds no conversation: it is not JSON ('utf-8' codec" in complaint(done)
    assert complaint(done).endswith(f"aichatfree history delete {last} removes it")
    assert aichatfree("history", "show", last).returncode == 2
    assert aichatfree("ask", "-c", "three").returncode == 0
    assert texts(server.requests[-1])[0] == "one"
    assert aichatfree("history", "delete", "--yes", last).returncode == 0
    assert aichatfree("history").stderr == b""


@pytest.mark.skipif(os.name != "posix", reason="these are permissions of POSIX")
def test_a_history_that_cannot_be_read(aichatfree: Command, server: ScriptedServer) -> None:
    (aichatfree.home / "state").touch()
    for args in (["history"], ["history", "show", "last"], ["ask", "-c", "x"]):
        done = aichatfree(*args)
        assert done.returncode in (1, 2)
        assert str(aichatfree.home / "state") in complaint(done)


def test_two_asks_that_go_on_at_once_keep_both(aichatfree: Command, server: ScriptedServer) -> None:
    aichatfree("ask", "begin")
    with (
        aichatfree.start("ask", "-c", "one", stdin=None) as one,
        aichatfree.start("ask", "-c", "two", stdin=None) as two,
    ):
        for process in (one, two):
            process.communicate(timeout=40)
            assert process.returncode == 0
    aichatfree("ask", "-c", "end")
    said = texts(server.requests[-1])
    assert sorted(said[:-1:2]) == ["begin", "one", "two"]
    assert said[-1] == "end"


def test_verbose_tells_where_the_time_went(aichatfree: Command, server: ScriptedServer) -> None:
    done = aichatfree("ask", "-v", "one")
    (line,) = [line for line in done.stderr.decode().splitlines() if "time: " in line]
    assert "until the first text, " in line
    assert "for the rest; " in line
    assert b"time:" not in aichatfree("ask", "one").stderr


@pytest.mark.parametrize("way", [[], ["--no-stream"], ["--json"]])
def test_verbose_tells_of_every_way_to_ask_where_the_time_went(
    aichatfree: Command, server: ScriptedServer, way: list[str]
) -> None:
    server.enqueue(Reply.overloaded(), Reply("whole"))
    done = aichatfree("ask", "-v", "one", *way)
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.decode().splitlines() if "time: " in line]
    assert "until the first text (2 attempts)" in line
    assert line.endswith("; 1 pieces, 5 bytes")


def test_no_stream_asks_again_for_a_reply_that_broke_off(aichatfree: Command, server: ScriptedServer) -> None:
    server.enqueue(Reply("half", fault=Drop("in-body")), Reply("whole"))
    done = aichatfree("ask", "--no-stream", "one")
    assert (done.returncode, done.stdout) == (0, b"whole")
