"""The head of an HTTP/1 answer, read strictly, and how it says that its body is framed. No I/O.

http.client reads too leniently for an answer that has to be whole: it takes the end of a connection for the end of the
headers, and knows 100 fields at most. Bodies in chunks are read by the core.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..._core.wire.chunks import MAX_FIELDS

_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]|2\.0) ([1-9][0-9]{2})(?: ([^\r\n\0]*))?")
_PROTOCOL = b"HTTP/"
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LENGTH = re.compile(r"0*[0-9]{1,19}")
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


def begins_answer(data: bytes) -> bool:
    """Whether ``data`` is, or may become, the beginning of an answer of HTTP: its status line, or part of that."""
    line, end, _ = data.partition(b"\n")
    if end:
        return _STATUS_LINE.fullmatch(line.removesuffix(b"\r")) is not None
    return line.startswith(_PROTOCOL) or _PROTOCOL.startswith(line)


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
            fields[-1] = (name, f"{value} {_text(line.strip(_OWS))}".strip(" "))
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
    options = {option.lower() for option in head.values("connection") + head.values("proxy-connection")}
    keeps = "close" not in options and (head.version > 10 or "keep-alive" in options)
    if head.status < 200:
        return Framing(False, 0, keeps and head.status != 101)
    if codings and lengths:
        raise http.client.HTTPException("there is a Transfer-Encoding as well as a Content-Length")
    if lengths and (len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0])):
        raise http.client.HTTPException(f"the Content-Length is {', '.join(lengths)!r}")
    if head.status in (204, 304):
        return Framing(False, 0, keeps)
    if codings and set(codings) != {"identity"}:
        if codings[-1] != "chunked" or codings.count("chunked") > 1 or not {"chunked", "identity"}.issuperset(codings):
            return Framing(False, None, False, ", ".join(head.values("transfer-encoding")))
        return Framing(True, None, keeps and head.version > 10)
    return Framing(False, int(lengths[0]), keeps) if lengths else Framing(False, None, False)


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
