"""What ``ask`` and ``chat`` keep of a conversation. That it cannot be kept is a warning, never a failure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .._core.settings import DEFAULT_MAX_MESSAGES
from .._core.wire.redaction import hide_userinfo
from ..errors import InvalidRequestError
from .report import Refusal, os_words
from .store import Record, Store
from .talk import Talk
from .terminal import complain, one_line

if TYPE_CHECKING:
    from .. import Client, Stream

_log = logging.getLogger("aichatfree")
_TURNS_SENT = (DEFAULT_MAX_MESSAGES - 1) // 2


class Turn:
    """A question on its way: what comes of it is in one or the other."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.answer = ""
        self.unseen: Stream | None = None
        """Instead of the first, that of a reply which is shown when it is whole: nothing of it counts before."""


class Kept:
    """The conversation of an ``ask``.

    Args:
        go_on: Go on with the last one that is kept.
        log: Keep what is said.
        system: The system message's text that was asked for; None leaves that of the conversation as it is.
        default_system: That of a new conversation if none was asked for.

    Raises:
        Refusal: There is none to go on with.
    """

    def __init__(self, *, go_on: bool, log: bool, system: str | None = None, default_system: str | None = None) -> None:
        self._log = log
        self._record: Record | None = None
        self._talk = Talk(system=(default_system if system is None else system) or None)
        if go_on:
            self._record, talk = last_conversation()
            self._talk = with_system(talk, system)

    def messages(self, question: str) -> list[dict[str, str]]:
        """What to send to ask the next question."""
        talk = self._talk.replace(turns=self._talk.turns[-_TURNS_SENT:], unanswered=None)
        said: list[dict[str, str]] = talk.to_dict()["messages"]
        return [*said, {"role": "user", "content": question}]

    @contextmanager
    def turn(self, question: str, client: Client) -> Iterator[Turn]:
        """Keep a turn when it is over, however it ends; without any answer there is nothing to go on with.

        With ``-v`` it is told where its time went.
        """
        turn = Turn()
        try:
            yield turn
        finally:
            timed = turn.stream or turn.unseen
            if timed is not None and _log.isEnabledFor(logging.DEBUG):
                from .timing import age_of_program, describe

                _log.debug("%s", describe(timed.stats, age_of_program()))
            answer = turn.answer or (turn.stream.text if turn.stream else "")
            if self._log and answer.strip():
                self._add(self._talk.then(question, answer), client.base_url)

    def _add(self, talk: Talk, base_url: str) -> None:
        try:
            if self._record is None:
                Store.of_user().add(talk.replace(more=about(base_url)))
            else:
                self._record.save(talk)
        except (OSError, InvalidRequestError) as error:
            warn_not_kept(error)


def last_conversation() -> tuple[Record, Talk]:
    """The one to go on with.

    Raises:
        Refusal: There is none.
    """
    try:
        last = Store.of_user().last()
    except OSError as error:
        raise Refusal(f"there is no conversation to go on with: {os_words(error)}") from error
    if last is None:
        raise Refusal("there is no conversation to go on with: leave --continue out, and the next one will be kept")
    return last


def with_system(talk: Talk, system: str | None) -> Talk:
    """The conversation with another system message, if one was asked for; that it is another one is said."""
    if system is None or (system or None) == talk.system:
        return talk
    before = f"; it was: {one_line(talk.system)}" if talk.system else ""
    complain(f"the system message of this conversation is now: {one_line(system) or 'none'}{before}")
    return talk.replace(system=system or None)


def about(base_url: str) -> dict[str, Any]:
    """What is kept of a conversation besides its words."""
    return {"base_url": hide_userinfo(base_url)}


def warn_not_kept(error: Exception) -> None:
    """Say that a conversation is not kept."""
    why = os_words(error) if isinstance(error, OSError) else str(error)
    complain(f"warning: this conversation is not kept: {why}; --no-log leaves that out")
