"""From messages as they are on the wire to the turns of a conversation. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from ..._core.wire.signing import well_formed
from ..failures import UpstreamError

__all__ = ["Joiner", "Turn", "turns_of"]

_ROLES = {"user": "user", "model": "model", "assistant": "model"}


class Turn(NamedTuple):
    """What one side said: `role` is `user` or `model`."""

    role: str
    text: str


def turns_of(messages: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """The turns of a conversation, roles alternating.

    The parts of a message are one text, as its signature has it; neighbouring messages of one role are one turn with
    a blank line between them. Messages without any text are left out: no provider takes them.

    Args:
        messages: As on the wire, `[{"role": "user", "parts": [{"text": "Hello"}]}]`.

    Raises:
        UpstreamError: A role is unknown, or there is no text at all; Gemini's words for it, as the real server has
            them.
    """
    spoken = [(role, text) for role, text in map(_read, messages) if text]
    if not spoken:
        raise _refused("* GenerateContentRequest.contents: contents is not specified", "the messages have no text")
    return [
        Turn(role, well_formed("\n\n".join(text for _, text in together)))
        for role, together in groupby(spoken, key=itemgetter(0))
    ]


def _read(message: Mapping[str, Any]) -> tuple[str, str]:
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _refused("Please use a valid role: user, model.", "a message has an unknown role")
    texts = [part.get("text") for part in message.get("parts") or ()]
    return _ROLES[role], "".join(text for text in texts if isinstance(text, str))


def _refused(message: str, reason: str) -> UpstreamError:
    return UpstreamError(message, status=400, reason=reason)


class Joiner:
    """Puts characters together whose halves (UTF-16 surrogates) came in two pieces.

    Upstreams written in JavaScript cut text between any two code units.
    """

    def __init__(self) -> None:
        self._half = ""

    def join(self, text: str) -> str:
        """The text as far as its characters are complete."""
        if text.isascii() and not self._half:
            return text
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return well_formed(text[:-1] if self._half else text)

    def end(self) -> str:
        """What is left at the end: U+FFFD in place of half a character, if there is one."""
        half, self._half = self._half, ""
        return well_formed(half)
