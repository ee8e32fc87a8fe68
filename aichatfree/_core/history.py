"""The history of a conversation, which turns are sent of it, and its JSON form. No I/O.

The JSON form, version 1::

    {
      "version": 1,
      "max_messages": 99,            how many messages are kept and sent at most, or null; 99 where it is missing
      "on_interrupt": "discard",     or "keep"; "discard" where it is missing
      "messages": [
        {"role": "system", "content": "..."},       at most one, the first; it may be missing
        {"role": "user", "content": "..."},         from here on user and assistant alternate,
        {"role": "assistant", "content": "..."}     and the last one is the assistant's
      ],
      "unanswered": "..."            the last question, if no reply to it was kept; it may be missing
    }

Other keys are ignored. A form that older programs would misread gets another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from ..errors import InvalidRequestError
from .settings import DEFAULT_MAX_MESSAGES
from .wire.messages import BLANK_LINE, Dumped, Message, Messages, dump_history, dump_turn, numbered, read_message
from .wire.signing import well_formed

T = TypeVar("T")

VERSION = 1
"""Of the JSON form."""

OnInterrupt = Literal["discard", "keep"]
_ROLES = {"user": "user", "assistant": "assistant", "model": "assistant"}


class Turn(NamedTuple):
    """A question and its answer.

    Args:
        user: The user's message.
        assistant: The reply to it.
    """

    user: Message
    assistant: Message


class History(NamedTuple):
    """The finished turns of a conversation. It never changes: what changes it returns another one.

    Made by :meth:`read`, which checks what it is given.

    Args:
        system: The system message's text, if there is one. It counts for no message: on the wire it is folded into
            the first user message.
        turns: Oldest first.
        max_messages: At most this many messages are kept, and sent with the next question; None for no limit.
        dumped: The turns as JSON: each is encoded once, when it joins.
    """

    system: str | None
    turns: tuple[Turn, ...]
    max_messages: int | None
    dumped: tuple[bytes, ...]

    @classmethod
    def read(cls, system: str | None, messages: Messages, max_messages: int | None) -> History:
        """Check what a conversation is begun with.

        Args:
            system: The text of the system message; None or ``""`` for none.
            messages: What was said before: alternating user and assistant messages, before which a system message
                may stand if ``system`` is none.
            max_messages: At least 2, a turn; None for no limit.

        Raises:
            InvalidRequestError: Something cannot be used; the text says what, and how to correct it.
        """
        _check_max_messages(max_messages)
        own_system, turns = _read_turns(messages)
        if system and own_system:
            raise InvalidRequestError("there are two system messages: give it as system=, or in the history, not both")
        dumped = tuple(dump_turn(turn.user.content, turn.assistant.content) for turn in turns)
        return cls(read_system(system) or own_system, turns, max_messages, dumped)._trimmed()

    @property
    def messages(self) -> tuple[Message, ...]:
        """All of it, the system message first."""
        return (*self._system_messages(), *(message for turn in self.turns for message in turn))

    def dump(self, question: str) -> tuple[Dumped, str]:
        """What to send to ask a question: as many of the last turns as the limit allows, and the system message.

        Returns:
            The JSON, and the text of its last message.
        """
        turns = self.dumped if self.max_messages is None else _last(self.dumped, (self.max_messages - 1) // 2)
        return dump_history(turns, self.system, question)

    def then(self, text: str, reply: str) -> History:
        """The history with one turn more; the oldest ones leave where the limit asks for it."""
        turn = Turn(Message("user", text), Message("assistant", reply))
        return self._replace(turns=(*self.turns, turn), dumped=(*self.dumped, dump_turn(text, reply)))._trimmed()

    def without_last(self) -> History:
        """The history before its last turn."""
        return self._replace(turns=self.turns[:-1], dumped=self.dumped[:-1])

    def to_dict(self, on_interrupt: OnInterrupt, unanswered: str | None) -> dict[str, Any]:
        """The JSON form."""
        form = {
            "version": VERSION,
            "max_messages": self.max_messages,
            "on_interrupt": on_interrupt,
            "messages": [{"role": message.role, "content": message.content} for message in self.messages],
        }
        return form if unanswered is None else {**form, "unanswered": unanswered}

    def _system_messages(self) -> tuple[Message, ...]:
        return (Message("system", self.system),) if self.system else ()

    def _trimmed(self) -> History:
        if self.max_messages is None or len(self.turns) <= self.max_messages // 2:
            return self
        count = self.max_messages // 2
        return self._replace(turns=_last(self.turns, count), dumped=_last(self.dumped, count))


def read_form(data: object) -> tuple[dict[str, Any], str | None]:
    """Read the JSON form into the keyword arguments of a conversation, which checks them, and what is unanswered.

    Raises:
        InvalidRequestError: It is not of this form; the text says why.
    """
    if not isinstance(data, Mapping):
        raise InvalidRequestError(f'a conversation is a JSON object with "version" and "messages", not {_kind(data)}')
    version = data.get("version")
    if isinstance(version, bool) or version != VERSION:
        if isinstance(version, int) and version > VERSION:
            raise InvalidRequestError(f"it has the version {version}, which needs a newer release of aichatfree")
        raise InvalidRequestError(f'"version" is {version!r}: it must be {VERSION}')
    messages = data.get("messages")
    if not isinstance(messages, (list, tuple)):
        raise InvalidRequestError(f'"messages" must be a list, not {_kind(messages)}')
    unanswered = data.get("unanswered")
    arguments = {
        "history": messages,
        "max_messages": data.get("max_messages", DEFAULT_MAX_MESSAGES),
        "on_interrupt": data.get("on_interrupt", "discard"),
    }
    return arguments, None if unanswered is None else read_question(unanswered)


def read_on_interrupt(value: object) -> OnInterrupt:
    """Check what a conversation is to do with a reply that breaks off."""
    for choice in get_args(OnInterrupt):
        if value == choice:
            return choice  # type: ignore[no-any-return]
    raise InvalidRequestError(f"on_interrupt is {value!r}: give 'discard' or 'keep'")


def read_system(value: object) -> str | None:
    """Check the text of a system message; None for none."""
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"system is of type {type(value).__name__}: give a str, or None for none")
    return well_formed(value) if value else None


def read_question(value: object) -> str:
    """Check what the user asks in one turn."""
    if not isinstance(value, str):
        raise InvalidRequestError(
            f"the text is of type {type(value).__name__}: a turn is a str; what was said before belongs in history="
        )
    if not value:
        raise InvalidRequestError("the text is empty: give it some text")
    return well_formed(value)


def _check_max_messages(value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 2):
        raise InvalidRequestError(
            f"max_messages is {value!r}: give an int, 2 (a single turn) or more, or None for no limit"
        )


def _read_turns(messages: Messages) -> tuple[str | None, tuple[Turn, ...]]:
    system: list[str] = []
    said: list[Message] = []
    for where, given in numbered(messages):
        role, parts = read_message(given, where)
        text = "".join(parts)
        if not text:
            raise InvalidRequestError(f"{where} is empty: give it some text, or leave the turn out")
        if role == "system" and not said:
            system.append(text)
            continue
        if role == "system":
            raise InvalidRequestError(f"{where} is a system message: in a conversation it stands before all others")
        if role not in _ROLES:
            raise InvalidRequestError(f"{where} has the role {role!r}: use 'user', 'assistant' or 'system'")
        due = "assistant" if len(said) % 2 else "user"
        if _ROLES[role] != due:
            raise InvalidRequestError(
                f"{where} has the role {role!r} where {due!r} is due: "
                f"user and assistant take turns, and the user begins"
            )
        said.append(Message(due, text))
    if len(said) % 2:
        raise InvalidRequestError(
            "the last message is the user's and has no answer: leave it out, and ask it with stream() or generate()"
        )
    return BLANK_LINE.join(system) or None, tuple(map(Turn, said[::2], said[1::2]))


def _last(turns: tuple[T, ...], count: int) -> tuple[T, ...]:
    return turns[len(turns) - min(count, len(turns)) :]


def _kind(value: object) -> str:
    return "null" if value is None else f"something of type {type(value).__name__}"
