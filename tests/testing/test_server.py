"""ScriptedServer: what it serves when, what it records, what it counts, and how it ends."""

from __future__ import annotations

import asyncio
import email.utils
import http.client
import json
import socket
import ssl
import threading
import time
from typing import Any

import aiohttp
import pytest

from aichatfree.server.protocol import signature
from aichatfree.testing import Drop, RecordedRequest, Reply, ScriptedServer, Stall

from .raw import REQUEST, connect, receive, talk


def payload(text: str = "hi", secret: str = "", *, skew_ms: int = 0, password: str | None = None) -> bytes:
    now = int(time.time() * 1000) + skew_ms
    messages = [{"role": "user", "parts": [{"text": text}]}]
    return json.dumps(
        {"messages": messages, "time": now, "pass": password, "sign": signature(now, text, secret)}
    ).encode()


class Poster:
    """Posts over one connection that it keeps."""

    def __init__(self, server: ScriptedServer, **options: Any) -> None:
        kind = http.client.HTTPSConnection if options else http.client.HTTPConnection
        self.connection = kind("127.0.0.1", server.port, timeout=10, **options)

    def __call__(
        self, body: bytes | None = None, path: str = "/api/generate", method: str = "POST"
    ) -> tuple[int, bytes]:
        self.connection.request(method, path, payload() if body is None else body)
        response = self.connection.getresponse()
        self.headers = response.headers
        return response.status, response.read()

    def __enter__(self) -> Poster:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()


def test_replies_in_order_then_the_default(server: ScriptedServer) -> None:
    server.enqueue(Reply("one"), Reply.overloaded())
    server.enqueue(lambda request: Reply(f"three: {request.prompt}"))
    server.default = Reply("default")
    with Poster(server) as post:
        assert server.pending == 3
        assert post() == (200, b"one")
        assert post(path="/anything")[0] == 503 - 3
        assert post(payload("x")) == (200, b"three: x")
        assert post() == (200, b"default")
        assert server.pending == 0


def test_the_default_can_be_a_function(server: ScriptedServer) -> None:
    server.default = lambda request: Reply(request.prompt.upper())
    with Poster(server) as post:
        assert post(payload("abc")) == (200, b"ABC")
        assert post(b'{"messages": []}')[0] == 400
        assert post(b"{}", "/api/auth") == (200, b'{"code":0}')


def test_a_function_that_fails_says_so(server: ScriptedServer) -> None:
    def fails(request: RecordedRequest) -> Reply:
        raise KeyError("oops")

    server.enqueue(fails)
    with Poster(server) as post:
        status, body = post()
    assert status == 500
    assert b"KeyError('oops')" in body


def test_what_is_no_reply_is_refused_at_once(server: ScriptedServer) -> None:
    text: Any = "hello"
    with pytest.raises(TypeError, match=r"write Reply\('hello'\)"):
        server.enqueue(Reply("one"), text)
    assert server.pending == 0
    with pytest.raises(TypeError, match="or a function"):
        server.default = text
    no_reply: Any
    for no_reply in (None, ["hello"], Reply):
        with pytest.raises(TypeError, match=r"a function that returns one, not .*[^)]$"):
            server.enqueue(no_reply)

    async def later(request: RecordedRequest) -> Reply:
        return Reply("one")

    asynchronous: Any = later
    with pytest.raises(TypeError, match="is asynchronous: give a plain function"):
        server.enqueue(asynchronous)
    server.enqueue(lambda _: text)
    with Poster(server) as post:
        status, body = post()
    assert status == 500
    assert b"'hello', which is no Reply" in body


def test_without_a_script_it_judges_as_the_real_server() -> None:
    with ScriptedServer(secret="s", password="pw1,pw2") as server, Poster(server) as post:
        good = payload(secret="s", password="pw2")
        assert post(good)[0] == 200
        assert post(payload(secret="s")) == (401, b'{"error":{"message":"Invalid password."}}')
        assert post(payload(secret="x", password="pw1")) == (401, b'{"error":{"message":"Invalid signature."}}')
        assert post(b"{nope") == (500, b"")
        assert post(b'{"pass":"pw1"}', "/api/auth") == (200, b'{"code":0}')
        assert post(b'{"pass":"x"}', "/api/auth") == (200, b'{"code":-1}')
        assert post(path="/api/nope") == (404, b"Not found")
        assert post.headers["content-type"] is None
        assert post(path="/api/generate", method="GET")[0] == 404
        assert post(good, "/under/a/prefix/api/generate?x=1")[0] == 200


def test_scripted_replies_are_not_judged_unless_asked() -> None:
    with ScriptedServer(secret="s") as server, Poster(server) as post:
        server.enqueue(Reply("whatever"))
        assert post(b"no json") == (200, b"whatever")
        server.enqueue(Reply("judged", judge=True))
        assert post(payload(secret="x"))[0] == 401
        assert server.pending == 1
        assert post(payload(secret="s")) == (200, b"judged")


def test_check_can_be_turned_off() -> None:
    with ScriptedServer(secret="s", check=False) as server, Poster(server) as post:
        assert post(b"no json", "/x")[0] == 200


def test_clock_and_time_limit() -> None:
    with ScriptedServer(time_limit_seconds=300, clock_offset_seconds=3600) as server, Poster(server) as post:
        assert post(payload()) == (401, b'{"error":{"message":"Invalid signature."}}')
        date = email.utils.parsedate_to_datetime(post.headers["date"]).timestamp()
        assert 3500 < date - time.time() < 3700
        assert post(payload(skew_ms=3_600_000))[0] == 200
        server.clock_offset_seconds = 0
        assert post(payload())[0] == 200


def test_requests_are_recorded(server: ScriptedServer) -> None:
    with Poster(server) as post:
        post(payload("one"))
        post(payload("two", secret="other"))
    with Poster(server) as post:
        post(b"", "/x?y=1", "GET")
    first, second, third = server.requests
    assert (first.method, first.path, first.prompt, first.signature_valid) == ("POST", "/api/generate", "one", True)
    assert first.headers["HOST"] == f"127.0.0.1:{server.port}"
    assert first.contents == [{"role": "user", "parts": [{"text": "one"}]}]
    assert (second.prompt, second.signature_valid) == ("two", False)
    assert (third.method, third.path, third.body, third.signature_valid) == ("GET", "/x?y=1", b"", None)
    assert [request.connection for request in server.requests] == [1, 1, 2]


def test_connections_are_counted(server: ScriptedServer) -> None:
    assert (server.connections, server.accepted) == (0, 0)
    with connect(server), connect(server):
        server.wait_connections(2)
        assert server.accepted == 2
    server.wait_connections(0)
    assert server.accepted == 2


def test_reset(server: ScriptedServer) -> None:
    server.default = Reply("x")
    with Poster(server) as post:
        post()
    server.enqueue(Reply("y"))
    server.reset()
    assert (server.requests, server.pending, server.accepted) == ([], 0, 0)
    with Poster(server) as post:
        assert post() == (200, b"Hello from the scripted server.")


def test_waiting_for_requests(server: ScriptedServer) -> None:
    def later() -> None:
        with Poster(server) as post:
            post(payload("a"))
            post(payload("b"))

    thread = threading.Thread(target=later)
    thread.start()
    assert [request.prompt for request in server.wait_requests(2)] == ["a", "b"]
    thread.join()


def test_waiting_in_vain_says_what_there_is_and_no_secret() -> None:
    with ScriptedServer(secret="TOPSECRET", password="PASSWORD") as server, Poster(server) as post:
        server.enqueue(Reply("a", fault=Stall()))
        with connect(server) as connection:
            body = payload("the question", secret="TOPSECRET", password="PASSWORD")
            connection.sendall(
                b"POST / HTTP/1.1\r\nAuthorization: PASSWORD\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            server.wait_requests(1)
            with pytest.raises(AssertionError, match=r"waited 0.01 s for no answer under way") as idle:
                server.wait_idle(0.01)
            with pytest.raises(AssertionError, match=r"waited 0.01 s for 2 requests: .*'the question'") as more:
                server.wait_requests(2, timeout=0.01)
            with pytest.raises(AssertionError, match=r"waited 0.01 s for 0 open connections: there are 1"):
                server.wait_connections(0, timeout=0.01)
        sign = json.loads(body)["sign"]
        for shown in (str(idle.value), str(more.value), repr(server), repr(server.requests)):
            assert "SECRET" not in shown
            assert "PASSWORD" not in shown
            assert sign not in shown
        server.wait_idle()
        assert post is not None


def test_idle_connections_are_closed() -> None:
    with ScriptedServer(idle_seconds=0.1) as server, connect(server) as connection:
        connection.sendall(REQUEST)
        received = receive(connection)
        assert received.end == "fin"
        assert b"Keep-Alive: timeout=5" in received.head


def test_connection_close_is_honoured(server: ScriptedServer) -> None:
    received = talk(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (received.end, received.body) == ("fin", b"9\r\nNot found\r\n0\r\n\r\n")
    assert b"Connection: close" in received.head


def test_head_has_no_body(server: ScriptedServer) -> None:
    received = talk(server, b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert (received.end, received.body) == ("fin", b"")


def test_chunked_requests(server: ScriptedServer) -> None:
    body = payload("chunky")
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:]))
    head = b"POST /api/generate HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    received = talk(server, head + chunks + b"0\r\nTrailer: x\r\n\r\n")
    assert received.head.startswith(b"HTTP/1.1 200 OK")
    assert server.requests[0].prompt == "chunky"
    assert server.requests[0].body == body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"x" * (3 << 20),
    ],
    ids=["no request", "no length", "negative length", "no chunk size", "too long"],
)
def test_what_is_no_http_is_cut_off(server: ScriptedServer, request_bytes: bytes) -> None:
    with connect(server) as connection:
        try:
            connection.sendall(request_bytes)
            received = receive(connection)
        except ConnectionError:
            pass
        else:
            assert received.data == b""
            assert received.end in ("fin", "rst")
    server.wait_connections(0)
    assert server.requests == []


def test_large_requests(server: ScriptedServer) -> None:
    with Poster(server) as post:
        assert post(payload("x" * 5_000_000))[0] == 200
    assert len(server.requests[0].prompt) == 5_000_000


def test_every_write_leaves_at_once(server: ScriptedServer) -> None:
    # With Nagle's algorithm each answer would wait some 40 ms for an acknowledgement.
    with Poster(server) as post:
        started = time.monotonic()
        for _ in range(100):
            post()
        assert time.monotonic() - started < 3


def test_start_and_close_by_hand(no_leaks: None) -> None:
    server = ScriptedServer()
    assert repr(server) == "<ScriptedServer not running, 0 requests, 0 connections>"
    server.close()
    assert server.start() is server
    with pytest.raises(RuntimeError, match="runs already"):
        server.start()
    assert server.url in repr(server)
    server.close()
    server.close()
    with pytest.raises(OSError):
        connect(server)
    server.start()  # it may run again
    assert talk(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").end == "fin"
    server.close()


@pytest.mark.parametrize(
    "reply", [Reply("a", fault=Stall()), Reply.endless(), Reply("a", fault=Stall("before-answer"))]
)
def test_close_cuts_what_is_under_way(no_leaks: None, reply: Reply) -> None:
    server = ScriptedServer().start()
    server.enqueue(*[reply] * 20)
    connections = [connect(server) for _ in range(20)]
    for connection in connections:
        connection.sendall(REQUEST)
    server.wait_requests(20)
    started = time.monotonic()
    server.close()
    assert time.monotonic() - started < 2  # some milliseconds; the machine may be busy
    assert (server.connections, server.url[:17]) == (0, "http://127.0.0.1:")
    for connection in connections:
        connection.close()


def test_close_right_after_connecting(no_leaks: None) -> None:
    for _ in range(20):
        server = ScriptedServer().start()
        connections = [connect(server) for _ in range(5)]
        server.close()
        for connection in connections:
            connection.close()


def test_hundreds_of_connections_at_once() -> None:
    async def calls(url: str) -> list[str]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def call(number: int) -> str:
                async with session.post(f"{url}/api/generate", data=payload(str(number))) as response:
                    return await response.text()

            return await asyncio.gather(*(call(number) for number in range(300)))

    with ScriptedServer() as server:
        server.default = lambda request: Reply([request.prompt, "!"], pause=0.3)
        assert asyncio.run(calls(server.url)) == [f"{number}!" for number in range(300)]
        assert len(server.requests) == 300
        assert server.accepted > 200
        server.wait_connections(0)


def test_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with ScriptedServer(tls=server_tls) as server, Poster(server, context=client_tls) as post:
        assert server.url == f"https://127.0.0.1:{server.port}"
        assert post()[0] == 200
        assert post()[0] == 200
        assert server.accepted == 1
        server.enqueue(Reply("a", keep_alive=False))
        assert post() == (200, b"a")
        server.wait_connections(0)


@pytest.mark.parametrize("reset", [False, True])
def test_drops_under_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, reset: bool) -> None:
    with ScriptedServer(tls=server_tls) as server:
        server.enqueue(Reply("a", fault=Drop("in-body", reset=reset)))
        with (
            connect(server) as plain,
            # Python's ssl takes a reset for an end, unless it is told not to.
            client_tls.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as connection,
        ):
            connection.sendall(REQUEST)
            data = connection.recv(65536)
            while not data.endswith(b"1\r\na\r\n"):
                data += connection.recv(65536)
            if reset:
                with pytest.raises((ConnectionResetError, ssl.SSLError)):
                    connection.recv(65536)
            else:
                assert connection.recv(65536) == b""
        server.wait_connections(0)


def test_a_tls_client_that_does_not_say_goodbye(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with ScriptedServer(tls=server_tls, idle_seconds=0.05) as server:
        with connect(server) as plain, client_tls.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(REQUEST)
            server.wait_requests(1)
            server.wait_connections(0)


def test_tls_handshakes_that_fail_or_never_come(server_tls: ssl.SSLContext, no_leaks: None) -> None:
    with ScriptedServer(tls=server_tls) as server, connect(server), connect(server) as plain:
        plain.sendall(REQUEST)
        received = receive(plain)
        assert received.end in ("fin", "rst")
        assert (server.connections, server.requests) == (0, [])


def test_a_reset_really_is_one(server: ScriptedServer) -> None:
    server.enqueue(Reply("a", fault=Drop("after-headers", reset=True)))
    with connect(server) as connection:
        connection.sendall(REQUEST)
        with pytest.raises(ConnectionResetError):
            while connection.recv(65536):
                pass
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
