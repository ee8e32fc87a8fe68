"""What a chat keeps, and what it goes on with."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichatfree.testing import Pause, RecordedRequest, Reply, ScriptedServer

from .running import Command
from .screen import CTRL_D, ENTER, Person
from .test_cli_chat import ready, say


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    server.default = lambda request: Reply(f"Re: {request.prompt}.")
    return server


@pytest.fixture
def person(aichatfree: Command) -> Iterator[Person]:
    with aichatfree.person("chat", columns=160, lines=40) as person:
        person.look(ready)
        yield person
        if person.process.isalive():
            leave(person)
            assert "Traceback" not in person.text


def leave(person: Person) -> None:
    person.type(CTRL_D)
    assert person.wait() == 0


def texts(request: RecordedRequest) -> list[str]:
    return ["".join(part["text"] for part in message["parts"]) for message in request.contents]


def asked(path: Path) -> list[str]:
    return [message["content"] for message in json.loads(path.read_text())["messages"] if message["role"] == "user"]


def kept(aichatfree: Command) -> list[list[str]]:
    """The contents of all conversations, the newest first."""
    paths = (json.loads(line)["path"] for line in aichatfree("history", "--json").stdout.splitlines())
    return [[message["content"] for message in json.loads(Path(path).read_text())["messages"]] for path in paths]


def test_every_turn_is_kept_and_taken_back(aichatfree: Command, person: Person, server: ScriptedServer) -> None:
    assert kept(aichatfree) == []
    say(person, "one")
    assert kept(aichatfree) == [["one", "Re: one."]]
    say(person, "two")
    say(person, "/undo")
    assert kept(aichatfree) == [["one", "Re: one."]]
    server.default = Reply("better")
    say(person, "/retry")
    assert kept(aichatfree) == [["one", "better"]]
    say(person, "/system Be brief.")
    assert kept(aichatfree) == [["Be brief.", "one", "better"]]
    assert "The old one stays in the history as 2" in say(person, "/clear")
    say(person, "three")
    assert kept(aichatfree) == [["Be brief.", "three", "better"], ["Be brief.", "one", "better"]]


def test_a_question_that_was_asked_when_the_machine_went_down_is_there(
    aichatfree: Command, person: Person, server: ScriptedServer
) -> None:
    say(person, "one")
    server.enqueue(Reply([Pause(None)]))
    person.type("a long thought" + ENTER)
    server.wait_requests(2)
    person.process.kill(9)
    with aichatfree.person("chat", "--continue", columns=160) as again:
        again.look(ready)
        assert "> a long thought\nThis got no answer: /retry sends it again." in again.text
        assert "Re: a long thought." in say(again, "/retry")
    assert kept(aichatfree) == [["one", "Re: one.", "a long thought", "Re: a long thought."]]


def test_continue_goes_on_with_the_last_and_resume_with_any(aichatfree: Command, server: ScriptedServer) -> None:
    aichatfree("ask", "first")
    aichatfree("ask", "second")
    with aichatfree.person("chat", "-c") as person:
        person.look(ready)
        assert "> second\nRe: second." in person.text
        say(person, "third")
    assert texts(server.requests[-1]) == ["second", "Re: second.", "third"]
    first = json.loads(aichatfree("history", "--json").stdout.splitlines()[-1])["id"]
    with aichatfree.person("chat", "--resume", first) as person:
        person.look(ready)
        say(person, "fourth")
        say(person, "/load last")
        leave(person)
    assert texts(server.requests[-1]) == ["first", "Re: first.", "fourth"]
    assert len(kept(aichatfree)) == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--continue"], "there is no conversation to go on with"),
        (["--resume", "nothing"], "there is no nothing: /save in a chat writes such a file"),
        (["--continue", "--resume", "x"], "give one of them"),
    ],
)
def test_nothing_to_go_on_with(aichatfree: Command, args: list[str], words: str) -> None:
    with aichatfree.person("chat", *args, columns=200) as person:
        assert person.wait() == 2
    assert words in person.text


def test_another_system_message_is_told(aichatfree: Command, server: ScriptedServer, tmp_path: Path) -> None:
    aichatfree("ask", "-s", "Old.", "one")
    config = tmp_path / "config.toml"
    config.write_text('system = "From the file."')
    with aichatfree.person("chat", "-c", "--config", str(config), columns=160) as person:
        person.look(ready)
        assert "system message" not in person.text
        say(person, "two")
    assert texts(server.requests[-1])[0] == "Old.\n\none"
    with aichatfree.person("chat", "-c", "-s", "New.", columns=160) as person:
        person.look(ready)
        assert "the system message of this conversation is now: New.; it was: Old." in person.text
        say(person, "three")
    assert texts(server.requests[-1])[0] == "New.\n\none"


def test_load_while_a_system_message_is_set(person: Person, server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"version": 1, "messages": [{"role": "user", "content": "a"}, {"role": "model", "content": "b"}]}')
    say(person, "/system Be brief.")
    assert "Loaded" in say(person, f"/load {path}")
    say(person, "c")
    assert texts(server.requests[-1]) == ["a", "b", "c"]


def test_what_is_kept_nowhere_is_not_left(aichatfree: Command, server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    with aichatfree.person("chat", "--no-log", columns=160) as person:
        person.look(ready)
        say(person, "one")
        assert "would be lost: /save it, or /clear it, first" in say(person, f"/load {path}")
        say(person, f"/save {path}")
        say(person, "two")
        assert "Loaded" in say(person, f"/load {path}")
    assert len(json.loads(path.read_text())["messages"]) == 4


def test_a_link_to_itself_ends_no_chat(person: Person, server: ScriptedServer, tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    say(person, "one")
    for command in ("/save", "/save!", "/load", "/file"):
        assert "aichatfree: " in say(person, f"{command} {loop}")
    for name in ("~nobody-of-that-name/x", str(tmp_path), "/dev/null/x"):
        for command in ("/save!", "/load", "/file"):
            assert "aichatfree: " in say(person, f"{command} {name}"), (command, name)
    assert loop.is_symlink()
    assert "Re: two." in say(person, "two")


def test_files_go_along_with_the_next_message(person: Person, server: ScriptedServer, tmp_path: Path) -> None:
    note = tmp_path / "a note.txt"
    note.write_text("the note\n", "utf-8")
    assert "No file goes along" in say(person, "/file")
    assert "(9 characters)" in say(person, f'/file "{note}"')
    assert "No file goes along" in say(person, "/file -")
    say(person, f"/file {note}")
    say(person, f"/file {note}")
    say(person, "What is it?")
    assert server.requests[-1].prompt == "the note\n\nthe note\n\nWhat is it?"
    say(person, "And now?")
    assert server.requests[-1].prompt == "And now?"
    assert "missing.txt" in say(person, f"/file {tmp_path}/missing.txt")
    person.type(f"/file {tmp_path}/a n\t")
    person.look("a note.txt")
    say(person, "")


@pytest.mark.parametrize(("typed", "meant"), [("/halp", "/help"), ("/sav x", "/save"), ("/Retry", "/retry")])
def test_a_typing_error_gets_a_suggestion(person: Person, server: ScriptedServer, typed: str, meant: str) -> None:
    assert f"did you mean {meant}?" in say(person, typed)
    assert not server.requests


@pytest.mark.parametrize("command", ["/quit", "/exit"])
def test_leaving(aichatfree: Command, server: ScriptedServer, command: str) -> None:
    with aichatfree.person("chat") as person:
        person.look(ready)
        person.type(command + ENTER)
        assert person.wait() == 0


def test_a_saved_file_and_the_history_are_one_conversation(
    aichatfree: Command, person: Person, server: ScriptedServer, tmp_path: Path
) -> None:
    path = tmp_path / "talk.json"
    say(person, "one")
    say(person, f"/save {path}")
    leave(person)
    for number in range(2):
        with aichatfree.person("chat", "--resume", str(path)) as again:
            again.look(ready)
            say(again, f"more {number}")
            leave(again)
    assert len(kept(aichatfree)) == 1
    assert kept(aichatfree)[0] == [message["content"] for message in json.loads(path.read_text())["messages"]]
    assert aichatfree("ask", "-c", "end").returncode == 0
    assert len(texts(server.requests[-1])) == 7


def test_two_chats_on_one_file_keep_both_and_say_so(
    aichatfree: Command, server: ScriptedServer, tmp_path: Path
) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"version": 1, "messages": [{"role": "user", "content": "a"}, {"role": "model", "content": "b"}]}')
    with (
        aichatfree.person("chat", "--resume", str(path), columns=160) as one,
        aichatfree.person("chat", "--resume", str(path), columns=160) as two,
    ):
        one.look(ready)
        two.look(ready)
        say(one, "from one")
        assert "Another program has written to this conversation as well" in say(two, "from two")
        say(one, "one again")
        assert asked(path) == ["a", "from one", "from two", "one again"]
        say(two, "/undo")
        leave(one)
        leave(two)
    assert asked(path) == ["a", "from one", "one again"]


def test_a_file_that_cannot_be_written_any_more_is_told_and_the_chat_goes_on(
    aichatfree: Command, person: Person, server: ScriptedServer, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    say(person, "one")
    say(person, f"/save {folder}/talk.json")
    (folder / "talk.json").write_text("somebody's notes")
    assert "the conversation is not saved: " in say(person, "two")
    assert (folder / "talk.json").read_text() == "somebody's notes"
    assert kept(aichatfree)[0][::2] == ["one", "two"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_question_outlives_every_signal(
    aichatfree: Command, person: Person, server: ScriptedServer, number: signal.Signals
) -> None:
    server.enqueue(Reply(["Half a reply", Pause(None)]))
    person.type("one" + ENTER)
    person.look("Half a reply")
    person.process.kill(number)
    person.process.wait()
    assert "one" in aichatfree("history", "show", "last" if kept(aichatfree)[0] else "2").stdout.decode()
