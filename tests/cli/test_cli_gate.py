"""What reaches a terminal: text and the colours of this program. What reaches a pipe: the exact bytes."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.table import Table
from rich.text import Text

from aichatfree.cli.console import SafeConsole
from aichatfree.cli.filter import coloured, edited, escape_json, one_line, visible
from aichatfree.cli.terminal import Screen
from aichatfree.testing import Reply, ScriptedServer

from .running import Command
from .screen import CTRL_D, ENTER

STEERING = "\x1b]0;AC\x07 \x9b4242m \x90 \x7f \u202e \u2066 \u200f \x08 \x0e"
REPLIES = {
    "text": f"a {STEERING} b",
    "emphasis": f"**a {STEERING} b**",
    "code": f"`a {STEERING} b`\n\n```python\n# a {STEERING} b\n```\n\n```{STEERING}\nb\n```",
    "heading": f"# a {STEERING} b",
    "table": f"| a {STEERING} b |\n|---|\n| {STEERING} |",
    "link": f"[a {STEERING} b](http://x.example/{STEERING.replace(' ', '')} '{STEERING}')",
    "autolink": "<http://x.example/%1b]0;AC%07%c2%9b4242m%e2%80%ae>",
    "entities": "a &#27;]0;AC&#7; &#x9b;4242m &#x202e; b",
    "html": f"<b title='{STEERING}'>b</b>",
}


def assert_harmless(raw: bytes, *, moves: str = "") -> None:
    """There is nothing in it that a terminal obeys but colours and the movements of this program."""
    text = raw.decode("utf-8", "replace")
    ours = re.sub(r"\x1b\[(\?(25|7|2004|1|12)[hl]|[\d;]*[mJKACD]|6n)", "", text)
    steering = re.findall("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", ours)
    assert not set(steering) - set(moves), ours


@pytest.mark.parametrize("kind", REPLIES)
@pytest.mark.parametrize("plain", [[], ["--plain"]])
def test_a_reply_cannot_command_the_terminal(
    aichatfree: Command, server: ScriptedServer, kind: str, plain: list[str]
) -> None:
    server.default = Reply(REPLIES[kind], split=1)
    with aichatfree.person("ask", *plain, "Hello") as person:
        assert person.wait() == 0
    assert_harmless(person.raw)
    assert "b" in person.text


def test_neither_can_what_is_remembered_in_a_chat(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(REPLIES["autolink"])
    state = aichatfree.home / "state" / "aichatfree"
    state.mkdir(parents=True, mode=0o700)
    (state / "chat_history").write_text(f"\n# 2026-01-01 00:00:00\n+remembered {STEERING}\n")
    with aichatfree.person("chat", columns=160) as person:
        person.look(lambda text: text.endswith("\n>"))
        person.type("\x1b[A")
        person.look("> remembered")
        person.type(ENTER)
        person.look("x.example")
        person.look(lambda text: text.endswith("\n>"))
        person.type(CTRL_D)
        assert person.wait() == 0
    assert_harmless(person.raw, moves="\b")  # that is how the line editor moves by one


@pytest.mark.parametrize(
    "args",
    [
        ["ask", "--file", f"name{STEERING}", "Hello"],
        ["ask", "--config", f"name{STEERING}", "Hello"],
        ["ask", "--base-url", f"http://{STEERING}/", "Hello"],
        ["ask", f"--{STEERING}"],
        [STEERING],
        ["demo", f"Hello {STEERING}"],
        ["check", "--base-url", f"http://127.0.0.1:9/{STEERING}"],
    ],
)
def test_neither_can_a_name_on_the_command_line(aichatfree: Command, args: list[str]) -> None:
    with aichatfree.person(*args) as person:
        person.wait()
    assert_harmless(person.raw)
    assert person.text


@pytest.mark.parametrize("how", ["redirect", "error", "header"])
def test_neither_can_what_a_server_says_beside_its_replies(
    aichatfree: Command, server: ScriptedServer, how: str
) -> None:
    steering = STEERING.replace("\x90", "").encode("latin-1", "ignore").decode("latin-1")
    server.default = {
        "redirect": Reply.redirect(f"/{steering}".replace(" ", "")),
        "error": Reply.error(400, f"no {STEERING}"),
        "header": Reply("fine", headers={"X-Note": "\x9b4242m\x7f"}),
    }[how]
    with aichatfree.person("ask", "-v", "Hello") as person:
        person.wait()
    assert_harmless(person.raw)


def test_json_escapes_what_a_terminal_would_obey(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply(STEERING + "ä")
    with aichatfree.person("ask", "--json", "Hello", columns=400) as person:
        assert person.wait() == 0
    assert_harmless(person.raw)
    assert json.loads(person.text)["text"] == STEERING + "ä"
    done = aichatfree("ask", "--json", "Hello")
    assert json.loads(done.stdout)["text"] == STEERING + "ä"
    assert "ä".encode() in done.stdout


def test_a_log_line_is_one_line(aichatfree: Command, server: ScriptedServer) -> None:
    server.default = Reply.redirect("/x\u2028y\x85z")
    done = aichatfree("ask", "-v", "Hello")
    assert done.returncode == 1
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d+ |aichatfree: ", line) for line in done.stderr.decode().splitlines())


def test_what_passes_the_filters() -> None:
    assert visible("a\tb\nc\r\nd\re\u2028f") == "a\tb\nc\nd\ne\nf"
    assert visible("\u200d\u200c\xad é 👩\u200d🚀") == "\u200d\u200c\xad é 👩\u200d🚀"
    assert visible("\x1b[31m\x9b\u202e") == "\ufffd[31m\ufffd\ufffd"
    assert one_line("a\n\x1b b\x85c\u2029d") == "a \ufffd b c d"
    assert coloured("\x1b[1;31mred\x1b[0m\x1b[2J\x9b1m") == "\x1b[1;31mred\x1b[0m\ufffd[2J\ufffd1m"
    assert edited("a\r\nb\x1b\u202e") == "a\r\nb\ufffd\ufffd"
    assert escape_json('"\x7f\x9b\u2028\ud800ä"') == '"\\u007f\\u009b\\u2028\\ud800ä"'


class _Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def sent(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def test_rich_shows_content_through_the_filter_whatever_it_is_given() -> None:
    """A canary: a release of rich that no longer asks ``render`` for what it prints would get content past it."""
    terminal = _Terminal()
    console = SafeConsole(Screen(terminal))
    table = Table(f"head {STEERING}", title=STEERING)
    table.add_row(Text(f"cell {STEERING}", style=f"bold link http://x.example/{STEERING.replace(' ', '')}"))
    console.print(table)
    console.print(f"\x1b[31m{STEERING}", style="green")
    assert_harmless(terminal.sent().encode())
    assert "\ufffd[31m" in terminal.sent()


def test_no_library_finds_a_way_past_the_gate() -> None:
    terminal = _Terminal()
    screen = Screen(terminal)
    assert not hasattr(screen, "buffer")
    assert screen.write("\x1b[2J") == 4
    screen.paint("\x1b[2J\x1b[1mbold\x1b[0m")
    assert terminal.sent() == "\ufffd[2J\ufffd[2J\x1b[1mbold\x1b[0m"
    assert (screen.isatty(), screen.writable(), screen.encoding) == (True, True, "utf-8")
