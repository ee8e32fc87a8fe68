"""Where the body of an answer begins and ends (RFC 9112, 6), read off what comes on a connection.

aiohttp's own parser is lenient: it takes an unknown transfer coding for text, and more. So it parses heads here and
nothing else. Bodies in chunks are read by the core.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import aiohttp
from aiohttp.http_exceptions import BadHttpMessage
from multidict import CIMultiDict, CIMultiDictProxy

from ..._core.wire.chunks import MAX_FIELDS, MAX_HEAD_BYTES, Chunks, head_end

READ_SIZE = 64 * 1024
"""Bytes that asyncio asks a socket for at a time. Of its own 256 KiB, which malloc maps from the system and gives back
at each read, however small what comes is, the mapping alone can cost more than the rest of the read."""
LARGE_READ_SIZE = 256 * 1024
"""The same, for an answer that has filled a read."""

_BLANK_BEHIND = re.compile(rb"\s:")
_INTERIM_BEGUN = b"HTTP/1.1 1"
_CONCERNS_THE_FINAL = re.compile(rb"(?im)^(?:connection|content-length|transfer-encoding|upgrade):.*\n(?:[ \t].*\n)*")
"""Fields that aiohttp's parser would heed: in an interim answer they say nothing (RFC 9110, 15.2; RFC 9112, 6.3)."""
_NOTHING: tuple[tuple[()], bool, bytes] = ((), False, b"")

_HEAD, _CHUNKS, _LENGTH, _UNTIL_EOF, _DONE = range(5)


class Line(Protocol):
    """The connection that an answer arrives on."""

    ended: bool

    @property
    def unsent(self) -> bool:
        """Whether part of the request has not gone out yet."""
        ...

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
    if fields == ["chunked"]:  # as nearly always
        return True
    codings = [coding.strip(" \t").lower() for field in fields for coding in field.split(",")]
    if codings and codings[-1] == "chunked":
        codings.pop()
        return True if all(coding == "identity" for coding in codings) else None
    return False if codings in ([], ["identity"]) else None


def _is_last(headers: CIMultiDictProxy[str]) -> bool:
    """Whether an answer of HTTP/1.0 ends its connection, though it says keep-alive (RFC 9112, 6.1 and 9.3)."""
    options = ",".join(headers.getall("Connection", ())).lower().split(",")
    return "Transfer-Encoding" in headers or "close" in [option.strip(" \t") for option in options]


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
        self._interim = b""
        self._final = False
        self._state = _HEAD
        self._left = 0
        self._chunks = Chunks()
        self._body: aiohttp.StreamReader | None = None

    @property
    def begun(self) -> bool:
        """Whether any of the answer has come."""
        return self._state != _HEAD or self._head_bytes > 0 or bool(self._interim)

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
            if data:
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
        while data := self._pass_interim(data):
            before = len(self._begun)
            found = head_end(self._begun + data if before else data)
            end = found - before if found > 0 else len(data)
            self._head_bytes += end
            if self._head_bytes > MAX_HEAD_BYTES:
                raise BadHttpMessage("the head of the answer is too large")
            # Up to its end and no further: after an error behind it, the parser would not return the head either.
            messages, upgraded, _ = self._heads.feed_data(data[:end])
            self._begun = b"" if found > 0 else (self._begun + data)[-3:]
            data = data[end:]
            if not messages:
                continue
            head = messages[0][0]
            status = head.code
            if len(head.raw_headers) > MAX_FIELDS:
                raise BadHttpMessage("the answer has too many header fields")
            if _BLANK_BEHIND.search(b":".join([*[name for name, _ in head.raw_headers], b""])):
                # Of just those fields that frame an answer the parser takes this, and does not know their names then.
                raise BadHttpMessage("there is white space behind the name of a header field")
            if "\0" in head.reason:
                raise BadHttpMessage("the status line holds NUL")
            if upgraded or found < 0 or status == 101 or head.version < (1, 0):
                raise BadHttpMessage("the answer is not one to this request")
            if status >= 200:
                self._heads = None
                return messages, data
            self._head_bytes = 0  # it was an interim one behind empty lines
            self._final = False
        return None, b""

    def _pass_interim(self, data: bytes) -> bytes:
        """Take interim (1xx) answers off the beginning of ``data``, and hold back what may be one.

        aiohttp's parser is given them without what it would take for the end of the connection, or for a body.
        """
        while data and not self._final:
            searched = len(self._interim)
            data, self._interim = self._interim + data, b""
            begun = data[: len(_INTERIM_BEGUN)].replace(b"/1.0", b"/1.1")
            if begun != _INTERIM_BEGUN[: len(begun)] or data[9:12] == b"101":
                self._final = True
                break
            end = head_end(data, searched)
            if end < 0:
                if len(data) > MAX_HEAD_BYTES:
                    raise BadHttpMessage("the head of the answer is too large")
                self._interim = data
                return b""
            head, data = data[:end], data[end:]
            self._heads.feed_data(b"HTTP/1.1" + _CONCERNS_THE_FINAL.sub(b"", head[8:]))
        return data

    def _begin_body(self, head: Any, body: aiohttp.StreamReader) -> None:
        self._body = body
        if head.version < (1, 1) and _is_last(head.headers):
            self._line.force_close()
        if body.is_eof() or head.code in (204, 304):
            self._state = _DONE
            self._give_up_unsent()
            return
        chunked = is_chunked(head.headers)
        if chunked is None:
            self._fail("the transfer coding of the answer is not known here")
        elif chunked:
            self._state = _CHUNKS
        elif (length := head.headers.get("Content-Length")) is not None:
            self._state = _LENGTH
            self._left = int(length)
            if not self._left:
                self._end()
        else:
            self._state = _UNTIL_EOF

    def _feed_body(self, data: bytes) -> None:
        assert self._body is not None
        if len(data) >= READ_SIZE:
            self._line.read_more()
        if self._state == _CHUNKS:
            chunks = self._chunks
            if content := chunks.feed(data):
                self._body.feed_data(content)
            if chunks.fault is not None:
                self._fail(chunks.fault)
            elif chunks.ended:
                self._end(excess=bool(chunks.rest))
        elif self._state == _LENGTH:
            left = self._left - len(data)
            if left > 0:
                self._left = left
                self._body.feed_data(data)
            else:
                self._body.feed_data(data[:left] if left else data)
                self._end(excess=left < 0)
        elif self._state == _UNTIL_EOF:
            self._body.feed_data(data)
        else:
            # Nobody has asked for this: whoever used the connection next would take it for an answer.
            self._line.force_close()
            self._line.abort()

    def _end(self, *, excess: bool = False) -> None:
        assert self._body is not None
        self._state = _DONE
        if excess:
            self._line.force_close()
        self._give_up_unsent()
        self._body.feed_eof()  # this gives the connection back

    def _give_up_unsent(self) -> None:
        # The server has answered without the rest of the request. It may never read that, nor what would follow it,
        # and closing the connection in the usual way would wait until it does.
        if self._line.unsent:
            self._line.force_close()
            self._line.abort()

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
