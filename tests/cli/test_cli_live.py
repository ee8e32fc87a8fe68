"""A reply while it grows: drawn in place, shown once, whatever the window and its characters."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from aichatfree.testing import Pause, Reply, ScriptedServer

from .running import Command
from .screen import CTRL_C

EMOJI = "👩\u200d🚀🏳️\u200d🌈👨\u200d👩\u200d👧❤️ four astronauts and a flag in every line of this text "


def test_wide_characters_leave_no_copies_behind(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply([EMOJI] * 30, pause=0.03)
    with aichatfree.person("ask", "Hello", columns=60) as person:
        assert person.wait() == 0
    assert re.sub(r"[^a-z]", "", person.text).count("astronauts") == 30
    person.assert_left_as_found()


def test_neither_does_a_window_that_changes(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply([f"word{number} " for number in range(120)], pause=0.02)
    with aichatfree.person("ask", "Hello") as person:
        for columns, lines in ((100, 24), (60, 24), (120, 30), (50, 30), (90, 30)):
            person.watch(0.4)
            person.resize(columns, lines)
        assert person.wait() == 0
    shown = Counter(re.findall(r"word\d+", person.text))
    assert set(shown.values()) == {1}
    assert len(shown) == 120


@pytest.mark.parametrize(
    ("env", "size"),
    [
        ({"COLUMNS": "0"}, (80, 24)),
        ({"COLUMNS": "0", "LINES": "0"}, (80, 24)),
        ({"COLUMNS": "a"}, (80, 24)),
        ({"COLUMNS": "7"}, (80, 24)),
        ({"COLUMNS": "99999"}, (60, 24)),
        ({}, (1, 1)),
        ({}, (2, 3)),
        ({}, (80, 1)),
    ],
)
def test_no_size_hides_the_reply(
    aichatfree: Command, server: ScriptedServer, env: dict[str, str], size: tuple[int, int]
) -> None:
    server.default = Reply(["# Head\n\n- a *reply* ", "with words\n", "\n| a | b |\n|---|---|\n| c | d |\n"], pause=0.1)
    with aichatfree.person("ask", "Hello", columns=size[0], lines=size[1], **env) as person:
        assert person.wait() == 0
    sent = re.sub(rb"\x1b\[[\d;?]*[A-Za-z]|\s", b"", person.raw).decode()
    assert "Head" in sent
    assert "areplywithwords" in sent


def test_a_terminal_that_does_not_know_its_size(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply("Hello *there*.")
    with aichatfree.person("ask", "Hello", columns=80) as person:
        person.process.setwinsize(0, 0)
        assert person.wait() == 0
    assert "Hello there." in person.text


def test_code_streams_and_is_copied_as_it_was_written(aichatfree: Command, server: ScriptedServer) -> None:
    code = [f"line{number} = " + " + ".join(f"value_{number}" for number in range(20)) for number in range(40)]
    server.default = Reply(["```python\nif True:\n\tpass\n" + "\n".join(code), "\n", Pause(None)])
    with aichatfree.person("ask", "Hello", columns=60) as person:
        person.look("line39")
        person.type(CTRL_C)
        assert person.wait() == 130
    sent = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", person.raw.decode()).replace("\r", "")
    assert all(f"\n{line}\n" in sent for line in code[:-1])
    assert Counter(re.findall(r"line\d+", person.text)) == Counter(f"line{number}" for number in range(40))
    person.assert_left_as_found()


def test_log_lines_stand_above_what_is_drawn(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(["Half a reply", Pause(0.3), " and the rest."])
    with aichatfree.person("ask", "-v", "Hello", columns=200) as person:
        assert person.wait() == 0
    lines = person.text.splitlines()
    assert sum("Half a reply" in line for line in lines) == 1
    assert "Half a reply and the rest." in lines
    assert all(re.match(r"\d\d:\d\d:\d\d", line) for line in lines if "Half" not in line)


def test_newlines_of_any_kind_on_a_plain_terminal(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(["a\r", "\nb\rc\u2028d\r", "e\r"])
    with aichatfree.person("ask", "--plain", "Hello") as person:
        assert person.wait() == 0
    assert person.raw == b"a\r\nb\r\nc\r\nd\r\ne\r\n"
