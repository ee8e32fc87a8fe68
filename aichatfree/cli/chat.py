"""``aichatfree chat``: a conversation at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AIChatFreeError
from .keyboard import typing_unseen
from .options import Settings, connection_options, examples
from .printers import print_reply
from .report import Refusal, as_options, os_words
from .terminal import as_text, complain, console, one_line, visible

if TYPE_CHECKING:
    from .. import Client, Conversation, Stream


@click.command(
    epilog=examples(
        "aichatfree chat",
        'aichatfree chat --system "Answer in French."',
        "aichatfree chat --resume talk.json",
    )
)
@click.option("--system", "-s", metavar="TEXT", help="An instruction that goes along with every message.")
@click.option("--resume", metavar="FILE", help="Go on with a conversation that /save wrote; it is kept up to date.")
@click.option("--plain", is_flag=True, help="Do not render Markdown.")
@connection_options
def chat(system: str | None, resume: str | None, plain: bool, settings: Settings) -> int:
    """Talk with the server, message by message.

    Enter sends, Alt-Enter begins another line; the arrow keys bring back what was typed before. Ctrl-C stops a reply,
    and what had come of it is kept. Ctrl-D ends the chat. /help lists the commands, such as /undo, /retry and /save.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Refusal("chat needs a terminal to type at: in a script or a pipe, use aichatfree ask")
    system = settings.system if system is None else as_text(system)
    with settings.client() as client:
        session = Chat(client, system=system, plain=plain)
        if resume is not None:
            session.load(Path(resume))
            if system:
                session.conversation.system = system
        session.run()
    return 0


class Chat:
    """A running chat.

    Args:
        client: Whom it asks.
        system: The system message's text, if there is to be one.
        plain: No Markdown.
    """

    def __init__(self, client: Client, *, system: str | None, plain: bool) -> None:
        self.client = client
        self.conversation: Conversation = client.conversation(system or None, on_interrupt="keep")
        self.path: Path | None = None
        """The file that is kept up to date, once there is one."""
        self._plain = plain

    def run(self) -> None:
        """Read, and do what was typed, until Ctrl-D."""
        from .chat_commands import Leave, run_command
        from .chat_input import Input

        if not self._plain:
            from . import markdown  # noqa: F401 - now, and not amid the first reply, where Ctrl-C would hit the loading

        keyboard = Input()
        self.tell(f"This is a chat with {self.client.base_url}. /help lists the commands, Ctrl-D ends it.")
        self.show_last()
        while True:
            try:
                text = keyboard.read()
                with typing_unseen(keys=True):
                    if text.startswith("/"):
                        run_command(self, text)
                    elif text.strip():
                        self.say(text)
            except KeyboardInterrupt:
                self.tell("Ctrl-D ends the chat; the Up key brings back what you typed.")
            except (EOFError, Leave):
                return
            except AIChatFreeError as error:
                complain(as_options(str(error)))
            except OSError as error:
                complain(os_words(error))

    def say(self, text: str) -> None:
        """Ask, and show the reply."""
        self._show(lambda: self.conversation.stream(text))

    def ask_again(self) -> None:
        """Ask the last question again, and show the reply."""
        self._show(self.conversation.retry_stream)

    def _show(self, ask: Callable[[], Stream]) -> None:
        before = self.conversation.messages
        try:
            with ask() as stream:
                print_reply(stream, plain=self._plain)
        except KeyboardInterrupt:
            self._tell_what_became("Stopped.", before)
        except AIChatFreeError as error:
            complain(as_options(str(error)))
            self._tell_what_became("", before)
        click.echo()
        self.keep()

    def _tell_what_became(self, start: str, before: tuple[object, ...]) -> None:
        if self.conversation.unanswered is not None:
            rest = "Your message got no answer: /retry sends it again."
        elif self.conversation.messages != before:
            rest = "What had come of the reply is kept: /retry asks again, /undo forgets it."
        else:
            rest = "Nothing has changed."
        self.tell(f"{start} {rest}".strip())

    def keep(self) -> None:
        """Bring the conversation's file up to date, if it has one."""
        if self.path is not None:
            self.conversation.save(self.path)

    def load(self, path: Path) -> None:
        """Go on with the conversation in a file.

        Raises:
            Refusal: It cannot be read, or holds no conversation.
        """
        from .. import Conversation

        try:
            self.conversation = Conversation.load(path, client=self.client)
        except FileNotFoundError:
            raise Refusal(f"there is no {path}: /save in a chat writes such a file") from None
        except OSError as error:
            raise Refusal(f"cannot read {os_words(error)}") from error
        self.path = path

    def show_last(self) -> None:
        """Show the last turn, if there is one, so that one knows where one is."""
        turns = [message.content for message in self.conversation.messages if message.role != "system"]
        if turns:
            self.tell(f"> {one_line(turns[-2])}")
            print_reply([turns[-1]], plain=self._plain)
            click.echo()

    def tell(self, text: str) -> None:
        """Say something that is no part of the conversation."""
        console().print(visible(text), style="dim")
