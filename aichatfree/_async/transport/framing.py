"""Where the body of an answer begins and ends (RFC 9112, 6 and 7), read off what comes on a connection.

aiohttp's own parser is lenient: it takes an unknown transfer coding for text, drops the text in front of an invalid
chunk, and keeps one object or three for each chunk, however small. So it parses heads here and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import aiohttp
from aiohttp.http_exceptions import BadHttpMessage
from multidict import CIMultiDict, CIMultiDictProxy

MAX_HEAD_BYTES = 64 * 1024
"""The largest head, and the largest trailer section."""
MAX_FIELDS = 256
MAX_LINE_BYTES = 8 * 1024
"""The longest line with the size of a chunk, and what else it says."""

READ_SIZE = 64 * 1024
"""Bytes that asyncio asks a socket for at a time. Of its own 256 KiB, which malloc maps from the system and gives back
at each read, however small what comes is, the mapping alone can cost more than the rest of the read."""
LARGE_READ_SIZE = 256 * 1024
"""The same, for an answer that has filled a read."""

_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = re.compile(rb"0{0,64}([0-9A-Fa-f]{1,16})[ \t]{0,64}(?:;[^\r\n\0]{0,8000})?\r\n")
_CHUNK_SIZE_BEGUN = re.compile(rb"(?:0{0,64}[0-9A-Fa-f]{1,16}[ \t]{0,64}(?:;[^\r\n\0]{0,8000})?\r?)?\Z")
_TRAILER = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:|[ \t])[^\r\0]*")
_NOTHING: tuple[tuple[()], bool, bytes] = ((), False, b"")

_HEAD, _CHUNK_LINE, _CHUNK, _CHUNK_END, _TRAILERS, _LENGTH, _UNTIL_EOF, _DONE = range(8)


_SIZES: dict[bytes, int] = {}
"""The size lines that were met lately: most replies have few different ones."""
_MANY_SIZES = 4096
_LONG_LINE = 12
_LAST_CHUNK = b"0\r\n\r\n"
_LARGE = 1024


def _whole_chunks(data: bytes, at: int, texts: list[bytes | memoryview]) -> int:
    """Take the chunks that are there as a whole, as servers write them; return where the next thing begins."""
    find, append, sizes = data.find, texts.append, _SIZES
    if not at and sizes.get(data[: find(b"\r\n")], _LARGE) < _LARGE and (end := _small_chunks(data, texts)):
        return end
    while (start := find(b"\r\n", at) + 2) > 1:
        size = sizes.get(data[at : start - 2])
        if size is None:
            found = _CHUNK_SIZE.fullmatch(data, at, start)
            if found is None or len(found[1]) > 8 or not (size := int(found[1], 16)):
                break
            if start - at < _LONG_LINE:
                if len(sizes) >= _MANY_SIZES:
                    sizes.clear()
                sizes[data[at : start - 2]] = size
        end = start + size
        if data[end : end + 2] != b"\r\n":
            break
        append(data[start:end] if size < _LARGE else memoryview(data)[start:end])
        at = end + 2
    return at


def _small_chunks(data: bytes, texts: list[bytes | memoryview]) -> int:
    """Take all chunks at once, where each has a size that was met lately and no CRLF in it; else none."""
    *parts, _ = data.split(b"\r\n")
    chunks = parts[1::2]
    if parts[-2:] == [b"0", b""]:  # the end of the reply
        chunks.pop()
    lines = parts[: 2 * len(chunks) : 2]
    if [*map(_SIZES.get, lines)] != [*map(len, chunks)]:
        return 0
    texts += chunks
    return sum(map(len, lines)) + sum(map(len, chunks)) + 4 * len(chunks)


class Line(Protocol):
    """The connection that an answer arrives on."""

    ended: bool

    def force_close(self) -> None:
        """Let nobody use the connection after this answer."""

    def abort(self) -> None:
        """Close the connection at once."""

    def read_more(self) -> None:
        """Read more at a time: there is much to be read."""


def is_chunked(headers: Mapping[str, str]) -> bool | None:
    """Whether a body comes in chunks; None where it is in another coding, which nobody could tell the end of."""
    fields: Iterable[str]
    if isinstance(headers, (CIMultiDictProxy, CIMultiDict)):
        fields = headers.getall("Transfer-Encoding", ())
    else:
        fields = [headers["transfer-encoding"]] if "transfer-encoding" in headers else []
    codings = [coding.strip(" \t").lower() for field in fields for coding in field.split(",")]
    if codings and codings[-1] == "chunked":
        codings.pop()
        return True if all(coding == "identity" for coding in codings) else None
    return False if codings in ([], ["identity"]) else None


class Framing:
    """Stands in for aiohttp's parser on a connection, for the answer to one request.

    Args:
        line: The connection.
        heads: aiohttp's parser, which is given heads only.
    """

    def __init__(self, line: Line, heads: Any) -> None:
        self._line = line
        self._heads: Any = heads
        self._head_bytes = 0
        self._begun = b""
        self._state = _HEAD
        self._left = 0
        self._trailer_bytes = self._trailers = 0
        self._body: aiohttp.StreamReader | None = None

    @property
    def done(self) -> bool:
        """Whether the answer has come to its end, good or bad."""
        return self._state == _DONE

    def feed_data(self, data: bytes) -> tuple[Any, bool, bytes]:
        """Take what has arrived.

        Returns:
            What aiohttp's parser returns: the head with the reader of its body, once it is there.

        Raises:
            HttpProcessingError: This is not an answer of HTTP.
        """
        if type(data) is not bytes:  # some loops pass a bytearray of theirs
            data = bytes(data)
        if self._state != _HEAD:
            if self._state == _CHUNK_LINE:
                self._feed_chunks(data)
            elif data:
                self._feed_body(data)
            return _NOTHING
        messages, data = self._feed_head(data)
        if not messages:
            return _NOTHING
        self._begin_body(*messages[0])
        if data:
            self._feed_body(data)
        return messages, False, b""

    def _feed_head(self, data: bytes) -> tuple[Any, bytes]:
        while data:
            before = len(self._begun)
            found = _HEAD_END.search(self._begun + data if before else data)
            end = found.end() - before if found else len(data)
            self._head_bytes += end
            if self._head_bytes > MAX_HEAD_BYTES:
                raise BadHttpMessage("the head of the answer is too large")
            # Up to its end and no further: after an error behind it, the parser would not return the head either.
            messages, upgraded, _ = self._heads.feed_data(data[:end])
            self._begun = b"" if found else (self._begun + data)[-3:]
            data = data[end:]
            if not messages:
                continue
            status = messages[0][0].code
            if len(messages[0][0].raw_headers) > MAX_FIELDS:
                raise BadHttpMessage("the answer has too many header fields")
            if any(name[-1:].isspace() for name, _ in messages[0][0].raw_headers):
                # Of just those fields that frame an answer the parser takes this, and does not know their names then.
                raise BadHttpMessage("there is white space behind the name of a header field")
            if upgraded or not found or status == 101:
                raise BadHttpMessage("the answer is not one to this request")
            if status >= 200:
                self._heads = None
                return messages, data
            self._head_bytes = 0
        return None, b""

    def _begin_body(self, head: Any, body: aiohttp.StreamReader) -> None:
        self._body = body
        if body.is_eof() or head.code in (204, 304):
            self._state = _DONE
            return
        chunked = is_chunked(head.headers)
        if chunked is None:
            self._fail("the transfer coding of the answer is not known here")
        elif chunked:
            self._state = _CHUNK_LINE
        elif (length := head.headers.get("Content-Length")) is not None:
            self._state = _LENGTH
            self._left = int(length)
            if not self._left:
                self._end()
        else:
            self._state = _UNTIL_EOF

    def _feed_body(self, data: bytes) -> None:
        assert self._body is not None
        if self._state == _UNTIL_EOF:
            self._body.feed_data(data)
        elif self._state == _LENGTH:
            if len(data) >= READ_SIZE:
                self._line.read_more()
            left = self._left - len(data)
            if left > 0:
                self._left = left
                self._body.feed_data(data)
            else:
                self._body.feed_data(data[:left] if left else data)
                self._end(excess=left < 0)
        elif self._state == _DONE:
            # Nobody has asked for this: whoever used the connection next would take it for an answer.
            self._line.force_close()
            self._line.abort()
        else:
            self._feed_chunks(data)

    def _feed_chunks(self, data: bytes) -> None:
        """Take chunks. Their texts go on as one: what a chunk is, says nothing to anybody."""
        assert self._body is not None
        if self._begun:
            data, self._begun = self._begun + data, b""
        texts: list[bytes | memoryview] = []
        fault = None
        at, size = 0, len(data)
        if size >= READ_SIZE:
            self._line.read_more()
        while at < size:
            if self._state == _CHUNK_LINE:
                if data[at : at + 6] == _LAST_CHUNK:  # and nothing behind it
                    at, self._state = size, _DONE
                    break
                before, at = at, _whole_chunks(data, at, texts)
                if at > before:
                    continue
                found = _CHUNK_SIZE.match(data, at)
                if found is None:
                    if size - at > MAX_LINE_BYTES or not _CHUNK_SIZE_BEGUN.match(data, at):
                        fault = "the size of a chunk is invalid"
                    self._begun = data[at:]
                    break
                at = found.end()
                self._left = int(found[1], 16)
                self._state = _CHUNK if self._left else _TRAILERS
            elif self._state == _CHUNK:
                end = at + self._left
                texts.append(memoryview(data)[at:end])
                self._left = max(0, end - size)
                at = min(end, size)
                if not self._left:
                    self._state = _CHUNK_END
            elif self._state == _CHUNK_END:
                if data.startswith(b"\r\n", at):
                    at += 2
                    self._state = _CHUNK_LINE
                    continue
                self._begun = data[at:]
                if self._begun != b"\r":
                    fault = "a chunk is longer than its size"
                break
            else:
                at, fault = self._feed_trailers(data, at)
                break
        if texts:
            self._body.feed_data(data if len(texts[0]) == size else b"".join(texts))  # of one bytes object, itself
        if fault:
            self._fail(fault)
        elif self._state == _DONE:
            self._end(excess=at < size)

    def _feed_trailers(self, data: bytes, at: int) -> tuple[int, str | None]:
        while (end := data.find(b"\n", at)) >= 0:
            field = data[at:end].removesuffix(b"\r")
            at = end + 1
            if not field:
                self._state = _DONE
                return at, None
            self._trailers += 1
            self._trailer_bytes += len(field)
            if not _TRAILER.fullmatch(field) or (self._trailers == 1 and field[:1].isspace()):
                return at, "a trailer is invalid"
            if self._trailers > MAX_FIELDS:
                return at, "there are too many trailers"
            if self._trailer_bytes > MAX_HEAD_BYTES:
                break
        self._begun = data[at:]
        if self._trailer_bytes + len(self._begun) > MAX_HEAD_BYTES:
            return at, "the trailers are too large"
        return len(data), None

    def _end(self, *, excess: bool = False) -> None:
        assert self._body is not None
        self._state = _DONE
        if excess:
            self._line.force_close()
        self._body.feed_eof()  # this gives the connection back

    def _fail(self, why: str) -> None:
        assert self._body is not None
        self._state = _DONE
        self._body.set_exception(aiohttp.ClientPayloadError(why))
        self._line.force_close()
        self._line.abort()

    def feed_eof(self) -> None:
        """The connection is gone."""
        if self._state == _UNTIL_EOF and self._line.ended:
            self._end()
        elif self._state not in (_HEAD, _DONE):
            self._fail("the connection ended before the answer did")

    def pause_reading(self) -> None:
        """Nothing: what has been read is small, and is taken as a whole."""
