"""``aichatfree chat``: a conversation at the terminal."""

from __future__ import annotations

import sys

import click

from ..errors import AIChatFreeError
from .keeping import last_conversation
from .keyboard import typing_unseen
from .options import Settings, connection_options, examples
from .reading import read_argument
from .report import Refusal, as_options, os_words
from .session import Chat
from .talk import Talk
from .terminal import complain


@click.command(
    epilog=examples(
        "aichatfree chat",
        'aichatfree chat --system "Answer in French."',
        "aichatfree chat --continue",
        "aichatfree chat --resume talk.json",
    )
)
@click.option("--system", "-s", metavar="TEXT", help="An instruction that goes along with every message.")
@click.option("--continue", "-c", "go_on", is_flag=True, help="Go on with the last conversation.")
@click.option("--resume", metavar="FILE|ID", help="Go on with that one: what /save wrote, or an id of the history.")
@click.option("--no-log", is_flag=True, help="Keep neither the conversation nor what you type.")
@click.option("--plain", is_flag=True, help="Do not render Markdown.")
@connection_options
def chat(system: str | None, go_on: bool, resume: str | None, no_log: bool, plain: bool, settings: Settings) -> int:
    """Talk with the server, message by message.

    Enter sends, Alt-Enter begins another line; the arrow keys bring back what was typed before. Ctrl-C stops a reply,
    and what had come of it is kept. Ctrl-D ends the chat. /help lists the commands, such as /undo, /retry and /save.

    The conversation is kept as it grows: --continue goes on with it, and aichatfree history lists all of them.
    """
    if go_on and resume is not None:
        raise Refusal("--continue and --resume are two ways to go on: give one of them")
    if not at_terminal():
        raise Refusal("chat needs a terminal to type at: in a script or a pipe, use aichatfree ask")
    system = None if system is None else read_argument(system)
    with settings.client() as client:
        session = Chat(client, log=settings.log and not no_log, plain=plain)
        if go_on:
            record, talk = last_conversation()
            session.take(talk, record)
        elif resume is not None:
            session.load(resume)
        else:
            session.take(Talk(system=(settings.system if system is None else system) or None))
        session.take_system(system)
        with typing_unseen(keys=True):  # between two messages, too, keys are kept for the line editor
            converse(session)
    return 0


def at_terminal() -> bool:
    """Whether there is a terminal to read from, and to write to."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def converse(session: Chat) -> None:
    """Read, and do what was typed, until Ctrl-D."""
    from .chat_commands import Leave, run_command
    from .chat_input import Input

    if not session.plain:
        from . import markdown  # noqa: F401 - now, and not amid the first reply, where Ctrl-C would hit the loading

    keyboard = Input(remember=session.log)
    session.tell(f"This is a chat with {session.client.base_url}. /help lists the commands, Ctrl-D ends it.")
    session.show_last()
    while True:
        try:
            text = keyboard.read()
            with typing_unseen(keys=True):
                if text.startswith("/"):
                    run_command(session, text)
                elif text.strip():
                    session.say(text)
        except KeyboardInterrupt:
            session.tell("Ctrl-D ends the chat; the Up key brings back what you typed.")
        except (EOFError, Leave):
            return
        except AIChatFreeError as error:
            complain(as_options(str(error)))
        except Refusal as error:
            complain(error.message)
        except OSError as error:
            if not at_terminal():
                raise  # it has gone, and the signal that says so is ignored, as under nohup
            complain(os_words(error))
