"""Recorded requests, which keep their secrets to themselves when a failed assertion prints them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, SupportsIndex

from aichatfree.server.protocol import signature_valid

__all__ = ["Headers", "RecordedRequest", "Secret"]

HIDDEN = "***"


class Secret(str):
    """A str like any other, but for what `repr` and pytest show of it: nothing.

    When two strings differ pytest shows them line by line, after cutting off what is alike: so no lines are given
    away, and what is cut from a secret is one, too.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        return Secret(super().__getitem__(key))

    def splitlines(self, keepends: bool = False) -> list[str]:
        """One line, which tells nothing."""
        return [HIDDEN]

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        """As of any str, but for lines."""
        return [HIDDEN] if sep == "\n" else super().split(sep, maxsplit)


class Body(bytes):
    """The bytes of a request body; `repr` tells their number only, since a password may be among them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class Headers(Mapping[str, str]):
    """Header fields as they came: names match in any case, `get_all` gives all values of one name."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._fields = [(name, Secret(value) if _is_secret(name) else value) for name, value in fields]

    def __getitem__(self, name: str) -> str:
        for found in self.get_all(name):
            return found
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._fields))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._fields})

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"

    def get_all(self, name: str) -> list[str]:
        """All values of a field, in the order in which they came; none: an empty list."""
        return [value for key, value in self._fields if key.lower() == name.lower()]


class RecordedRequest:
    """One request as a `ScriptedServer` received it.

    Attributes:
        method: `POST` as a rule.
        path: The request target as it was sent, query included.
        headers: The header fields; names match in any case.
        body: The body, without its framing.
        connection: The number of the connection that it came on, from 1: equal numbers, one connection reused.
        signature_valid: Whether it is signed for the server's secret; None if it bears no signature.
    """

    def __init__(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: bytes = b"",
        connection: int = 0,
        secret: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body: bytes = Body(body)
        self.connection = connection
        self.signature_valid = signature_valid(body, secret)

    @property
    def json(self) -> Any:
        """The body as JSON, ValueError if it is none; `pass` and `sign` compare as usual but print as `***`."""
        data = json.loads(self.body)
        if isinstance(data, dict):
            for name in ("pass", "sign"):
                if isinstance(data.get(name), str):
                    data[name] = Secret(data[name])
        return data

    @property
    def contents(self) -> list[dict[str, Any]]:
        """The history that was sent, as on the wire: `[{"role": "user", "parts": [{"text": "Hello"}]}]`."""
        contents: list[dict[str, Any]] = self.json["messages"]
        return contents

    @property
    def prompt(self) -> str:
        """The text of the last message, its parts joined."""
        return "".join(part["text"] for part in self.contents[-1]["parts"])

    def __repr__(self) -> str:
        try:
            prompt = f" {_shortened(self.prompt)!r}"
        except (ValueError, LookupError, TypeError):
            prompt = ""
        return f"<{self.method} {self.path}{prompt}, {len(self.body)} bytes on connection {self.connection}>"


def _is_secret(name: str) -> bool:
    words = ("auth", "cookie", "token", "secret", "key", "password")
    return any(word in name.lower() for word in words)


def _shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
