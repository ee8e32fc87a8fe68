"""A server that does what no HTTP server would, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

Answer = Callable[["Peer"], None]


class Peer:
    """One connection, as the server has it; its request's head has been read."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.head = b""
        self._over = over
        self._rest = b""

    def read_head(self) -> bool:
        while b"\r\n\r\n" not in self._rest:
            data = self.sock.recv(65536)
            if not data:
                return False
            self._rest += data
        self.head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return True

    def read_body(self) -> None:
        lines = self.head.lower().split(b"\r\n")
        left = next(int(line[15:]) for line in lines if line.startswith(b"content-length:")) - len(self._rest)
        self._rest = b""
        while left > 0:
            left -= len(self.sock.recv(min(left, 65536))) or left

    def wait(self, seconds: float = 30.0) -> None:
        """Do nothing until the test is over."""
        self._over.wait(seconds)


class RawServer:
    """Answers each request by calling ``answer(peer)`` in a thread; the connection stays open unless that closes it.

    Args:
        answer: Writes to ``peer.sock`` what it likes.
        tls: Speak TLS with this context.
        read_body: Whether the request's body is read before.
    """

    def __init__(self, answer: Answer, *, tls: ssl.SSLContext | None = None, read_body: bool = True) -> None:
        self._answer = answer
        self._tls = tls
        self._read_body = read_body
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: set[Any] = set()
        self.requests: list[bytes] = []
        self.connections = 0

    def __enter__(self) -> RawServer:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, sock: Any) -> None:
        self.connections += 1
        self._sockets.add(sock)
        inner = sock
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                inner = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.add(inner)
            peer = Peer(inner, self._over)
            while inner.fileno() >= 0 and peer.read_head():
                self.requests.append(peer.head)
                if self._read_body:
                    peer.read_body()
                self._answer(peer)
        self._sockets -= {sock, inner}
        inner.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def head(*fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("utf-8", "surrogateescape")


def chunked(*pieces: bytes, fields: tuple[str, ...] = ()) -> bytes:
    return head("Transfer-Encoding: chunked", *fields) + b"".join(map(chunk, pieces)) + b"0\r\n\r\n"


def plain(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    return head(f"Content-Length: {len(body)}", *fields, status=status) + body
