"""One line of a batch's input, and what it asks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidRequestError


@dataclass(frozen=True)
class Line:
    """One line of the input.

    Args:
        number: From 1, blank lines counted.
        data: What it holds, as UTF-8 if the file was any Unicode.
        plain: It is a prompt as it is, not JSON.
    """

    number: int
    data: bytes
    plain: bool = False

    def digest(self, system: str | None) -> str:
        """Tells the line, and what it is asked with, from others, so that no answer is taken for that of another.

        Args:
            system: The system message's text that goes along with it, if any.
        """
        digest = hashlib.sha256(self.data).hexdigest()[:16]
        if not system:
            return digest
        return f"{digest}-{hashlib.sha256(system.encode('utf-8', 'replace')).hexdigest()[:8]}"


@dataclass(frozen=True)
class Ask:
    """What a line asks.

    Args:
        name: Its id; for a line of the OpenAI Batch API, its ``custom_id``.
        messages: What to send.
        system: The system message's text that this program added.
        body: For a line of the OpenAI Batch API, its ``body``.
    """

    name: object
    messages: list[Any] = field(default_factory=list)
    system: str | None = None
    body: dict[str, Any] | None = None


class BadLineError(InvalidRequestError):
    """A line that asks nothing.

    Args:
        message: What is wrong with it, beginning with its number.
        ask: As much of it as could be made out.
    """

    def __init__(self, message: str, ask: Ask) -> None:
        super().__init__(message)
        self.ask = ask

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.ask)
