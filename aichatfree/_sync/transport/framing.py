"""How an HTTP/1 answer is framed: its head, its body, its trailers, read strictly. No I/O.

http.client reads too leniently for an answer that has to be whole: it passes over what does not belong between chunks,
takes the end of a connection for the end of the headers, and knows 100 fields at most.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
"""The largest head, and the largest trailers, that are read."""

MAX_FIELDS = 256
"""The most fields in a head, or in trailers."""

_MAX_CHUNK_LINE = 8 * 1024
_LARGE = 2 * 1024
_MAX_KEPT_LINE = 8
_MAX_KEPT_LINES = 1024

_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]|2\.0) ([1-9][0-9]{2})(?: ([^\r\n\0]*))?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"0*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_CHUNK_SIZE_BEGUN = re.compile(rb"(?:0*[0-9a-fA-F]{1,16}[ \t]*(?:;[^\r\n\0]*)?\r?)?")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}[^\n]*\n(?:[^\r\n]+\r?\n)*\r?\n")
_INTERIM_BEGUN = b"HTTP/1.1 1"

Fields = list[tuple[str, str]]


class Head(NamedTuple):
    """The head of an answer.

    Args:
        version: The version, as http.client writes it: 10 or 11.
        status: The status code.
        reason: The reason phrase.
        fields: The header fields, in order.
    """

    version: int
    status: int
    reason: str
    fields: Fields

    def values(self, name: str) -> list[str]:
        """The members of a comma-separated field (RFC 9110, 5.6.1), its lines taken together."""
        lines = [value for key, value in self.fields if key.lower() == name]
        return [member.strip(" \t") for member in ",".join(lines).split(",")] if lines else []


class Framing(NamedTuple):
    """How the body of an answer is delimited: in chunks, by a length, or (neither) by the end of the connection.

    Args:
        chunked: It comes in chunks.
        length: Its length in bytes, if that was announced.
        keeps: The connection can serve another request afterwards.
        unknown: The transfer coding that is not known here, so that nobody could tell the body from its framing.
    """

    chunked: bool
    length: int | None
    keeps: bool
    unknown: str | None = None


def head_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where a head ends, behind its empty line; -1 if it has not ended. ``start`` bytes were searched before."""
    found = _HEAD_END.search(data, max(0, start - 2))
    return found.end() if found else -1


def read_head(data: bytes) -> Head:
    """The head of an answer.

    Args:
        data: Its lines, up to the empty one and with it. A line may end with LF alone (RFC 9112, 2.2).

    Raises:
        http.client.HTTPException: It is invalid, or has more than :data:`MAX_FIELDS` fields.
    """
    first, *lines = data.split(b"\n")
    status = _STATUS_LINE.fullmatch(first.removesuffix(b"\r"))
    if status is None:
        raise http.client.BadStatusLine(repr(first))
    return Head(10 if status[1] == b"1.0" else 11, int(status[2]), _text(status[3] or b""), _read_fields(lines[:-2]))


def _read_fields(lines: Iterable[bytes]) -> Fields:
    fields: list[tuple[str, str]] = []
    for line in lines:
        line = line.removesuffix(b"\r")
        if b"\0" in line or b"\r" in line:
            raise http.client.HTTPException("a header field holds NUL or a bare CR")
        if line[:1] in (b" ", b"\t"):  # a fold of the line before (RFC 9112, 5.2)
            if not fields:
                raise http.client.HTTPException("the first line of the headers is folded")
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {_text(line.strip(_OWS))}")
            continue
        key, colon, rest = line.partition(b":")
        if not colon or not _NAME.fullmatch(key):
            raise http.client.HTTPException(f"a line of the headers is no header field: {line!r}")
        if len(fields) == MAX_FIELDS:
            raise http.client.HTTPException(f"got more than {MAX_FIELDS} header fields")
        fields.append((key.decode("ascii"), _text(rest.strip(_OWS))))
    return fields


_OWS = b" \t"


def _text(value: bytes) -> str:
    """A field's value: UTF-8, as servers write it today, else Latin-1, as they once did."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def framing_of(head: Head) -> Framing:
    """How the body of an answer to a POST is framed (RFC 9112, 6.3).

    Raises:
        http.client.HTTPException: Its headers contradict themselves.
    """
    codings = [coding.lower() for coding in head.values("transfer-encoding")]
    lengths = head.values("content-length")
    options = {option.lower() for option in head.values("connection")}
    keeps = "close" not in options and (head.version > 10 or "keep-alive" in options)
    if head.status < 200 or head.status in (204, 304):
        return Framing(False, 0, keeps and head.status != 101)
    if codings and lengths:
        raise http.client.HTTPException("there is a Transfer-Encoding as well as a Content-Length")
    if codings and set(codings) != {"identity"}:
        if codings[-1] != "chunked" or codings.count("chunked") > 1 or not {"chunked", "identity"}.issuperset(codings):
            return Framing(False, None, False, ", ".join(head.values("transfer-encoding")))
        return Framing(True, None, keeps and head.version > 10)
    if not lengths:
        return Framing(False, None, False)
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise http.client.HTTPException(f"the Content-Length is {', '.join(lengths)!r}")
    return Framing(False, int(lengths[0]), keeps)


def without_interim(data: bytes) -> tuple[bytes, bool]:
    """What came while a request was going out, without the interim (1xx) answers at its beginning.

    Returns:
        The rest, and whether it is, or begins, the final answer.
    """
    while found := _INTERIM.match(data):
        data = data[found.end() :]
    # As long as it may still become an interim answer, it is none.
    begun = data[: len(_INTERIM_BEGUN)]
    interim = begun == _INTERIM_BEGUN[: len(begun)]
    return data, bool(data) and not (interim and not data.startswith(b"HTTP/1.1 101"))


class Chunks:
    """Decodes a chunked body: bytes in, the content of all chunks in them out, joined.

    Attributes:
        fault: What is wrong with the body; what came before it was given out.
        ended: Whether the body has ended, with its trailers.
        rest: What came after its end.
    """

    def __init__(self) -> None:
        self.fault: http.client.HTTPException | None = None
        self.ended = False
        self.rest = b""
        self._left = 0
        self._closing = False
        self._pending = b""
        self._trailers: bytearray | None = None

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return the content in them, empty if there is none."""
        if self._left >= len(data):  # amid a large chunk
            self._left -= len(data)
            self._closing = not self._left
            return data
        if self._trailers is not None:
            self._trail(data)
            return b""
        if not (self._left or self._closing or self._pending) and (content := _only_chunk(data)):
            return content
        if self._pending:
            data, self._pending = self._pending + data, b""
        parts: list[bytes | memoryview] = []
        try:
            at = self._parse(data, parts)
        except http.client.HTTPException as error:
            self.fault = error
            at = len(data)
        if self._trailers is not None:
            self._trail(data[at:])
        else:
            self._pending = data[at:]
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def _parse(self, data: bytes, parts: list[bytes | memoryview]) -> int:
        """Add the content in ``data`` to ``parts``; return where what is not complete yet begins."""
        at, size, left, closing = 0, len(data), self._left, self._closing
        find, starts, add, small = data.find, data.startswith, parts.append, _small_sizes.get
        while True:
            while not left and not closing:  # whole small chunks, of sizes that came before: most of what comes
                start = find(b"\n", at) + 1
                length = small(data[at:start], 0)
                end = start + length
                if not length or not starts(b"\r\n", end):
                    break
                add(data[start:end])
                at = end + 2
                if at == size:
                    return at
            if left:
                end = at + left
                self._left = left = max(0, end - size)
                # A copy is cheap as long as it is small; join makes the only one of what is large.
                add(data[at:end] if end - at < _LARGE else memoryview(data)[at:end])
                if left:
                    return size
                at, closing = end, True
                self._closing = True
            if closing:
                if data[at : at + 2] != b"\r\n":
                    if not b"\r\n".startswith(data[at : at + 2]):
                        raise _invalid(data[at : at + 2])
                    return at
                at += 2
                self._closing = closing = False
                continue
            end = find(b"\n", at) + 1
            if not end:
                line = data[at:]
                if len(line) > _MAX_CHUNK_LINE or not _CHUNK_SIZE_BEGUN.fullmatch(line):
                    raise _invalid(line)
                return at
            left = _chunk_size(data[at:end])
            at = end
            if not left:
                self._trailers = bytearray()
                return at

    def _trail(self, data: bytes) -> None:
        assert self._trailers is not None
        before = len(self._trailers)
        self._trailers += data
        if self._trailers[:2] == b"\r\n":
            end = 2
        else:
            end = head_end(self._trailers, before)
            if (len(self._trailers) if end < 0 else end) > MAX_HEAD_BYTES:
                self.fault = http.client.HTTPException("the trailers of the body are too large")
                return
            if end < 0:
                return
        trailers, self.rest = bytes(self._trailers[:end]), bytes(self._trailers[end:])
        try:
            _read_fields(trailers.split(b"\n")[:-2])
        except http.client.HTTPException as error:
            self.fault = error
        self.ended = True


_small_sizes: dict[bytes, int] = {}
"""The lines of small sizes that came before: to parse one takes as long as all the rest."""


def _only_chunk(data: bytes) -> bytes:
    """The content, if this is one whole small chunk and no more, as where a model takes its time; else empty."""
    start = data.find(b"\n") + 1
    whole = _small_sizes.get(data[:start]) == len(data) - start - 2 and data.endswith(b"\r\n")
    return data[start:-2] if whole else b""


def _chunk_size(line: bytes) -> int:
    found = _CHUNK_SIZE.fullmatch(line)
    if found is None or len(line) > _MAX_CHUNK_LINE:
        raise _invalid(line)
    size = int(found[1], 16)
    if size < _LARGE and len(line) < _MAX_KEPT_LINE and len(_small_sizes) < _MAX_KEPT_LINES:
        _small_sizes[line] = size
    return size


def _invalid(line: bytes) -> http.client.HTTPException:
    return http.client.HTTPException(f"the chunks of the body are invalid where it says {line[:80]!r}")
