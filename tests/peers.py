"""A raw server in threads: it sends what no HTTP server would, byte by byte."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any


def head(status: str = "200 OK", *fields: str) -> bytes:
    """A status line and header fields, with the empty line that ends them."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("utf-8", "surrogateescape")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(*pieces: bytes, fields: tuple[str, ...] = ()) -> bytes:
    """A whole reply, each piece a chunk of its own."""
    return head("200 OK", "Transfer-Encoding: chunked", *fields) + b"".join(map(chunk, pieces)) + b"0\r\n\r\n"


def sized(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """A whole answer with a Content-Length."""
    return head(status, f"Content-Length: {len(body)}", *fields) + body


def damaged(data: bytes, how: str, at: int, dice: random.Random) -> bytes:
    """``data``, cut at a place, or with one byte changed, put in or left out there; another word leaves it as it is."""
    if how in ("cut", "reset"):
        return data[:at]
    if how == "flip":
        return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
    if how == "insert":
        return data[:at] + bytes([dice.randrange(256)]) + data[at:]
    return data[:at] + data[at + 1 :] if how == "drop" else data


class Peer:
    """One connection as the server sees it, with the request that was read from it last."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.over = over
        self.head = b""
        self.body = b""
        self._rest = b""

    @property
    def prompt(self) -> str:
        return "".join(part["text"] for part in json.loads(self.body)["messages"][-1]["parts"])

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    def read_head(self) -> bool:
        while b"\r\n\r\n" not in self._rest:
            if not (data := self.sock.recv(65536)):
                return False
            self._rest += data
        self.head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return True

    def read_body(self) -> None:
        length = int(self.header("content-length") or 0)
        while len(self._rest) < length:
            if not (data := self.sock.recv(1 << 18)):
                raise ConnectionError("the client is gone")
            self._rest += data
        self.body, self._rest = self._rest[:length], self._rest[length:]

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait_gone(self) -> None:
        """Say nothing more, until the client hangs up."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def finish(self) -> None:
        """Say that this was all: over TLS with a close_notify."""
        with contextlib.suppress(OSError):
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(5)
                self.sock.unwrap()
        self.sock.close()

    def reset(self) -> None:
        """Cut the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Peers:
    """A server: ``answer(peer)`` is called for each request, and writes what it likes.

    Args:
        answer: What answers. The connection stays open afterwards, unless it closed it.
        tls: Speak TLS with this context.
        host: The address to listen on.
        port: The port, 0 for any.
        read_body: Whether a request's body is read before ``answer`` is called.
    """

    def __init__(
        self,
        answer: Callable[[Peer], Any],
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        read_body: bool = True,
    ) -> None:
        self._answer = answer
        self._tls = tls
        self._read_body = read_body
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self.over = threading.Event()
        self.heads: list[bytes] = []
        self.accepted = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def __enter__(self) -> Peers:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def wait_requests(self, count: int) -> bool:
        """Whether so many requests have come, within five seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.heads) >= count, 5)

    def wait_open(self, count: int) -> bool:
        """Whether so many connections are open, within five seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._open) == count, 5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def _serve(self, sock: socket.socket) -> None:
        self.accepted += 1
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except OSError:
                sock.close()
                return
        self._note(lambda: self._open.add(sock))
        peer = Peer(sock, self.over)
        with contextlib.suppress(OSError, ValueError):
            while sock.fileno() >= 0 and peer.read_head():
                if self._read_body:
                    peer.read_body()
                self._note(lambda: self.heads.append(peer.head))
                self._answer(peer)
        self._note(lambda: self._open.discard(sock))
        sock.close()
