"""ProxyServer: plain requests, tunnels, and its own password."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from aichatfree.testing import Drop, ProxyServer, Reply, ScriptedServer, Stall

from .raw import receive


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    with ProxyServer() as running:
        yield running


def through(proxy: ProxyServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(request)
        return receive(connection).data


def test_plain_requests(server: ScriptedServer, proxy: ProxyServer) -> None:
    server.enqueue(Reply(["a", "b"]), Reply("c"))
    for _ in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
        connection.request(
            "POST", f"{server.url}/api/generate?x=1", b"body", {"Proxy-Connection": "keep-alive", "X": "1"}
        )
        response = connection.getresponse()
        assert response.read() in (b"ab", b"c")
        connection.close()
    assert proxy.targets == [f"{server.url}/api/generate?x=1"] * 2
    request = server.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/api/generate?x=1", b"body")
    assert request.headers["x"] == "1"
    assert "proxy-connection" not in request.headers


def test_a_url_without_a_path(server: ScriptedServer, proxy: ProxyServer) -> None:
    assert b"404 Not Found" in through(proxy, f"GET {server.url} HTTP/1.1\r\n\r\n".encode())
    assert server.requests[0].path == "/"


def test_tunnels(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, proxy: ProxyServer) -> None:
    with ScriptedServer(tls=server_tls) as server:
        server.enqueue(Reply("a"), Reply("b"))
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=client_tls, timeout=10)
        connection.set_tunnel("127.0.0.1", server.port)
        for text in (b"a", b"b"):
            connection.request("POST", "/api/generate", b"x" * 100_000)
            assert connection.getresponse().read() == text
        connection.close()
        server.wait_connections(0)
        assert server.accepted == 1
        assert proxy.targets == [f"127.0.0.1:{server.port}"]


def test_pieces_are_passed_on_as_they_come(server: ScriptedServer, proxy: ProxyServer) -> None:
    server.enqueue(Reply("first", fault=Stall()))
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(f"GET {server.url}/ HTTP/1.1\r\n\r\n".encode())
        received = receive(connection, enough=b"first\r\n")
        assert received.end == "open"
    server.wait_connections(0)


def test_a_cut_is_passed_on(server: ScriptedServer, proxy: ProxyServer) -> None:
    server.enqueue(Reply("a", fault=Drop("in-body")))
    assert through(proxy, f"GET {server.url}/ HTTP/1.1\r\n\r\n".encode()).endswith(b"\r\n\r\n1\r\na\r\n")


def test_a_password(server: ScriptedServer) -> None:
    with ProxyServer("me", "SECRET") as proxy:
        request = f"GET {server.url}/ HTTP/1.1\r\n".encode()
        refused = through(proxy, request + b"Proxy-Authorization: Basic x\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic")
        assert (proxy.targets, proxy.refused, server.requests) == ([], 1, [])
        right = base64.b64encode(b"me:SECRET")
        assert b"404 Not Found" in through(proxy, request + b"proxy-authorization: Basic " + right + b"\r\n\r\n")
        assert (len(proxy.targets), proxy.refused) == (1, 1)
        assert "proxy-authorization" not in server.requests[0].headers
        assert "SECRET" not in repr(proxy) + proxy.url


def test_a_target_that_is_not_there(proxy: ProxyServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    answer = through(proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


def test_nonsense_is_cut_off(proxy: ProxyServer) -> None:
    assert through(proxy, b"nonsense\r\n\r\n") == b""


def test_life(no_leaks: None) -> None:
    proxy = ProxyServer()
    assert repr(proxy) == "<ProxyServer not running>"
    proxy.close()
    with proxy, pytest.raises(RuntimeError, match="runs already"):
        proxy.start()
    proxy.close()
    assert threading.active_count() >= 1


def test_close_right_after_connecting(no_leaks: None) -> None:
    for _ in range(20):
        proxy = ProxyServer().start()
        connections = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(5)]
        proxy.close()
        for connection in connections:
            connection.close()


def test_close_cuts_what_is_under_way(server: ScriptedServer, no_leaks: None) -> None:
    server.enqueue(Reply.endless())
    with ProxyServer() as proxy, socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(f"GET {server.url}/ HTTP/1.1\r\n\r\n".encode())
        server.wait_requests(1)
        proxy.close()
    server.wait_connections(0)
