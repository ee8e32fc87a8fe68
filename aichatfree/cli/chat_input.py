"""The line editor of a chat: several lines, history, completion. Nothing that was typed is lost."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle

from ..errors import InvalidRequestError
from . import signals
from .chat_commands import COMMANDS
from .editor import editing, editor_output
from .folders import user_folder
from .report import os_words
from .store import private_folder
from .terminal import as_text, complain

_WITH_A_FILE = ("/save ", "/save! ", "/load ", "/file ")


class Input:
    """Reads messages at the terminal, with the history of this and earlier chats.

    Args:
        remember: Keep what is typed for later chats.
    """

    def __init__(self, *, remember: bool = True) -> None:
        self._session: PromptSession[str] = PromptSession(
            [("bold", "> ")],
            multiline=True,
            prompt_continuation="  ",
            key_bindings=_keys(),
            history=_history() if remember else InMemoryHistory(),
            completer=_CommandCompleter(),
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            enable_open_in_editor=True,
            enable_suspend=True,
            output=editor_output(),
        )

    def read(self) -> str:
        """The next message, as it was typed.

        Raises:
            EOFError: Ctrl-D, with nothing typed.
            KeyboardInterrupt: Ctrl-C; what was typed is in the history.
            InvalidRequestError: What was typed is not text in the encoding of this terminal.
        """
        signals.go_on(self._interrupted)
        with editing():
            # Ctrl-C as a signal comes by way of our handler: the editor's own is not there yet while it starts and not
            # any more while it ends, and it lets Python's take its place for a moment.
            typed = self._session.prompt(handle_sigint=False)
        try:
            return as_text(typed)
        except UnicodeDecodeError:
            raise InvalidRequestError(
                "this could not be read as text and was not sent: start aichatfree in a UTF-8 locale, as LC_ALL=C.UTF-8"
            ) from None

    def _interrupted(self) -> None:
        """Ctrl-C has come as a signal: the same as the key, if there is a prompt; otherwise there is nothing to do."""
        app = self._session.app
        loop = app.loop
        if loop is not None and app.is_running:
            with suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(app.key_processor.send_sigint)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _another_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _give_up(event: KeyPressEvent) -> None:
        event.current_buffer.append_to_history()
        event.app.exit(exception=KeyboardInterrupt)

    return keys


class _CommandCompleter(Completer):
    """Completes the commands, and the files that some of them take."""

    def __init__(self) -> None:
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The completions for what stands before the cursor."""
        text = document.text_before_cursor
        for command in _WITH_A_FILE:
            if text.startswith(command):
                path = text.removeprefix(command)
                yield from self._files.get_completions(Document(path, len(path)), complete_event)
                return
        if text.startswith("/"):
            yield from (Completion(name, -len(text)) for name in COMMANDS if name.startswith(text))


def _history() -> History:
    """What was typed in earlier chats, in a file that only its owner can read."""
    folder = user_folder("state")
    if folder is None:
        return InMemoryHistory()  # that nothing is kept is said where the conversation is not
    path = folder / "chat_history"
    try:
        private_folder(folder)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        complain(f"warning: what you type is remembered in this chat only: {os_words(error)}")
        return InMemoryHistory()
    return FileHistory(str(path))
