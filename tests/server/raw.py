"""Bytes to a server and bytes back, for what no HTTP library would send."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=20)


def request(
    url: str,
    body: bytes = b"",
    *headers: str,
    method: str = "POST",
    path: str = "/api/generate",
    host: str | None = None,
    version: str = "1.1",
    length: bool = True,
) -> bytes:
    """A request, which by default names the server as its Host and closes the connection."""
    lines = [f"{method} {path} HTTP/{version}", f"Host: {host or urlsplit(url).netloc}", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    if not any(line.lower().startswith("connection:") for line in lines):
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_all(connection: socket.socket) -> bytes:
    """Everything until the end; a reset is an end, too."""
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        data += b"<reset>"
    return data


def exchange(url: str, sent: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer, the body with its framing."""
    with connect(url) as connection:
        connection.sendall(sent)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head, body
