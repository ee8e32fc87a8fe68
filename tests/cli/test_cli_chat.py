"""``aichatfree chat`` as a person uses it: typed keys, and what is on the screen then."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichatfree.testing import Drop, Pause, Reply, ScriptedServer

from .running import Command, complaint
from .screen import ALT_ENTER, CTRL_C, CTRL_D, ENTER, UP, Person


def ready(screen: str) -> bool:
    """Whether the chat waits for a message: an empty prompt is the last thing on the screen."""
    return screen.splitlines()[-1:] == [">"]


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    server.default = lambda request: Reply(["You *said* ", f"{request.prompt}."])
    return server


@pytest.fixture
def person(aichatfree: Command) -> Iterator[Person]:
    with aichatfree.person("chat", columns=160, lines=40) as person:
        person.look(ready)
        yield person
        if person.process.isalive():
            person.type(CTRL_C)
            person.type(CTRL_D)
            assert person.wait() == 0
            assert "Traceback" not in person.text


def say(person: Person, text: str) -> str:
    """Type a line, and wait until the chat has dealt with it; return what appeared."""
    before = person.text
    person.type(text + ENTER)
    after = person.look(lambda screen: ready(screen) and screen != before)
    return after[len(before) :]


def test_a_conversation_remembers(person: Person, server: ScriptedServer) -> None:
    assert "You said one." in say(person, "one")
    assert "You said two." in say(person, "two")
    assert [content["parts"][0]["text"] for content in server.requests[-1].contents] == [
        "one",
        "You *said* one.",
        "two",
    ]
    person.type(CTRL_D)
    assert person.wait() == 0


def test_a_message_of_several_lines(person: Person, server: ScriptedServer) -> None:
    person.type("one" + ALT_ENTER + "two\nthree")  # Ctrl-J is what a newline is
    person.look("three")
    say(person, "")
    assert server.requests[0].prompt == "one\ntwo\nthree"


def test_a_pasted_text_is_one_message(person: Person, server: ScriptedServer) -> None:
    person.type("\x1b[200~one\ntwo\n\x1b[201~")
    person.look("two")
    say(person, "")
    assert server.requests[0].prompt == "one\ntwo\n"


def test_ctrl_c_stops_the_reply_and_keeps_what_had_come(person: Person, server: ScriptedServer) -> None:
    server.enqueue(Reply(["Half a reply", Pause(None)]))
    person.type("one" + ENTER)
    person.look("Half a reply")
    person.type(CTRL_C)
    person.look(ready)
    assert "Stopped. What had come of the reply is kept" in person.text
    server.wait_connections(0)
    say(person, "two")
    assert [content["parts"][0]["text"] for content in server.requests[-1].contents] == ["one", "Half a reply", "two"]


def test_ctrl_c_before_any_text_leaves_the_message_for_retry(person: Person, server: ScriptedServer) -> None:
    server.enqueue(Reply([Pause(None)]))
    person.type("one" + ENTER)
    server.wait_requests(1)
    person.type(CTRL_C)
    person.look("/retry sends it again")
    person.look(ready)
    assert "You said one." in say(person, "/retry")


def test_what_is_typed_during_a_reply_comes_after_it(person: Person, server: ScriptedServer) -> None:
    server.enqueue(Reply(["First ", Pause(0.6), "reply"]))
    person.type("one" + ENTER)
    person.look("First")
    person.type("two" + ENTER + "thr")
    person.look("You said two.")
    person.look(lambda screen: screen.endswith("> thr"))
    person.type("ee" + ENTER)
    person.look("You said three.")
    assert "First reply\n\n> two" in person.text  # nothing was echoed into the reply


def test_what_is_typed_during_a_reply_survives_ctrl_c(person: Person, server: ScriptedServer) -> None:
    server.enqueue(Reply(["First ", Pause(None)]))
    person.type("one" + ENTER)
    person.look("First")
    person.type("typed blindly")
    person.type(CTRL_C)
    person.look(lambda screen: screen.endswith("> typed blindly"))


def test_ctrl_c_at_the_prompt_keeps_what_was_typed(person: Person, server: ScriptedServer) -> None:
    person.type("half a thought")
    person.look("half a thought")
    person.type(CTRL_C)
    person.look(ready)
    person.type(UP)
    person.look(lambda screen: screen.endswith("> half a thought"))
    assert "You said half a thought." in say(person, "")


def test_what_was_typed_is_there_in_the_next_chat_even_after_a_kill(aichatfree: Command, person: Person) -> None:
    say(person, "first line")
    person.process.kill(9)
    with aichatfree.person("chat") as again:
        again.look(ready)
        again.type(UP)
        again.look("> first line")
    history = aichatfree.home / "state" / "aichatfree" / "chat_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_a_failure_is_told_and_the_chat_goes_on(person: Person, server: ScriptedServer) -> None:
    server.enqueue(Reply.error(401, "Invalid password."), Reply("Half", fault=Drop("in-body")))
    failed = say(person, "one")
    assert "aichatfree: HTTP 401" in failed
    assert "/retry sends it again" in failed
    failed = say(person, "/retry")
    assert "Half\naichatfree: the reply broke off" in failed
    assert "What had come of the reply is kept" in failed
    assert "You said one." in say(person, "/retry")
    assert len(server.requests[-1].contents) == 1


def test_undo_and_retry(person: Person, server: ScriptedServer) -> None:
    say(person, "one")
    say(person, "two")
    assert "Took back: two" in say(person, "/undo")
    say(person, "/retry")
    assert [len(request.contents) for request in server.requests] == [1, 3, 1]
    say(person, "/undo")
    assert "aichatfree: there is no turn to undo" in say(person, "/undo")


def test_system_and_clear(person: Person, server: ScriptedServer) -> None:
    assert "The system message: Be brief." in say(person, "/system Be brief.")
    say(person, "one")
    assert server.requests[0].prompt == "Be brief.\n\none"
    say(person, "/clear")
    say(person, "two")
    assert server.requests[1].prompt == "Be brief.\n\ntwo"
    assert "The system message: none" in say(person, "/system -")


def test_save_keeps_the_file_up_to_date_and_load_goes_on(
    aichatfree: Command, person: Person, server: ScriptedServer, tmp_path: Path
) -> None:
    path = tmp_path / "talk.json"
    say(person, "one")
    say(person, f"/save {path}")
    say(person, "two")
    assert [message["content"] for message in json.loads(path.read_text())["messages"]][::2] == ["one", "two"]
    assert "The old one stays in" in say(person, "/clear")
    say(person, "three")
    assert "/save! " in say(person, f"/save {path}")
    loaded = say(person, f"/load {path}").replace("\n", " ")
    assert "The old one stays in the history as " in loaded
    assert "> two" in loaded
    person.type("/exit" + ENTER)
    assert person.wait() == 0
    with aichatfree.person("chat", "--resume", str(path)) as again:
        assert "You said two." in again.look(ready)
        say(again, "four")
    assert len(server.requests[-1].contents) == 5
    assert len(json.loads(path.read_text())["messages"]) == 6


def test_a_file_that_cannot_be_used_is_told(person: Person, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[]")
    assert "aichatfree: there is no" in say(person, f"/load {tmp_path}/missing.json")
    assert "holds no conversation" in say(person, f"/load {tmp_path}/bad.json")
    say(person, "one")
    assert "aichatfree: " in say(person, f"/save {tmp_path}/missing/talk.json")
    assert "where to?" in say(person, "/save")
    assert "You said two." in say(person, "two")


def test_files_are_completed_and_kept_by_their_link(person: Person, tmp_path: Path) -> None:
    say(person, "one")
    (tmp_path / "a-real-file.json").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "a-real-file.json")
    say(person, f"/save! {tmp_path}/link.json")
    say(person, "/save")
    say(person, "/undo")
    assert "what? Give a file" in say(person, "/load")
    person.type(f"/load {tmp_path}/a-re\t")
    person.look(f"{tmp_path}/a-real-file.json")
    assert "Loaded" in say(person, "")
    assert (tmp_path / "link.json").is_symlink()


def test_resume_with_another_system_message(aichatfree: Command, server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"version": 1, "messages": [{"role": "system", "content": "Old."}]}')
    with aichatfree.person("chat", "--resume", str(path), "--system", "New.") as person:
        person.look(ready)
        say(person, "one")
    assert server.requests[0].prompt == "New.\n\none"
    assert json.loads(path.read_text())["messages"][0]["content"] == "New."


def test_without_a_place_for_the_history_the_chat_works(aichatfree: Command, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with aichatfree.person("chat") as person:
        person.look(ready)
        assert "what you type is remembered in this chat only" in person.text
        assert "You said one." in say(person, "one")
        person.type(UP)
        person.look(lambda screen: screen.endswith("> one"))


def test_many_ctrl_c_do_no_harm(person: Person, server: ScriptedServer) -> None:
    server.enqueue(Reply.endless("words ", pause=0.001))
    person.type("one" + ENTER)
    person.look("words")
    for _ in range(5):
        person.type(CTRL_C)
    person.look("is kept")
    person.look(ready)
    person.type("two" + ENTER)
    person.look("You said two.")
    person.look(ready)


def test_ctrl_c_while_a_turn_is_kept_loses_nothing(aichatfree: Command, server: ScriptedServer) -> None:
    done = aichatfree.run_python(
        "import os, signal\n"
        "from aichatfree import Client\n"
        "from aichatfree.cli import session, signals\n"
        "signals.arm(); signals.working(True); signals.go_on(lambda: print('Ctrl-C'))\n"
        f"chat = session.Chat(Client({server.url!r}), log=False, plain=True)\n"
        "keep = chat.keep\n"
        "chat.keep = lambda: (os.kill(os.getpid(), signal.SIGINT), keep())\n"
        "chat.say('one')\n"
        "print([tuple(message.content for message in turn) for turn in chat.talk.turns])\n"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode()
    assert shown.count("Ctrl-C") == 2
    assert shown.splitlines()[-1] == "[('one', 'You *said* one.')]"


def test_a_file_that_is_never_ready_can_be_given_up(person: Person, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    person.type(f"/file {tmp_path}/pipe" + ENTER)
    person.look("/pipe")
    deadline = time.monotonic() + 20
    while HINT not in person.text and time.monotonic() < deadline:
        person.process.kill(signal.SIGINT)
        person.watch(0.2)
    person.look(ready)
    assert HINT in person.text
    assert "You said two." in say(person, "two")


HINT = "Ctrl-D ends the chat; the Up key"


def test_ctrl_c_between_two_prompts_does_no_harm(person: Person) -> None:
    """At whatever moment it comes, also while it is said what the one before it meant."""
    for count in range(1, 9):
        for _ in range(20):  # the system makes one of those that come before the last was taken notice of
            person.process.kill(signal.SIGINT)
        person.look(lambda screen, count=count: screen.count(HINT) >= count and ready(screen))  # type: ignore[misc]
    # The last of them may come while this is typed, and gives that up.
    assert any("You said two." in say(person, "two") for _ in range(20))


def test_an_unknown_command_is_not_sent(person: Person, server: ScriptedServer) -> None:
    assert "there is no command /etc/hosts: /help lists them" in say(person, "/etc/hosts what is it?")
    assert not server.requests
    say(person, " /etc/hosts what is it?")
    assert server.requests[0].prompt.strip() == "/etc/hosts what is it?"


def test_help_lists_every_command_and_tab_completes(person: Person) -> None:
    person.type("/he\t")
    person.look("> /help")
    shown = say(person, "")
    for command in ("/undo", "/retry", "/save", "/load", "/system", "/clear", "/help", "Ctrl-D"):
        assert command in shown


def test_empty_messages_are_not_sent(person: Person, server: ScriptedServer) -> None:
    person.type(ENTER + "  " + ENTER)
    say(person, "/help")
    assert not server.requests


def test_a_narrow_window_without_colours_and_unicode(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply("- “Käse” and a few more words than fit on one line of forty")
    with aichatfree.person("chat", columns=40, NO_COLOR="1", PYTHONIOENCODING="ascii") as person:
        person.look(ready)
        shown = say(person, "one")
        assert '* "K?se" and a few more words' in shown
        person.type(CTRL_D)
        assert person.wait() == 0
    assert person.raw.isascii()


def test_a_terminal_is_needed(aichatfree: Command) -> None:
    done = aichatfree("chat", stdin=b"hello\n")
    assert done.returncode == 2
    assert "use aichatfree ask" in complaint(done)


def test_resume_of_a_missing_file(aichatfree: Command) -> None:
    with aichatfree.person("chat", "--resume", "missing.json") as person:
        assert person.wait() == 2
    assert "aichatfree: there is no missing.json: /save in a chat writes such a file" in person.text.replace("\n", "")
