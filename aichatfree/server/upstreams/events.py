"""The bodies of upstreams, from bytes to JSON: event streams, lines, and whole documents. No I/O.

A decoder takes the bytes as they arrive (`feed`, then `end`) and yields one JSON value an event. An answer that is a
JSON document, though a stream was asked for, counts as an event too: some servers and proxies do not stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["MAX_EVENT_BYTES", "BrokenStreamError", "Event", "EventStream", "JSONLines"]

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""The largest event, line or document that is read. Text events take some hundred bytes."""

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_JSON_SPACE = " \t\r\n"
_read_json = json.JSONDecoder().raw_decode
"""What `json.loads` does, without what it looks at besides, which for a small event takes as long."""


class BrokenStreamError(Exception):
    """The body is not what the upstream's API says. The text names what is wrong, without any of the body."""


Event = tuple[str, Any]
"""The name of an event, empty for most, and its data, read as JSON."""


class EventStream:
    """A `text/event-stream` as the WHATWG's HTML standard has it, whose data are JSON.

    A line ends with CR, LF or CRLF; several data lines of an event are one text; comments and unknown fields count
    for nothing. Unlike a browser, the decoder takes a last event whose empty line is missing: many servers end so. It
    rejects what is not UTF-8, which a browser would show as U+FFFD.

    Args:
        max_event_bytes: How much one event, or a document in place of the stream, may hold.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._start: bytes | None = b""  # what came before it was clear what the body is
        self._document: _Pending | None = None
        self._line = _Pending(max_event_bytes)
        self._after_cr = False
        self._name = ""
        self._data: bytes | bytearray | None = None
        self.done = False
        """Whether the stream has said that nothing follows (`data: [DONE]`)."""

    def feed(self, received: bytes) -> Iterator[Event]:
        """The events that some more of the body completes.

        Raises:
            BrokenStreamError: The body cannot be read on.
        """
        if self._start is not None:
            received = self._start + received
            if len(received) < len(_BOM) and _BOM.startswith(received):
                self._start = received
                return
            received = received.removeprefix(_BOM)
            first = received.lstrip(_SPACE)[:1]
            if not first:
                self._start = b""
                return
            self._start = None
            if first in b"{[":
                self._document = _Pending(self._max_event_bytes)
            elif first == b"<":
                raise BrokenStreamError("the answer is a page, not a stream of events")
        if self._document is not None:
            self._document.add(received)
            return
        yield from self._lines(received)

    def end(self) -> Iterator[Event]:
        """The events that the end of the body completes.

        Raises:
            BrokenStreamError: The body ends in the middle of something.
        """
        if self._document is not None:
            yield from _document(self._document.take())
        elif self._start is None and not self.done:
            self._take(self._line.take())
            event = self._dispatch()
            if event is not None:
                yield event

    def _lines(self, received: bytes) -> Iterator[Event]:
        if self._after_cr and received:
            received = received.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in received:
            self._after_cr = received.endswith(b"\r")
            received = received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = received.split(b"\n")
        if lines:
            lines[0] = self._line.take(lines[0])
        for line in lines:
            # Nearly every line is data, or ends an event: as quickly as it can be done.
            if line.startswith(b"data:"):
                value = line[6:] if line.startswith(b" ", 5) else line[5:]
                if self._data is None:
                    self._data = value
                else:
                    self._add(value)
            elif line:
                self._take(line)
            elif self._data is not None or self._name:
                event = self._dispatch()
                if event is not None:
                    yield event
                elif self.done:
                    return
        self._line.add(rest)

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")

    def _add(self, value: bytes) -> None:
        if self._data is None:
            self._data = value
        elif isinstance(self._data, bytearray):
            self._data += b"\n" + value
        else:
            self._data = bytearray(self._data + b"\n" + value)
        if len(self._data) > self._max_event_bytes:  # here too, since an event may never end
            raise _too_large(self._max_event_bytes)

    def _dispatch(self) -> Event | None:
        name, self._name = self._name, ""
        data, self._data = self._data, None
        if not data or data.isspace():
            return None
        if len(data) < 16 and data.strip() == b"[DONE]":
            self.done = True
            return None
        if len(data) > self._max_event_bytes:
            raise _too_large(self._max_event_bytes)
        return name, _parse(data)


class JSONLines:
    """One JSON document a line, as Ollama streams; or one document alone, however it is written.

    Args:
        max_event_bytes: How much one line, or the only document, may hold.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._pending = _Pending(max_event_bytes)
        self._first = True
        self._document = False
        self.done = False
        """Whether the stream has said that nothing follows: these never do so by themselves."""

    def feed(self, received: bytes) -> Iterator[Event]:
        """The documents that some more of the body completes.

        Raises:
            BrokenStreamError: The body cannot be read on.
        """
        if self._document or b"\n" not in received:
            self._pending.add(received)
            return
        *lines, rest = received.split(b"\n")
        lines[0] = self._pending.take(lines[0])
        for number, line in enumerate(lines):
            if not line or line.isspace():
                continue
            if self._first:
                self._first = False
                try:
                    yield ("", _parse(line.removeprefix(_BOM)))
                except BrokenStreamError:
                    if line.removeprefix(_BOM).lstrip(_SPACE)[:1] not in (b"{", b"["):
                        raise
                    self._document = True  # written over several lines
                    self._pending.add(b"\n".join([*lines[number:], rest]))
                    return
            else:
                yield ("", _parse(line))
        self._pending.add(rest)

    def end(self) -> Iterator[Event]:
        """The document that the end of the body completes.

        Raises:
            BrokenStreamError: The body ends in the middle of one.
        """
        rest = self._pending.take()
        if rest and not rest.isspace():
            yield from _document(rest.removeprefix(_BOM))


class _Pending:
    """Bytes of something whose end has not come yet."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._received = bytearray()

    def add(self, part: bytes) -> None:
        self._received += part
        if len(self._received) > self._max_bytes:
            raise _too_large(self._max_bytes)

    def take(self, last: bytes = b"") -> bytes:
        """All of it, with what came last; nothing is pending then."""
        if not self._received:
            return last
        self.add(last)
        whole = bytes(self._received)
        self._received.clear()
        return whole


def _too_large(max_bytes: int) -> BrokenStreamError:
    return BrokenStreamError(f"an event of the answer is larger than {max_bytes:,} bytes")


def _parse(text: bytes | bytearray) -> Any:
    try:
        source = text.decode().strip(_JSON_SPACE)
        value, end = _read_json(source)
        if end == len(source):
            return value
        problem = "the answer holds what is not JSON"
    except UnicodeDecodeError:
        problem = "the answer is not UTF-8"
    except (ValueError, RecursionError):
        problem = "the answer holds what is not JSON"
    # Outside the handlers: their exceptions hold the text itself.
    raise BrokenStreamError(problem)


def _document(text: bytes) -> Iterator[Event]:
    """A whole document, or the elements of one that is a list (how Gemini streams without `alt=sse`)."""
    document = _parse(text)
    for each in document if isinstance(document, list) else [document]:
        yield ("", each)
