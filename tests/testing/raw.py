"""A client that hides nothing: bytes over a bare socket, and how they ended."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from aichatfree.testing import ScriptedServer

REQUEST = b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Received:
    """What came: all bytes, the single reads, and the end: `fin`, `rst` or (after a second of nothing) `open`."""

    data: bytes = b""
    reads: list[bytes] = field(default_factory=list)
    end: str = "open"

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


def connect(server: ScriptedServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def receive(connection: socket.socket, patience: float = 10.0, enough: bytes | None = None) -> Received:
    """Read to the end, or until nothing came for `patience` seconds, or until the data ends with `enough`."""
    received = Received()
    connection.settimeout(patience)
    try:
        while data := connection.recv(1 << 20):
            received.data += data
            received.reads.append(data)
            if enough is not None and received.data.endswith(enough):
                return received
    except TimeoutError:
        return received
    except ConnectionResetError:
        received.end = "rst"
        return received
    received.end = "fin"
    return received


def talk(server: ScriptedServer, request: bytes = REQUEST, patience: float = 10.0) -> Received:
    """One request on a connection of its own, everything that comes back, and the end of it."""
    with connect(server) as connection:
        connection.sendall(request)
        return receive(connection, patience)


def environment() -> dict[str, str]:
    """For another Python, which shall find this package whether it is installed or not."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
