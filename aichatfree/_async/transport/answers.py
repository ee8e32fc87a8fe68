"""What is read off an answer of aiohttp's, or of a mock's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from ..._core.wire.headers import Headers


def read_fields(headers: Any) -> Headers:
    """Header fields: each is UTF-8, as aiohttp reads them, or else Latin-1."""
    if not headers:
        return Headers()
    values = "\r".join([*headers.values(), ""])
    if values.isascii() and " \r" not in values and "\t\r" not in values:  # as nearly always
        return Headers(headers.items())
    # Older parsers of aiohttp's leave the blanks at the end of a field.
    return Headers((name, _decoded(value).strip(" \t")) for name, value in headers.items())


def _decoded(value: str) -> str:
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


async def reader_of(response: aiohttp.ClientResponse) -> tuple[Any, Callable[[], Awaitable[bytes]]]:
    """The body of an answer, and what reads the next bytes of it."""
    content: Any = response.content  # a mock's may be another one each time
    if isinstance(content, aiohttp.StreamReader) and content.total_bytes and content.at_eof():
        # Somebody has read it on the way, to record it: then the response has kept it.
        content = asyncio.StreamReader()
        content.feed_data(await response.read())
        content.feed_eof()
    return content, getattr(content, "readany", None) or (lambda: content.read(2**16))
