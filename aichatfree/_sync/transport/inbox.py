"""The receiving side of a connection, within the limits of the call it serves."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from ..._core.deadlines import Deadline
from ..._core.wire.chunks import MAX_HEAD_BYTES, Chunks, head_end
from .framing import Framing, Head, begins_answer, read_head

READ_SIZE = 64 * 1024
"""The most bytes that one read asks for. A read returns what has arrived, so this delays nothing."""

_FIRST_READ_SIZE = 4 * 1024
"""Enough for a head, and for all of a short reply."""
_SMALL_READ_SIZE = 470
"""For pieces that trickle. Who waits for one holds a buffer, which Python takes from its own pools up to 512 bytes.
Larger ones come from malloc, and leave holes that the next ones do not fit in: 20 KiB a thread, where 200 wait."""
_LAST_READ_SIZE = 256 * 1024
"""For what had come in time where the limit of the call passed before it was fetched."""
_SLACK_SECONDS = 0.05
_LONGEST_SHOWN = 100
"""Bytes of what is not HTTP."""


class Inbox:
    """What a connection receives. It stands where http.client has a file, and is closed as that is.

    Args:
        sock: The connection's socket.
        file: What http.client made of it, which holds the socket open.
        deadline: How long each read may take.
        early: What was received while the request went out.
    """

    def __init__(self, sock: socket.socket, file: io.RawIOBase, deadline: Deadline, early: bytes = b"") -> None:
        self._sock = sock
        self._file = file
        self._deadline = deadline
        self._set = sock.gettimeout()
        self._data = early
        self._size = _FIRST_READ_SIZE
        self._late = False
        self.closed = False

    @property
    def pending(self) -> bool:
        """Whether something was received and not used."""
        return bool(self._data)

    def receive(self) -> bytes:
        """The next bytes, empty at the end of the connection.

        Raises:
            TimeoutError: A limit of the call passed.
            OSError: The connection broke; a TLS connection also if it ended without saying so (close_notify).
        """
        if self._data:
            data, self._data = self._data, b""
            return data
        left = self._deadline.remaining()
        if left is None:
            if self._set is not None:
                self._arm(None)
        elif left == 0:
            return self._receive_the_last()
        elif self._set is None or not left <= self._set <= left + _SLACK_SECONDS:
            self._arm(left)
        data = self._recv(self._size)
        if len(data) == self._size:
            self._size = min(4 * self._size, READ_SIZE)
        elif self._size == _FIRST_READ_SIZE:
            self._size = _SMALL_READ_SIZE
        return data

    def _receive_the_last(self) -> bytes:
        """What had come when the limit passed, and had not been fetched; once, however much more comes."""
        if self._late:
            raise TimeoutError("the limit passed")
        self._set = 0
        self._sock.settimeout(0)
        last = b""
        try:
            while len(last) < _LAST_READ_SIZE:
                data = self._recv(READ_SIZE)
                if not data:
                    return last  # its end can be received again
                last += data
        except OSError:
            if not last:
                raise
        self._late = True
        return last

    def _recv(self, size: int) -> bytes:
        try:
            return self._sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError):
            raise TimeoutError("the limit passed") from None
        except ssl.SSLEOFError as error:
            raise ConnectionResetError("the TLS connection was cut: it ended without close_notify") from error

    def _arm(self, seconds: float | None) -> None:
        # Each settimeout is a system call, so it is spared while what was set is right within the slack.
        self._set = None if seconds is None else seconds + _SLACK_SECONDS / 2
        self._sock.settimeout(self._set)

    def read_head(self) -> bytes:
        """The lines up to the next empty one, and with it; empty at the end of the connection.

        Raises:
            http.client.HTTPException: They are too large, or the connection ended amid them.
        """
        data = self.receive()
        while data and not data.lstrip(b"\r\n"):  # empty lines before the head
            data = self.receive()
        data = data.lstrip(b"\r\n")
        searched = 0
        while (end := head_end(data, searched)) < 0:
            if b"\n" not in data[:searched] and data and not begins_answer(data):
                raise http.client.BadStatusLine(repr(data[:_LONGEST_SHOWN]))  # and no more may come: SSH and SMTP wait
            searched = len(data)
            more = self.receive() if searched <= MAX_HEAD_BYTES + 2 else b""
            if not more:
                if searched > MAX_HEAD_BYTES + 2:
                    raise http.client.HTTPException("the headers are too large")
                if data:
                    raise http.client.RemoteDisconnected("the connection was closed amid the headers")
                return b""
            data += more
        if end > MAX_HEAD_BYTES + 4:
            raise http.client.HTTPException("the headers are too large")
        self._data = data[end:]
        return data[:end]

    def read_final_head(self) -> Head:
        """The head of an answer, behind the interim ones.

        Raises:
            http.client.HTTPException: It is invalid, or too large, or not there.
        """
        while True:
            lines = self.read_head()
            if not lines:
                raise http.client.RemoteDisconnected("the connection was closed without an answer")
            head = read_head(lines)
            if head.status == 101:
                raise http.client.HTTPException("the answer is not one to this request")
            if head.status >= 200:
                return head

    def unread(self, data: bytes) -> None:
        """Let ``data`` be what is received next."""
        self._data = data + self._data

    def readline(self, limit: int = -1) -> bytes:
        """A line, as http.client looks for the end of the answer to a CONNECT."""
        data = b""
        while True:
            more = self.receive()
            data += more
            end = data.find(b"\n") + 1 or (len(data) if not more else 0)
            if 0 <= limit < (end or len(data)):
                end = limit
            if end or not more:
                self._data = data[end:]
                return data[:end]

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or all to the end: for whoever reads an answer by other means than :meth:`body`."""
        data = b""
        while len(data) != size and (more := self.receive()):
            data += more
            if 0 <= size < len(data):
                data, self._data = data[:size], data[size:]
        return data

    def read1(self, size: int = -1) -> bytes:
        """What has arrived, so many bytes at most."""
        data = self.receive()
        if 0 <= size < len(data):
            data, self._data = data[:size], data[size:]
        return data

    def readinto(self, buffer: Any) -> int:
        """As :meth:`read1`, into a buffer."""
        data = self.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def body(self, framing: Framing) -> Iterator[bytes]:
        """The body as it arrives; it ends only where the body is whole.

        Raises:
            http.client.HTTPException: It is invalid, or ends too soon.
            OSError: As :meth:`receive` says.
        """
        if framing.chunked:
            return self._chunks()
        if framing.length is not None:
            return self._sized(framing.length)
        return iter(self.receive, b"")

    def _sized(self, left: int) -> Iterator[bytes]:
        while left:
            data = self.receive()
            if not data:
                raise http.client.IncompleteRead(b"", left)
            if len(data) > left:
                data, self._data = data[:left], data[left:]
            left -= len(data)
            yield data

    def _chunks(self) -> Iterator[bytes]:
        chunks = Chunks()
        while not chunks.ended:
            data = self.receive()
            if not data:
                raise http.client.IncompleteRead(b"")
            if content := chunks.feed(data):
                yield content
            if chunks.fault is not None:
                raise http.client.HTTPException(chunks.fault)
        self._data = chunks.rest

    def flush(self) -> None:
        """Nothing: http.client flushes its file."""

    def close(self) -> None:
        """Let go of the socket."""
        if not self.closed:
            self.closed = True
            self._data = b""
            self._file.close()
