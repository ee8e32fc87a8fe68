"""What can be typed in a chat beside messages: the commands that begin with a slash."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidRequestError
from . import signals
from .report import Refusal
from .talk import Talk
from .talk_file import TalkFile
from .terminal import one_line

if TYPE_CHECKING:
    from .session import Chat


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
        alike = get_close_matches(name, COMMANDS, n=1, cutoff=0.7)
        advice = f"did you mean {alike[0]}?" if alike else "/help lists them;"
        raise InvalidRequestError(
            f"there is no command {name}: {advice} To send this as a message, put a space before it"
        )
    _, run = COMMANDS[name]
    run(chat, argument.strip())


def _help(chat: Chat, argument: str) -> None:
    width = max(map(len, COMMANDS)) + 2
    chat.tell("\n".join(f"{name:{width}}{text}" for name, (text, _) in COMMANDS.items()))
    chat.tell("Enter sends; Alt-Enter or Ctrl-J begins another line; Up brings back what you typed.")
    chat.tell("Ctrl-C stops a reply; Ctrl-D ends the chat.")


def _undo(chat: Chat, argument: str) -> None:
    chat.tell(f"Took back: {one_line(chat.undo().content)}")


def _retry(chat: Chat, argument: str) -> None:
    chat.ask_again()


def _file(chat: Chat, argument: str) -> None:
    if argument == "-":
        chat.attached.clear()
    elif argument:
        from .reading import read_text

        try:
            with signals.interruptible():  # whatever may stand under that name
                text = read_text(str(_path(argument)))
            chat.attached.append((argument, text))
        except Refusal as error:
            raise InvalidRequestError(error.message) from error
    names = ", ".join(f"{name} ({len(text)} characters)" for name, text in chat.attached)
    if names:
        chat.tell(f"Goes along with your next message: {names}. /file - takes it back.")
    else:
        chat.tell("No file goes along with your next message. /file PATH adds one.")


def _save(chat: Chat, argument: str, *, overwrite: bool = False) -> None:
    file = TalkFile(_path(argument)) if argument else chat.file
    if file is None:
        raise InvalidRequestError("where to? Give a file: /save talk.json")
    if chat.file is not None and file.path == chat.file.path:
        chat.keep()
    else:
        try:
            file.create(chat.talk, overwrite=overwrite)
        except FileExistsError:
            raise InvalidRequestError(f"{file.path} exists: /save! {argument} overwrites it") from None
        chat.file = file
    chat.tell(f"Saved to {file.path}, which is kept up to date from now on.")


def _save_over(chat: Chat, argument: str) -> None:
    _save(chat, argument, overwrite=True)


def _load(chat: Chat, argument: str) -> None:
    if not argument:
        raise InvalidRequestError("what? Give a file: /load talk.json")
    if not chat.kept:
        raise InvalidRequestError("this conversation would be lost: /save it, or /clear it, first")
    left = chat.where()
    try:
        chat.load(str(_path(argument)))
    except Refusal as error:
        raise InvalidRequestError(error.message) from error
    goes_on = ", which is kept up to date from now on" if chat.file else ""
    chat.tell(f"Loaded {chat.file.path if chat.file else argument}{goes_on}.{left}")
    chat.show_last()


def _system(chat: Chat, argument: str) -> None:
    if argument:
        chat.set_system(None if argument == "-" else argument)
    chat.tell(f"The system message: {chat.talk.system or 'none'}")


def _clear(chat: Chat, argument: str) -> None:
    left = chat.where()
    chat.take(Talk(system=chat.talk.system))
    chat.tell(f"A new conversation.{left}")


def _exit(chat: Chat, argument: str) -> None:
    raise Leave


def _path(argument: str) -> Path:
    """The file that an argument names, also in quotes and below somebody's home."""
    if len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "\"'":
        argument = argument[1:-1]
    if "\0" in argument:
        raise InvalidRequestError("a file name holds no zero byte: give another")
    try:
        return Path(argument).expanduser()
    except RuntimeError as error:
        raise InvalidRequestError(f"there is no home folder for {argument}: give the whole path") from error


COMMANDS = {
    "/undo": ("take back the last message and its reply", _undo),
    "/retry": ("ask for another reply to the last message", _retry),
    "/file": ("PATH  send the text of a file with the next message; - takes it back", _file),
    "/save": ("FILE  write the conversation to a file, from now on after every turn", _save),
    "/save!": ("FILE  the same, over a file that exists", _save_over),
    "/load": ("FILE|ID  go on with a conversation that was saved, or with one of the history", _load),
    "/system": ("TEXT  set the system message; - removes it; without TEXT, show it", _system),
    "/clear": ("begin a new conversation", _clear),
    "/help": ("show this", _help),
    "/exit": ("end the chat, as Ctrl-D does", _exit),
    "/quit": ("the same", _exit),
}
