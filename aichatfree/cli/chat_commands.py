"""What can be typed in a chat beside messages: the commands that begin with a slash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidRequestError
from .report import Refusal
from .terminal import one_line

if TYPE_CHECKING:
    from .chat import Chat


class Leave(Exception):  # noqa: N818 - no error
    """The chat is to end."""


def run_command(chat: Chat, line: str) -> None:
    """Do what a line that begins with a slash says.

    Args:
        chat: The chat it was typed in.
        line: The line, with the slash.

    Raises:
        InvalidRequestError: It cannot be done; the text says why.
        Leave: The chat is to end.
    """
    name, _, argument = line.strip().partition(" ")
    if name not in COMMANDS:
        raise InvalidRequestError(
            f"there is no command {name}: /help lists them; to send this as a message, put a space before it"
        )
    _, run = COMMANDS[name]
    run(chat, argument.strip())


def _help(chat: Chat, argument: str) -> None:
    width = max(map(len, COMMANDS)) + 2
    chat.tell("\n".join(f"{name:{width}}{text}" for name, (text, _) in COMMANDS.items()))
    chat.tell("Enter sends; Alt-Enter or Ctrl-J begins another line; Up brings back what you typed.")
    chat.tell("Ctrl-C stops a reply; Ctrl-D ends the chat.")


def _undo(chat: Chat, argument: str) -> None:
    question, _ = chat.conversation.undo()
    chat.keep()
    chat.tell(f"Took back: {one_line(question.content)}")


def _retry(chat: Chat, argument: str) -> None:
    chat.ask_again()


def _save(chat: Chat, argument: str, *, overwrite: bool = False) -> None:
    path = Path(argument).expanduser() if argument else chat.path
    if path is None:
        raise InvalidRequestError("where to? Give a file: /save talk.json")
    if path.exists() and path != chat.path and not overwrite:
        raise InvalidRequestError(f"{path} exists: /save! {argument} overwrites it")
    chat.conversation.save(path)
    chat.path = path
    chat.tell(f"Saved to {path}, which is kept up to date from now on.")


def _save_over(chat: Chat, argument: str) -> None:
    _save(chat, argument, overwrite=True)


def _load(chat: Chat, argument: str) -> None:
    if not argument:
        raise InvalidRequestError("what? Give a file: /load talk.json")
    if chat.path is None and chat.conversation.messages:
        raise InvalidRequestError("this conversation would be lost: /save it, or /clear it, first")
    chat.keep()
    try:
        chat.load(Path(argument).expanduser())
    except Refusal as error:
        raise InvalidRequestError(error.message) from error
    chat.tell(f"Loaded {chat.path}, which is kept up to date from now on.")
    chat.show_last()


def _system(chat: Chat, argument: str) -> None:
    if argument:
        chat.conversation.system = None if argument == "-" else argument
        chat.keep()
    chat.tell(f"The system message: {chat.conversation.system or 'none'}")


def _clear(chat: Chat, argument: str) -> None:
    chat.conversation.clear()
    kept, chat.path = chat.path, None
    chat.tell("A new conversation." + (f" The old one stays in {kept}." if kept else ""))


def _exit(chat: Chat, argument: str) -> None:
    raise Leave


COMMANDS = {
    "/undo": ("take back the last message and its reply", _undo),
    "/retry": ("ask for another reply to the last message", _retry),
    "/save": ("FILE  write the conversation to a file, from now on after every turn", _save),
    "/save!": ("FILE  the same, over a file that exists", _save_over),
    "/load": ("FILE  go on with a conversation that was saved", _load),
    "/system": ("TEXT  set the system message; - removes it; without TEXT, show it", _system),
    "/clear": ("forget what was said, and begin anew", _clear),
    "/help": ("show this", _help),
    "/exit": ("end the chat, as Ctrl-D does", _exit),
}
