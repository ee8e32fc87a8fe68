"""API keys: held so that nothing shows them, and taking turns as their quotas are used up. No I/O."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import quote

from ..._core.wire.redaction import Redactor, sealed
from ...errors import InvalidRequestError

__all__ = ["Key", "KeyRedactor", "Keys", "read_key", "read_keys"]

WORD_LENGTH = 16
"""A secret that is shorter may be a word, or a part of one."""

REST_SECONDS = 60.0
"""How long a key rests whose upstream did not say: Gemini's quotas count requests per minute."""


class Key:
    """A key whose repr, which tracebacks with variables show, is not the key.

    Args:
        value: The key.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Key(***)"


class KeyRedactor:
    """Replaces keys and passwords in what comes from outside.

    A secret of a few letters would make all words unreadable: one that is no longer than a word is replaced where it
    stands as a word, and one of less than four characters, which keeps nobody out, nowhere.

    Args:
        secrets: What must not be shown.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 4)
        self._long = Redactor(secret for secret in self._secrets if len(secret) >= WORD_LENGTH)
        words = {
            form
            for secret in self._secrets
            if len(secret) < WORD_LENGTH
            for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("="))
        }
        alternatives = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
        self._words = re.compile(f"(?<![A-Za-z0-9])(?:{alternatives})(?![A-Za-z0-9])") if words else None

    def __call__(self, text: str) -> str:
        """The text with every secret in it replaced by `***`."""
        text = self._long(text)
        return text if self._words is None else self._words.sub("***", text)

    def sealed(self, error: BaseException) -> BaseException:
        """An exception as it may be the cause of one of ours, without secrets in its words and frames."""
        return sealed(error, self._secrets)

    def __repr__(self) -> str:
        return "KeyRedactor(***)"


def read_key(name: str, value: object) -> Key:
    """Check a key: a header bears it, so that only printable ASCII can be right.

    Raises:
        InvalidRequestError: It cannot be a key. The text does not repeat it.
    """
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} is of type {type(value).__name__}: give a str")
    if not value:
        raise InvalidRequestError(f"{name} is empty: give the key that the provider issued")
    if not all("!" <= character <= "~" for character in value):
        raise InvalidRequestError(
            f"{name} holds white space, a control character or a character that is not ASCII: "
            "give the key exactly as the provider issued it"
        )
    return Key(value)


def read_keys(name: str, value: object) -> list[Key]:
    """Check one key or a sequence of several; one that is given twice counts once.

    Raises:
        InvalidRequestError: One of them cannot be a key, or there is none.
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or isinstance(value, (bytes, bytearray)):
        return [read_key(name, value)]
    if not value:
        raise InvalidRequestError(f"{name} is an empty sequence: give at least one key")
    found = [read_key(f"{name}[{number}]", each) for number, each in enumerate(value)]
    return list({key.reveal(): key for key in found}.values())


class Keys:
    """Several keys, of which those whose quota is used up rest.

    One key serves until it has to rest, then the next.

    Args:
        keys: The keys. Where there are none, None takes their place: the upstream is asked without one.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self._keys: list[Key | None] = list(keys) or [None]
        self._clock = clock
        self._rested = [0.0] * len(self._keys)  # when each has rested
        self._current = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def current(self) -> Key | None:
        """The one that served last, whether it rests now or not."""
        return self._keys[self._current]

    def number(self, key: Key) -> int:
        """Which of the keys it is, counted from 1: what a log may say of it."""
        return self._keys.index(key) + 1

    def serving(self) -> Iterator[Key | None]:
        """Each key that does not rest, from the one that serves now on. Whichever is taken serves from then on."""
        start = self._current
        for offset in range(len(self._keys)):
            number = (start + offset) % len(self._keys)
            if self._rested[number] <= self._clock():
                self._current = number
                yield self._keys[number]

    def rest(self, key: Key, seconds: float | None) -> None:
        """Let a key rest: for as long as its upstream told, else for a minute."""
        number = self._keys.index(key)
        ends = self._clock() + (REST_SECONDS if seconds is None else seconds)
        self._rested[number] = max(self._rested[number], ends)

    def shortest_wait(self) -> float:
        """Seconds until the first of those that rest serves again; 0 if none rests."""
        now = self._clock()
        return min((ends - now for ends in self._rested if ends > now), default=0.0)
