"""A running chat: the conversation, the files that keep it, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._core.history import Turn
from ..errors import AIChatFreeError, InvalidRequestError
from . import signals
from .keeping import about, warn_not_kept, with_system
from .printers import print_reply
from .printing import console
from .report import Refusal, as_options, os_words
from .store import Record, Store
from .talk import Talk
from .talk_file import TalkFile
from .terminal import complain, one_line, visible

if TYPE_CHECKING:
    from .. import Client, Stream
    from .._core.wire.messages import Message


class Chat:
    """A running chat.

    Args:
        client: Whom it asks.
        log: Keep the conversation in the user's state folder, and what is typed.
        plain: No Markdown.
    """

    def __init__(self, client: Client, *, log: bool, plain: bool) -> None:
        self.client = client
        self.log = log
        self.attached: list[tuple[str, str]] = []
        """Names and texts of files that go along with the next message."""
        self.file: TalkFile | None = None
        """The user's file that is kept up to date, once there is one."""
        self._record: Record | None = None
        self.plain = plain
        self._warned = False
        self.take(Talk())

    @property
    def kept(self) -> bool:
        """Whether what was said is in some file, so that nothing is lost if the chat turns to something else."""
        return not self.talk.turns or self.file is not None or (self._record is not None and not self._warned)

    def where(self) -> str:
        """A sentence that says where the conversation stays when the chat turns to another."""
        if not self.talk.turns or not self.kept:
            return ""
        place = self.file.path if self.file else f"the history as {self._record.id if self._record else ''}"
        return f" The old one stays in {place}."

    def take(self, talk: Talk, record: Record | None = None, file: TalkFile | None = None) -> None:
        """Go on with a conversation.

        Raises:
            InvalidRequestError: A setting in it cannot be used.
        """
        self.conversation = talk.conversation(self.client)
        self.talk, self._record, self.file = talk, record, file

    def take_system(self, text: str | None) -> None:
        """Go on with another system message, if one is given; that it is another one is said."""
        self._change(with_system(self.talk, text))

    def set_system(self, text: str | None) -> None:
        """Go on with another system message, or none."""
        self._change(self.talk.replace(system=text))
        self.keep()

    def _change(self, talk: Talk) -> None:
        if talk is not self.talk:
            self.take(talk, self._record, self.file)

    def say(self, text: str) -> None:
        """Ask, and show the reply. The question is kept before it is asked, whatever may happen then."""
        text = "\n\n".join([*(attached.strip("\n") for _, attached in self.attached), text])
        self.attached.clear()
        self.talk = self.talk.replace(unanswered=text)
        self.keep()
        self._show(lambda: self.conversation.stream(text), replaces=False)

    def ask_again(self) -> None:
        """Ask the last question again, and show the reply."""
        self._show(self.conversation.retry_stream, replaces=self.conversation.unanswered is None)

    def undo(self) -> Message:
        """Take back the last turn; return its question.

        Raises:
            InvalidRequestError: There is none.
        """
        if not self.talk.turns:
            raise InvalidRequestError("there is no turn to undo")
        question = self.talk.turns[-1].user
        self._change(self.talk.replace(turns=self.talk.turns[:-1], unanswered=None))
        self.keep()
        return question

    def _show(self, ask: Callable[[], Stream], *, replaces: bool) -> None:
        before = self._said()
        changed = False
        start: str | None = None
        try:
            # Here alone: what has come of a reply is kept whole, however often Ctrl-C is typed.
            with signals.interruptible(), ask() as stream:
                print_reply(stream, plain=self.plain)
        except KeyboardInterrupt:
            start = "Stopped."
        except AIChatFreeError as error:
            complain(as_options(str(error)))
            start = ""
        finally:  # also where a signal ends the program
            changed = self._note(before, replaces=replaces)
        if start is not None:
            self._tell_what_became(start, changed=changed)
        click.echo()

    def _said(self) -> list[Message]:
        return [message for message in self.conversation.messages if message.role != "system"]

    def _note(self, before: list[Message], *, replaces: bool) -> bool:
        """Keep what has become of a turn; return whether there is another reply than before."""
        said = self._said()
        changed = bool(said) and (not before or said[-1] is not before[-1])
        turns = self.talk.turns
        if changed:
            turns = (*(turns[:-1] if replaces else turns), Turn(*said[-2:]))
        self.talk = self.talk.replace(turns=turns, unanswered=self.conversation.unanswered)
        self.keep()
        return changed

    def _tell_what_became(self, start: str, *, changed: bool) -> None:
        if self.conversation.unanswered is not None:
            rest = "Your message got no answer: /retry sends it again."
        elif changed:
            rest = "What had come of the reply is kept: /retry asks again, /undo forgets it."
        else:
            rest = "Nothing has changed."
        self.tell(f"{start} {rest}".strip())

    def keep(self) -> None:
        """Bring the conversation's files up to date, with what other programs have written to them."""
        mine = self.talk
        self._keep_record()
        if self.file is not None:
            try:
                self.talk = self.file.save(self.talk)
            except (OSError, InvalidRequestError) as error:
                why = os_words(error) if isinstance(error, OSError) else str(error)
                complain(f"the conversation is not saved: {why}; /save FILE writes it to another")
        if not self.talk.same_words(mine):
            self._keep_record()
            self.take(self.talk, self._record, self.file)
            self.tell("Another program has written to this conversation as well: its turns are part of it now.")

    def _keep_record(self) -> None:
        """Keep the conversation among the user's own, once there is something to keep."""
        if not self.log or not (self._record or self.talk.turns or self.talk.unanswered):
            return
        try:
            if self._record is None:
                about_it = {**self.talk.more, **about(self.client.base_url)}
                self._record = Store.of_user().add(self.talk.replace(more=about_it))
                self.talk = self.talk.replace(more={**about_it, "id": self._record.id})
            else:
                self.talk = self._record.save(self.talk)
        except (OSError, InvalidRequestError) as error:
            if not self._warned:
                warn_not_kept(error)
            self._warned = True

    def load(self, name: str) -> None:
        """Go on with a conversation in a file, or with one that is kept under that id.

        Raises:
            Refusal: It cannot be read, or holds no conversation.
        """
        file = TalkFile(Path(name))
        try:
            self._load(file, name)
        except OSError as error:
            raise Refusal(f"cannot read {os_words(error)}") from error

    def _load(self, file: TalkFile, name: str) -> None:
        try:
            talk = file.read()
        except FileNotFoundError:
            try:
                record = Store.of_user().find(name)
            except (Refusal, FileNotFoundError):
                raise Refusal(f"there is no {name}: /save in a chat writes such a file") from None
            self.take(record.read(), record)
            return
        self.take(talk, self._record_of(talk), file)

    def _record_of(self, talk: Talk) -> Record | None:
        """What is kept already of a conversation that stands in a file, if nothing else is in it."""
        name = talk.more.get("id")
        if not self.log or not isinstance(name, str):
            return None
        try:
            record = next((record for record in Store.of_user().records() if record.id == name), None)
            known = record.read().turns if record is not None else ()
        except (OSError, InvalidRequestError):
            return None
        return record if known == talk.turns[: len(known)] else None

    def show_last(self) -> None:
        """Show the last turn, if there is one, so that one knows where one is."""
        if self.talk.turns:
            question, answer = self.talk.turns[-1]
            self.tell(f"> {one_line(question.content)}")
            print_reply([answer.content], plain=self.plain)
            click.echo()
        if self.talk.unanswered is not None:
            self.tell(f"> {one_line(self.talk.unanswered)}")
            self.tell("This got no answer: /retry sends it again.")

    def tell(self, text: str) -> None:
        """Say something that is no part of the conversation."""
        console().print(visible(text), style="dim")
