"""What a person sees of ``ask`` and ``demo``: Markdown, live, wide and narrow, with and without colours."""

from __future__ import annotations

import time

import pytest

from aichatfree.testing import Drop, Pause, Reply, ScriptedServer

from .running import Command
from .screen import CTRL_C

CODE = "".join(f"print({number})\n" for number in range(40))
MARKDOWN = f"""# Heading

Some *emphasis*, `code`, List<String> and <b>bold</b>,
the next line, [a link](http://example.org/page).

- one
- two

| a | b |
|---|---|
| 1 | 2 |

```python
{CODE}```

The end."""


@pytest.mark.parametrize("columns", [80, 40])
def test_markdown_is_rendered_and_nothing_is_lost_or_doubled(
    aichatfree: Command, server: ScriptedServer, columns: int
) -> None:
    pieces = [MARKDOWN[at : at + 11] for at in range(0, len(MARKDOWN), 11)]
    server.default = Reply(pieces, pause=0.015)
    with aichatfree.person("ask", "Hello", columns=columns) as person:
        assert person.wait() == 0
    words = person.text.split()
    expected = MARKDOWN
    for mark in ("# ", "*", "```python", "`", "|---|---|", "|", "- "):
        expected = expected.replace(mark, "")
    expected = expected.replace("[a link](http://example.org/page)", "a link (http://example.org/page)")
    assert [word for word in words if word not in ("•", "─" * 4)] == expected.split()
    assert "\x1b[" in person.raw.decode()


def test_a_pausing_reply_is_on_the_screen_as_far_as_it_has_come(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(["Half a sen", Pause(None)])
    with aichatfree.person("ask", "Hello") as person:
        person.look("Half a sen")


def test_what_arrived_stays_and_the_reason_stands_below(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply("Half a *reply", fault=Drop("in-body"))
    with aichatfree.person("ask", "Hello") as person:
        assert person.wait() == 1
    lines = person.text.splitlines()
    assert lines[0] == "Half a *reply"
    assert lines[1].startswith("aichatfree: the reply broke off")


def test_no_color_means_no_colours(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(MARKDOWN)
    with aichatfree.person("ask", "Hello", NO_COLOR="1") as person:
        assert person.wait() == 0
    codes = [code for code in person.raw.decode().split("\x1b[")[1:] if code.split("m")[0].replace(";", "").isdigit()]
    colours = {number for code in codes for number in code.split("m")[0].split(";")} & {str(n) for n in range(30, 108)}
    assert not colours
    assert "The end." in person.text


@pytest.mark.parametrize("how", ["plain", "dumb"])
def test_plain_text_on_a_terminal(aichatfree: Command, server: ScriptedServer, how: str) -> None:
    server.default = Reply("# *as it is*\r\n\x1b[2Jevil")
    args = ["--plain"] if how == "plain" else []
    env = {"TERM": "dumb"} if how == "dumb" else {}
    with aichatfree.person("ask", *args, "Hello", **env) as person:
        assert person.wait() == 0
    assert person.text == "# *as it is*\n\ufffd[2Jevil"
    assert person.raw == "# *as it is*\r\n\ufffd[2Jevil\r\n".encode()


def test_a_terminal_without_unicode_gets_what_it_can_show(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply("- “Käse” — 👋…\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    with aichatfree.person("ask", "Hello", PYTHONIOENCODING="ascii") as person:
        assert person.wait() == 0
    assert person.text.splitlines()[0].strip() == '* "K?se" - ?...'
    assert person.raw.isascii()


def test_a_password_is_asked_for_without_echo(aichatfree: Command) -> None:
    with ScriptedServer(password="0pen") as server:
        with aichatfree.person("ask", "--base-url", server.url, "--password", "-", "Hello") as person:
            person.look("Password:")
            time.sleep(0.1)  # until the echo is off
            person.type("0pen\r")
            assert person.wait() == 0
    assert "0pen" not in person.text
    assert server.requests[0].json["pass"] == "0pen"


def test_ctrl_c_at_the_password_ends_it(aichatfree: Command) -> None:
    with aichatfree.person("ask", "--password", "-", "Hello") as person:
        person.look("Password:")
        person.type(CTRL_C)
        assert person.wait() == 130
    assert "Traceback" not in person.text


def test_the_demo_shows_a_reply_and_the_next_step(aichatfree: Command) -> None:
    with aichatfree.person("demo", "Can you hear me?", columns=60) as person:
        assert person.wait() == 0
    assert "local stand-in" in person.text
    assert "Can you hear me?" in person.text
    assert "aichatfree ask" in person.text
