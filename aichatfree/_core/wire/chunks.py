"""A body that comes in chunks (RFC 9112, 7.1), read strictly, and how much a server may say around it. No I/O.

Neither HTTP library reads it strictly enough for an answer that has to be whole: the one passes over what does not
belong between chunks, the other drops the text in front of it, and keeps an object or three for each chunk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_HEAD_BYTES = 64 * 1024
"""The largest head, and the largest trailers."""

MAX_FIELDS = 256
"""The most fields in a head, or in trailers."""

MAX_LINE_BYTES = 8 * 1024
"""The longest line with the size of a chunk, and what else it says."""

_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_SIZE_BEGUN = re.compile(rb"(?:0*[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\r\n\0]*)?\r?)?")
_TRAILER = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:|[ \t])[^\r\0]*\r?")
_HEAD_END = re.compile(rb"\n\r?\n")
_TRAILERS_END = re.compile(rb"(?:\A|\n)\r?\n")

_LARGE = 2 * 1024
"""Bytes from which a part is copied once only, as it is joined."""
_LAST_CHUNK = b"0\r\n\r\n"

_sizes: dict[bytes, int] = {}
"""The lines of small sizes that came before: to parse one takes as long as all the rest."""
_MAX_KEPT = 4096
_MAX_KEPT_LINE = 12


def head_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where a head ends, behind its empty line; -1 if it has not ended. ``start`` bytes were searched before."""
    found = _HEAD_END.search(data, max(0, start - 2))
    return found.end() if found else -1


class Chunks:
    """Decodes a chunked body: bytes in, the content of all chunks in them out, joined.

    What a chunk is, says nothing to anybody, so that what has arrived together goes on together.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        """What is wrong with the body; what came before it was given out."""
        self.ended = False
        """Whether the body has ended, with its trailers."""
        self.rest = b""
        """What came after its end."""
        self._left = 0
        self._closing = False
        self._pending = b""
        self._trailers: bytearray | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return the content in them, empty if there is none."""
        if 0 < len(data) <= self._left:  # amid a large chunk
            self._left -= len(data)
            self._closing = not self._left
            return data
        if self._trailers is not None:
            self._trail(data)
            return b""
        if self._pending:
            data, self._pending = self._pending + data, b""
        parts: list[bytes | memoryview] = []
        at = 0
        if not (self._left or self._closing):
            at = _small_chunks(data, parts)
            if at == len(data) or data[at : at + 6] == _LAST_CHUNK:  # as nearly always
                self.ended = at < len(data)
                return b"".join(parts)
        at = self._parse(data, at, parts)
        if self._trailers is not None:
            self._trail(data[at:])
        else:
            self._pending = data[at:]
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def _parse(self, data: bytes, at: int, parts: list[bytes | memoryview]) -> int:
        """Add the content from ``at`` on to ``parts``; return where what is not complete yet begins."""
        size, left, closing = len(data), self._left, self._closing
        find, add, known = data.find, parts.append, _sizes.get
        tried = not (left or closing)
        while at < size:
            if not (left or closing or tried):
                tried = True
                at += _small_chunks(data[at:], parts)
            while not (left or closing):  # whole small chunks, of sizes that came before: most of what comes
                start = find(b"\r\n", at) + 2
                length = known(data[at : start - 2], 0) if start > 1 else 0
                end = start + length
                if not length or data[end : end + 2] != b"\r\n":
                    break
                add(data[start:end])
                at = end + 2
            if left:
                end = at + left
                self._left = left = max(0, end - size)
                # A copy is cheap as long as it is small; join makes the only one of what is large.
                add(data[at:end] if end - at < _LARGE else memoryview(data)[at:end])
                if left:
                    return size
                at = end
                self._closing = closing = True
            elif closing:
                if data[at : at + 2] != b"\r\n":
                    if not b"\r\n".startswith(data[at : at + 2]):
                        return self._fail("a chunk is longer than its size", size)
                    return at
                at += 2
                self._closing = closing = False
            elif data[at : at + 6] == _LAST_CHUNK:  # and nothing behind it
                self.ended = True
                return size
            elif at < size:
                end = find(b"\n", at) + 1
                if not end and size - at <= MAX_LINE_BYTES and _SIZE_BEGUN.fullmatch(data, at):
                    return at
                found = _SIZE.fullmatch(data, at, end)
                if found is None or end - at > MAX_LINE_BYTES:
                    return self._fail("the size of a chunk is invalid", size)
                self._left = left = _read_size(found)
                at = end
                if not left:
                    self._trailers = bytearray()
                    return at
        return at

    def _fail(self, why: str, end: int) -> int:
        self.fault = why
        return end

    def _trail(self, data: bytes) -> None:
        assert self._trailers is not None
        before = len(self._trailers)
        self._trailers += data
        found = _TRAILERS_END.search(self._trailers, max(0, before - 2))
        end = found.end() if found else 0
        if (end or len(self._trailers)) > MAX_HEAD_BYTES:
            self.fault = "the trailers are too large"
            return
        if not end:
            return
        trailers, self.rest = bytes(self._trailers[:end]), bytes(self._trailers[end:])
        self.fault = _fault_of(trailers.split(b"\n")[:-2])
        self.ended = True


def _small_chunks(data: bytes, parts: list[bytes | memoryview]) -> int:
    """Take all chunks at once, where each has a size that came before and no CRLF in it; else none.

    Returns:
        Where what is left begins.
    """
    end = data.find(b"\r\n")
    size = _sizes.get(data[:end])
    if size is None:
        return 0
    if len(data) == end + size + 4 and data.endswith(b"\r\n"):  # one, as where a model takes its time
        parts.append(data[end + 2 : -2])
        return len(data)
    lines = data.split(b"\r\n")
    begun = len(lines.pop())
    if lines[-2:] == [b"0", b""]:  # the last chunk, which is left to the parser
        del lines[-2:]
        begun += len(_LAST_CHUNK)
    if len(lines) % 2:  # a size without its content
        begun += len(lines.pop()) + 2
    contents = lines[1::2]
    if [*map(_sizes.get, lines[::2])] != [*map(len, contents)]:
        return 0
    parts += contents
    return len(data) - begun


def _read_size(line: re.Match[bytes]) -> int:
    size = int(line[1], 16)
    if 0 < size < _LARGE and len(line[0]) < _MAX_KEPT_LINE:
        if len(_sizes) >= _MAX_KEPT:
            _sizes.clear()
        _sizes[line[0][:-2]] = size
    return size


def _fault_of(trailers: Sequence[bytes]) -> str | None:
    if len(trailers) > MAX_FIELDS:
        return "there are too many trailers"
    first = trailers[0][:1] if trailers else b"-"
    if first in (b" ", b"\t") or not all(map(_TRAILER.fullmatch, trailers)):
        return "a trailer is invalid"
    return None
