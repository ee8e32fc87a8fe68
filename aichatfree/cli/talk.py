"""A conversation as a file holds it: a value that is read, written, and merged with what others made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._core.history import VERSION, History, Turn, read_form
from .._core.settings import DEFAULT_MAX_MESSAGES
from .._core.wire.frozen import Frozen
from .._core.wire.messages import Message
from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from .. import Client, Conversation

_OURS = ("version", "messages", "unanswered")


class Talk(Frozen):
    """All of a conversation, also the turns that are too old to be sent.

    Args:
        system: The system message's text, if there is one.
        turns: Oldest first.
        unanswered: The last question, if no reply to it was kept.
        more: The other keys of its JSON form, such as ``id`` and ``max_messages``.
    """

    system: str | None
    turns: tuple[Turn, ...]
    unanswered: str | None
    more: Mapping[str, Any]

    def __init__(
        self,
        system: str | None = None,
        turns: tuple[Turn, ...] = (),
        unanswered: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(system=system, turns=turns, unanswered=unanswered, more={} if more is None else more)

    @classmethod
    def parse(cls, data: bytes) -> Talk:
        """Read the JSON form, which is that of :meth:`aichatfree.Conversation.save`.

        Raises:
            InvalidRequestError: It is no such form; the text says why.
        """
        try:
            value = json.loads(data.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is not JSON ({error})"
            raise InvalidRequestError(why) from error
        arguments, unanswered = read_form(value)
        history = History.read(None, arguments["history"], None)
        more = {name: content for name, content in value.items() if name not in _OURS}
        return cls(history.system, history.turns, unanswered, more)

    def encode(self) -> bytes:
        """The JSON form, as UTF-8 with a newline at its end."""
        form = self.to_dict()
        try:
            return (json.dumps(form, ensure_ascii=False, indent=2) + "\n").encode()
        except UnicodeEncodeError:  # half a surrogate pair, in a key that is not ours
            return (json.dumps(form, indent=2) + "\n").encode()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        messages = [message for turn in self.turns for message in turn]
        if self.system:
            messages.insert(0, Message("system", self.system))
        form: dict[str, Any] = {"version": VERSION, "max_messages": DEFAULT_MAX_MESSAGES, "on_interrupt": "keep"}
        form.update(self.more)
        form["messages"] = [{"role": message.role, "content": message.content} for message in messages]
        if self.unanswered is not None:
            form["unanswered"] = self.unanswered
        return form

    def then(self, question: str, answer: str) -> Talk:
        """The conversation with one turn more."""
        turn = Turn(Message("user", question), Message("assistant", answer))
        return self.replace(turns=(*self.turns, turn), unanswered=None)

    def conversation(self, client: Client) -> Conversation:
        """A conversation that goes on with as many of the last turns as are sent.

        Raises:
            InvalidRequestError: A setting in the file cannot be used; the text says which.
        """
        from .. import Conversation

        return Conversation.from_dict(self.to_dict(), client=client)

    @property
    def title(self) -> str:
        """What was asked first."""
        return self.turns[0].user.content if self.turns else self.unanswered or ""

    def same_words(self, other: Talk) -> bool:
        """Whether the same was said, whatever else the files hold."""
        return (self.system, self.turns, self.unanswered) == (other.system, other.turns, other.unanswered)


def merge(base: Talk, theirs: Talk, mine: Talk) -> Talk:
    """What a file is to hold that two programs went on with from the same beginning.

    What either has added is there, theirs first; what either has taken back is gone.

    Args:
        base: What was in the file when this program read or wrote it last.
        theirs: What is in the file now.
        mine: What this program would write.
    """
    kept_by_them = _common(base.turns, theirs.turns)
    kept_by_me = _common(base.turns, mine.turns)
    turns = (
        *base.turns[: min(kept_by_them, kept_by_me)],
        *theirs.turns[kept_by_them:],
        *mine.turns[kept_by_me:],
    )
    return Talk(
        mine.system if mine.system != base.system else theirs.system,
        turns,
        mine.unanswered if mine.unanswered != base.unanswered or mine.turns != base.turns else theirs.unanswered,
        {**theirs.more, **mine.more},
    )


def _common(one: tuple[Turn, ...], other: tuple[Turn, ...]) -> int:
    """How many turns at the beginning are the same."""
    for count, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return count
    return min(len(one), len(other))
