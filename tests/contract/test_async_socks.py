"""SOCKS proxies in the asynchronous client: names, credentials, limits, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from raw_server import RawServer, chunked

import aichatfree
from aichatfree import AsyncClient, Timeout
from aichatfree._core.network import Network

pytest.importorskip("python_socks")


class SocksServer:
    """A SOCKS 5 proxy (RFC 1928, 1929) in threads; hosts of ``.invalid`` are this machine to it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self._over = threading.Event()

    def __enter__(self) -> SocksServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError, struct.error), sock:
            methods = self._take(sock, self._take(sock, 2)[1])
            if 2 in methods:
                sock.sendall(b"\x05\x02")
                user = self._take(sock, self._take(sock, 2)[1])
                self.asked.append((user, self._take(sock, self._take(sock, 1)[0])))
                sock.sendall(b"\x01\x00")
            else:
                sock.sendall(b"\x05\x00")
            kind = self._take(sock, 4)[3]
            if kind == 3:
                host = self._take(sock, self._take(sock, 1)[0]).decode()
            else:
                family = socket.AF_INET if kind == 1 else socket.AF_INET6
                host = socket.inet_ntop(family, self._take(sock, 4 if kind == 1 else 16))
            (port,) = struct.unpack(">H", self._take(sock, 2))
            self.asked.append(host)
            if host == "silent.invalid":
                self._over.wait(30)
            if host == "refused.invalid":
                sock.sendall(b"\x05\x05\x00\x01" + bytes(6))
                return
            with socket.create_connection(("127.0.0.1" if host.endswith(".invalid") else host, port)) as there:
                sock.sendall(b"\x05\x00\x00\x01" + bytes(6))
                back = threading.Thread(target=self._copy, args=(there, sock), daemon=True)
                back.start()
                self._copy(sock, there)
                back.join()

    @staticmethod
    def _take(sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (more := sock.recv(size - len(data))):
                raise EOFError
            data += more
        return data

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def socks() -> Iterator[SocksServer]:
    with SocksServer() as running:
        yield running


def ask(monkeypatch: pytest.MonkeyPatch, proxy: str, url: str, times: int = 1, **options: Any) -> list[str]:
    monkeypatch.setattr(Network, "proxy_for", lambda self, url: proxy)

    async def main() -> list[str]:
        options.setdefault("timeout", Timeout(connect=10))
        async with AsyncClient(url, trust_env=False, max_retries=0, **options) as client:
            return [await client.generate("hi") for _ in range(times)]

    return asyncio.run(asyncio.wait_for(main(), 30))


def one(peer: Any) -> None:
    peer.sock.sendall(chunked(b"one"))


@pytest.mark.parametrize(
    ("scheme", "host", "seen"),
    [
        ("socks5", "127.0.0.1", "127.0.0.1"),
        ("socks5h", "127.0.0.1", "127.0.0.1"),
        ("socks5h", "far.invalid", "far.invalid"),
        ("socks5", "localhost", "127.0.0.1"),
    ],
)
def test_who_looks_up_the_name(
    socks: SocksServer, monkeypatch: pytest.MonkeyPatch, scheme: str, host: str, seen: str
) -> None:
    with RawServer(one) as server:
        url = f"http://{host}:{server.port}"
        assert ask(monkeypatch, f"{scheme}://127.0.0.1:{socks.port}", url, times=3) == ["one"] * 3
        assert server.connections == 1  # it is kept for the next call
    assert [host for host in socks.asked if host != "::1"] == [seen]


def test_credentials(socks: SocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(one) as server:
        proxy = f"socks5h://m%40e:p%C3%A4ss@127.0.0.1:{socks.port}"
        assert ask(monkeypatch, proxy, server.url) == ["one"]
    assert socks.asked[0] == (b"m@e", "päss".encode())


def test_a_proxy_that_says_no(socks: SocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(aichatfree.ConnectError, match="proxy"):
        ask(monkeypatch, f"socks5h://127.0.0.1:{socks.port}", "http://refused.invalid")


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(aichatfree.ConnectError, match="proxy"):
        ask(monkeypatch, f"socks5h://127.0.0.1:{port}", "http://far.invalid")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_proxy_whose_name_is_not_known(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(aichatfree.ConnectError, match=r"the proxy did not .* name of the proxy cannot be resolved"):
        ask(monkeypatch, f"{scheme}://proxy.invalid:1080", "http://127.0.0.1:1")


def test_a_name_that_is_not_known_here(socks: SocksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(aichatfree.ConnectError, match="cannot be resolved"):
        ask(monkeypatch, f"socks5://127.0.0.1:{socks.port}", "http://unknown.invalid")
    assert not socks.asked


@pytest.mark.parametrize("limits", [Timeout(connect=0.3), Timeout(total=0.3)])
def test_limits(socks: SocksServer, monkeypatch: pytest.MonkeyPatch, limits: Timeout) -> None:
    with pytest.raises(aichatfree.RequestTimeoutError) as caught:
        ask(monkeypatch, f"socks5h://127.0.0.1:{socks.port}", "http://silent.invalid", timeout=limits)
    assert caught.value.phase == ("total" if limits.total else "connect")


def test_what_speaks_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            sock.recv(100)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(aichatfree.ConnectError, match="proxy"):
            ask(monkeypatch, f"socks5h://127.0.0.1:{listener.getsockname()[1]}", "http://far.invalid")
        thread.join(10)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(aichatfree.InvalidRequestError, match=r"aichatfree\[socks\]"):
        ask(monkeypatch, "socks5h://127.0.0.1:1", "http://far.invalid")


def test_connections_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp

    monkeypatch.setattr(Network, "proxy_for", lambda self, url: "socks5h://127.0.0.1:1")

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aichatfree.InvalidRequestError, match="session="):
                AsyncClient("http://far.invalid", session=session)

    asyncio.run(main())
