"""``aichatfree ask``: one question, one reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import AIChatFreeError
from .keeping import Kept, Turn
from .options import Settings, connection_options, examples
from .printers import print_reply
from .reading import read_argument, read_question
from .terminal import print_json

if TYPE_CHECKING:
    from .. import Client


@click.command(
    epilog=examples(
        'aichatfree ask "Why is the sky blue?"',
        'cat log.txt | aichatfree ask "What went wrong?"',
        'aichatfree ask -f letter.txt "Translate this into French" > lettre.txt',
        'aichatfree ask --json "Name a colour" | jq -r .text',
        'while read -r name; do aichatfree ask -n "Who was $name?"; done < names.txt',
    ),
)
@click.argument("prompt", nargs=-1)
@click.option("--system", "-s", metavar="TEXT", help="An instruction that goes before the prompt.")
@click.option(
    "--file",
    "-f",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="Send the text of FILE too; - is stdin.",
)
@click.option("--no-stdin", "-n", is_flag=True, help="Leave stdin alone, as in a loop that reads its lines from it.")
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
    no_stdin: bool,
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
    question = read_question(prompt, files, stdin=not no_stdin)
    kept = Kept(
        go_on=go_on,
        log=settings.log and not no_log,
        system=None if system is None else read_argument(system).strip(),
        default_system=settings.system,
    )
    messages = kept.messages(question)
    with settings.client() as client, kept.turn(question, client) as turn:
        if as_json:
            return _print_json(client, messages, turn)
        if no_stream:
            try:
                # What client.generate does, which does not tell how long it took.
                turn.unseen = client._open_stream(client._generate_call(messages, model=None, restartable=True))
                turn.answer = turn.unseen.until_done()
                print_reply([turn.answer], plain=plain)
            except AIChatFreeError as error:
                turn.answer = error.partial
                print_reply([error.partial] if error.partial else [], plain=plain)
                raise
        else:
            with client.stream(messages) as turn.stream:
                print_reply(turn.stream, plain=plain)
    return 0


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
