"""Requests as a client of the protocol would send them, over bare sockets."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aichatfree.server.protocol import signature


@dataclass
class Answer:
    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


def payload(*texts: str, secret: str = "", **changes: Any) -> bytes:
    """A signed body: `texts` are the parts of the only message."""
    now = int(time.time() * 1000)
    body = {
        "messages": [{"role": "user", "parts": [{"text": text} for text in texts or ("hi",)]}],
        "time": now,
        "pass": None,
        "sign": signature(now, "".join(texts or ("hi",)), secret),
    }
    return json.dumps({**body, **changes}).encode()


def post(url: str, body: bytes, path: str = "/api/generate", method: str = "POST") -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.headers, response.read())
    finally:
        connection.close()


class RawStream:
    """A request under way on a socket of its own; read as it comes."""

    def __init__(self, url: str, body: bytes) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=10)
        lines = ("POST /api/generate HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""])
        self.socket.sendall(head.encode() + body)
        self._response: http.client.HTTPResponse | None = None

    def read_raw(self) -> bytes:
        """All bytes after the headers, framing included."""
        data = b""
        while more := self.socket.recv(65536):
            data += more
        return data.partition(b"\r\n\r\n")[2]

    def read_some(self) -> bytes:
        """Some decoded bytes, as soon as there are any."""
        if self._response is None:
            self._response = http.client.HTTPResponse(self.socket)
            self._response.begin()
        return self._response.read1(65536)

    def __enter__(self) -> RawStream:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._response is not None:
            self._response.close()
        self.socket.close()


def open_stream(url: str, body: bytes) -> RawStream:
    return RawStream(url, body)
