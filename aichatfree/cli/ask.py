"""``aichatfree ask``: one question, one reply."""

from __future__ import annotations

import codecs
import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from ..errors import AIChatFreeError
from .keeping import Kept, Turn
from .options import Settings, connection_options, examples
from .printers import print_reply
from .report import Refusal
from .terminal import as_text, complain, print_json

if TYPE_CHECKING:
    from .. import Client

BLANK_LINE = "\n\n"
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@click.command(
    epilog=examples(
        'aichatfree ask "Why is the sky blue?"',
        'cat log.txt | aichatfree ask "What went wrong?"',
        'aichatfree ask -f letter.txt "Translate this into French" > lettre.txt',
        'aichatfree ask --json "Name a colour" | jq -r .text',
    ),
)
@click.argument("prompt", nargs=-1)
@click.option("--system", "-s", metavar="TEXT", help="An instruction that goes before the prompt.")
@click.option("--file", "-f", "files", metavar="FILE", multiple=True, help="Send the text of FILE too; - is stdin.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: text, seconds, attempts, error.")
@click.option("--no-stream", is_flag=True, help="Print the reply when it is whole; one that breaks off is asked again.")
@click.option("--plain", is_flag=True, help="Do not render Markdown on a terminal.")
@click.option("--continue", "-c", "go_on", is_flag=True, help="Go on with the last conversation.")
@click.option("--no-log", is_flag=True, help="Do not keep this in the history.")
@connection_options
def ask(
    prompt: tuple[str, ...],
    system: str | None,
    files: tuple[str, ...],
    as_json: bool,
    no_stream: bool,
    plain: bool,
    go_on: bool,
    no_log: bool,
    settings: Settings,
) -> int:
    """Ask, and print the reply as it arrives.

    The prompt is what stands on the command line, what comes from stdin, or both: files first, then stdin, then the
    arguments. On a terminal the reply is rendered as Markdown; into a pipe or file it is written as it is.
    """
    question = read_question(prompt, files)
    kept = Kept(
        go_on=go_on,
        log=settings.log and not no_log,
        system=None if system is None else as_text(system).strip(),
        default_system=settings.system,
    )
    messages = kept.messages(question)
    with settings.client() as client, kept.turn(question, client) as turn:
        if as_json:
            return _print_json(client, messages, turn)
        if no_stream:
            try:
                turn.answer = client.generate(messages)
                print_reply([turn.answer], plain=plain)
            except AIChatFreeError as error:
                turn.answer = error.partial
                print_reply([error.partial] if error.partial else [], plain=plain)
                raise
        else:
            with client.stream(messages) as turn.stream:
                print_reply(turn.stream, plain=plain)
    return 0


def read_question(prompt: tuple[str, ...], files: tuple[str, ...]) -> str:
    """The prompt: files, then stdin, then the arguments, with blank lines between.

    Raises:
        Refusal: A file cannot be read, or there is no text at all.
    """
    if prompt == ("-",):
        prompt, files = (), (*files, "-")
    texts = [_read_text(name) for name in files]
    if "-" not in files and _stdin_has_text(bool(prompt or files)):
        texts.append(_read_text("-"))
    texts = [text.strip("\n") for text in (*texts, as_text(" ".join(prompt)))]
    question = BLANK_LINE.join(text for text in texts if text.strip())
    if not question:
        raise Refusal('the prompt is empty: give one, such as aichatfree ask "Hello", or pipe it in')
    return question


def _stdin_has_text(asked_already: bool) -> bool:
    """Whether stdin is to be read: a pipe or a file is, and anything but a terminal where there is no other prompt."""
    try:
        kind = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # a stand-in
        return not sys.stdin.closed
    if stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind):
        return True
    return not asked_already and not sys.stdin.isatty()


def _read_text(name: str) -> str:
    where = "stdin" if name == "-" else name
    try:
        if name == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(name, "rb") as file:  # noqa: PTH123 - /dev/stdin and the like as well
                data = file.read()
    except OSError as error:
        raise Refusal(f"cannot read {where}: {error.strerror}; check --file") from error
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise Refusal(f"{where} is no text: it holds binary data, and this protocol carries text only")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        complain(f"warning: {where} is no valid UTF-8: what could not be read was replaced")
        return data.decode(encoding, "replace")


def _print_json(client: Client, messages: list[dict[str, str]], turn: Turn) -> int:
    turn.stream = stream = client.stream(messages)
    result: dict[str, object] = {}
    try:
        return 0 if stream.until_done() else 1
    except AIChatFreeError as error:
        result["error"] = {"type": type(error).__name__, "message": str(error)}
        raise
    finally:
        stats = stream.stats
        result = {
            "text": stream.text,
            "attempts": stats.attempts,
            "seconds": round(stats.total_seconds, 3),
            "first_text_seconds": stats.first_text_seconds and round(stats.first_text_seconds, 3),
            **result,
        }
        print_json(result)
