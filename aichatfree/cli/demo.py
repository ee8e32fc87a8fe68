"""``aichatfree demo``: a server and a client in one process, over a real socket. Needs no network and no settings."""

from __future__ import annotations

import shlex
import sys

import click

from .filter import visible
from .options import examples, verbose_option
from .printers import print_reply
from .reading import read_argument
from .report import Refusal

DEFAULT_PROMPT = "Hello! Who are you?"


@click.command(
    epilog=examples(
        "aichatfree demo",
        'aichatfree demo "Can you hear me?"',
    ),
)
@click.argument("prompt", nargs=-1)
@click.option("--plain", is_flag=True, help="Do not render Markdown on a terminal.")
@verbose_option
def demo(prompt: tuple[str, ...], plain: bool) -> int:
    """Stream a reply from a server that runs inside this command.

    It works offline and needs no settings; AICHATFREE_* and the config file do not count.
    """
    from .. import Client
    from ..server import LocalServer

    question = read_argument(" ".join(prompt)) if prompt else DEFAULT_PROMPT
    if not question.strip():
        raise Refusal("the prompt is empty: give one, or none at all")
    with LocalServer() as server, Client(server.url, secret="", password="", trust_env=False) as client:
        with client.stream(question) as stream:
            print_reply(stream, plain=plain)
        if not sys.stdout.isatty():
            return 0
        click.echo(f"\nThat came from {server.url}, inside this command. Next: {next_step(question)}", err=True)
    return 0


def next_step(question: str) -> str:
    """The command that asks this of a server, as it can be typed into a shell on one line."""
    if not question.isprintable() or visible(question) != question:
        question = DEFAULT_PROMPT
    return f"aichatfree ask {'-- ' if question.startswith('-') else ''}{shlex.quote(question)}"
