"""Header fields, as they are meant."""

from __future__ import annotations

from typing import Any

from ..._core.wire.headers import Headers


def read_fields(headers: Any) -> Headers:
    """Header fields: each is UTF-8, as aiohttp reads them, or else Latin-1."""
    return Headers(
        (name, value if value.isascii() else _decoded(value)) for name, value in (headers.items() if headers else ())
    )


def _decoded(value: str) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
