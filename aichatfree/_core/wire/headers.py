"""Headers as this library shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_SECRET = ("auth", "cookie", "token", "secret", "pass", "key", "session", "signature", "credential")


def is_secret_header(name: str) -> bool:
    """Whether a header of this name may bear a credential, so that its value is never shown."""
    lowered = name.lower()
    return any(word in lowered for word in _SECRET)


class Headers(Mapping[str, str]):
    """Response headers: looked up in any case, the values of a repeated name joined with a comma (RFC 9110, 5.3).

    Args:
        pairs: Names and values in the order they arrived.
    """

    __slots__ = ("_by_name", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)
        self._by_name: dict[str, str] | None = None  # few callers look at any header: the index waits for the first

    def _index(self) -> dict[str, str]:
        if self._by_name is None:
            index: dict[str, str] = {}
            for name, value in self._pairs:
                key = name.lower()
                index[key] = f"{index[key]}, {value}" if key in index else value
            self._by_name = index
        return self._by_name

    def __getitem__(self, name: str) -> str:
        return self._index()[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, or ``default`` if there is none: without the exception that it costs a Mapping."""
        return self._index().get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())

    def __reduce__(self) -> tuple[type[Headers], tuple[tuple[tuple[str, str], ...]]]:
        return Headers, (self._pairs,)

    def __repr__(self) -> str:
        shown = {name: "***" if is_secret_header(name) else value for name, value in self.items()}
        return f"Headers({shown!r})"
