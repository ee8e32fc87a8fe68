"""Whom the server answers, and that nothing a client sends holds it up or fills it."""

from __future__ import annotations

import hmac
import json
import socket
import time
from typing import Any

import pytest

from aichatfree.server import LocalServer, bodies, connections, create_app, protocol
from aichatfree.server.sites import Sites, is_loopback, path_of

from .helpers import payload, post
from .raw import connect, exchange, read_all, request


@pytest.fixture(autouse=True)
def _no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LINGERING_SECONDS", 0.1)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("localhost.", True),
        ("chat.localhost:3000", True),
        ("127.0.0.1", True),
        ("127.8.9.10:1", True),
        ("[::1]:3000", True),
        ("[::ffff:127.0.0.1]", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:3000", False),
        ("192.168.1.1", False),
        ("0.0.0.0", False),
        ("[::2]", False),
        ("a b", False),
        ("user@localhost", False),
        ("localhost/x", False),
        ("localhost:x", False),
        ("127.0.0.1, evil.example", False),
    ],
)
def test_a_server_on_a_loopback_address_answers_to_loopback_names_only(host: str, allowed: bool) -> None:
    assert (Sites("127.0.0.1").host_refusal(host) is None) is allowed
    assert Sites("0.0.0.0").host_refusal(host) is None


@pytest.mark.parametrize("path", ["/api/generate", "/api/auth", "/", "/healthz", "/nothing", "/page/chat.js"])
def test_another_sites_name_gets_a_403_everywhere(path: str) -> None:
    with LocalServer("ok") as server:
        for method in ("POST", "GET"):
            status, _, body = exchange(
                server.url, request(server.url, b"{}", host="evil.example", method=method, path=path)
            )
            assert status == 403
            assert "loopback" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://{host}", True),
        ("http://localhost:5173", True),
        ("https://127.0.0.1", True),
        ("https://chat.example", True),
        ("HTTPS://Chat.Example", True),
        ("https://chat.example:8443", False),
        ("http://chat.example", False),
        ("https://evil.example", False),
        ("https://localhost.evil.example", False),
        ("https://evil.example/localhost", False),
        ("null", False),
        ("file://", False),
        ("http://localhost@evil.example", False),
    ],
)
def test_pages_of_other_sites_get_a_403(origin: str, allowed: bool) -> None:
    with LocalServer("ok", allow_origins=["https://chat.example/"]) as server:
        host = server.url.removeprefix("http://")
        status, head, body = exchange(server.url, request(server.url, payload(), f"Origin: {origin.format(host=host)}"))
    assert status == (200 if allowed else 403)
    if not allowed:
        assert "other sites" in json.loads(body)["error"]["message"]
    assert (b"Access-Control-Allow-Origin" in head) is (origin.lower() == "https://chat.example")


def test_an_allowed_site_may_read_every_answer_and_send_a_preflight() -> None:
    with LocalServer("ok", password="pw", allow_origins=["https://chat.example"]) as server:
        origin = "Origin: https://chat.example"
        refused = exchange(server.url, request(server.url, payload(), origin))
        assert refused[0] == 401
        assert b"Access-Control-Allow-Origin: https://chat.example" in refused[1]
        preflight = exchange(server.url, request(server.url, b"", origin, method="OPTIONS"))
        assert preflight[0] == 204
        assert b"Access-Control-Allow-Methods: POST" in preflight[1]
        assert (
            exchange(server.url, request(server.url, payload(**{"pass": "pw"}), origin, host="chat.example"))[0] == 200
        )


@pytest.mark.parametrize("host", ["127.1", "localhost", "127.0.0.2"])
def test_what_counts_is_the_address_that_is_listened_on(host: str) -> None:
    with LocalServer("ok", host=host) as server:
        assert exchange(server.url, request(server.url, payload(), host="evil.example"))[0] == 403
    with LocalServer("ok", host="0.0.0.0") as server:
        assert exchange(server.url, request(server.url, payload(), host="evil.example"))[0] == 200


def test_what_is_no_origin_is_refused_when_it_is_given() -> None:
    for bad in (
        "chat.example",
        "https://",
        "https://chat.example/path",
        "ftp://chat.example",
        "https://a:b",
        "null",
        "",
    ):
        with pytest.raises(ValueError, match="is not an origin"):
            LocalServer("ok", allow_origins=[bad])
    assert Sites("127.0.0.1", "https://chat.example:443").allows("https://chat.example")


def test_an_application_of_ones_own_has_no_rule_unless_it_says_where_it_listens() -> None:
    assert create_app("ok")
    assert Sites("").host_refusal("evil.example") is None
    assert Sites("").origin_refusal("https://evil.example", "x") is None


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "a.localhost", "127.255.0.1"])
def test_loopback_names(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize("name", ["", "0.0.0.0", "::", "localhost.example", "127.1", "10.0.0.1"])
def test_other_names(name: str) -> None:
    assert not is_loopback(name)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/api/generate?x=%zz", "/api/generate"),
        ("/api/generate#x", "/api/generate"),
        ("/x/../api/generate", "/api/generate"),
        ("/x/%2e%2E/api/generate", "/api/generate"),
        ("/api\\generate", "/api/generate"),
        ("/api/./generate", "/api/generate"),
        ("/api/generate/.", "/api/generate/"),
        ("/api/generate/..", "/api/"),
        ("/../..", "/"),
        ("/api/%67enerate", "/api/generate"),
        ("/api/%2Fgenerate", "/api/%2Fgenerate"),
        ("/a%25b%c3%a9", "/a%b\xe9"),
        ("//", "//"),
    ],
)
def test_a_target_means_what_it_means_to_a_browser(target: str, path: str) -> None:
    assert path_of(target, "127.0.0.1:3000") == path


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/%", "h"),
        ("/%ff", "h"),
        ("*", "127.0.0.1:3000"),
        ("http://127.0.0.1:3000/x", "127.0.0.1:3000"),
        ("/x", "a b"),
        ("/x", "user@a.example"),
        ("/x", "a.example:x"),
        ("/x", "a.example:65536"),
    ],
)
def test_a_target_that_gives_no_url(target: str, host: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        path_of(target, host)


def test_a_host_with_a_path_moves_the_path() -> None:
    assert path_of("/api/generate", "a.example/x") == "/x/api/generate"
    assert path_of("http://localhost/api/generate", "localhost") == "//localhost/api/generate"


def test_the_health_of_the_server() -> None:
    with LocalServer("ok", password="pw", secret="s") as server:
        answer = post(server.url, b"", "/healthz", "GET")
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
        assert answer.headers["Content-Type"] == "application/json"
        assert post(server.url, b"", "/healthz", "POST").status == 404


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(sent: bytes, known: bytes) -> bool:
        compared.append((sent, known))
        return sent == known

    monkeypatch.setattr(hmac, "compare_digest", compare)
    passwords = protocol.passwords_of("pw1,pw2")
    assert protocol.judge(payload(**{"pass": "pw1"}), passwords=passwords).status == 200
    assert len(compared) == 4, "each of the three passwords, whichever is right, and the signature"


@pytest.mark.parametrize("depth", [300, 600, 5000, 100_000])
@pytest.mark.parametrize(
    "place",
    [
        '{"messages": %s}',
        '{"messages": [{"role": "user", "parts": [{"text": %s}]}], "time": 1, "sign": ""}',
        '{"messages": [{"role": "user", "parts": [{"text": "Hi"}]}], "time": %s, "sign": ""}',
        '{"messages": [{"role": "user", "parts": [{"text": "Hi"}]}], "time": 1, "sign": %s}',
        '{"pass": %s}',
    ],
)
def test_nested_json_is_judged_or_refused(place: str, depth: int) -> None:
    body = (place % ("[" * depth + "]" * depth)).encode()
    for verdict in (protocol.judge(body), protocol.judge_auth(body)):
        assert verdict.status in (200, 400, 401, 500)
        assert verdict == protocol.CRASHED or verdict.status != 500


def test_what_is_nested_deeply_and_large_is_refused_without_reading_it_slowly() -> None:
    deep = b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b', "y": "' + b"x" * 600_000 + b'"}'
    assert protocol.judge(deep) == protocol.CRASHED


def test_a_huge_body_is_refused_before_it_is_read() -> None:
    with LocalServer("ok") as server:
        head = request(server.url, b"", f"Content-Length: {1 << 40}", length=False)
        status, _, body = exchange(server.url, head)
        assert status == 413
        assert json.loads(body)["error"]["message"] == "the request is larger than 32 MiB"
        assert post(server.url, payload()).status == 200


def test_a_body_without_a_length_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 100_000)
    with LocalServer("ok") as server, connect(server.url) as connection:
        connection.sendall(request(server.url, b"", "Transfer-Encoding: chunked", length=False))
        for _ in range(10):
            connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 413 Payload Too Large\r\n")


def test_all_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_ALL_BYTES", 100_000)
    with LocalServer("ok") as server, connect(server.url) as first:
        first.sendall(request(server.url, b"", f"Content-Length: {200_000}", length=False) + b"x" * 90_000)
        with connect(server.url) as second:
            second.sendall(request(server.url, b"", f"Content-Length: {200_000}", length=False) + b"x" * 90_000)
            assert b" 503 " in read_all(second)
        assert post(server.url, payload()).status == 200, "a small one is no burden"


def test_a_slow_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.2)
    with LocalServer("ok") as server, connect(server.url) as connection:
        connection.sendall(request(server.url, b"", "Content-Length: 100", length=False) + b"x")
        assert read_all(connection).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "TOTAL_SECONDS", 0.3)
    with LocalServer("ok") as server, connect(server.url) as connection:
        connection.sendall(request(server.url, b"", "Content-Length: 100000", length=False))
        connection.settimeout(0.02)
        seen = b""
        for _ in range(500):
            try:
                connection.sendall(b"x")
                seen += connection.recv(100)
                break
            except TimeoutError:
                continue
    assert seen.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"", b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nX-"])
def test_connections_without_a_request_are_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.2)
    with LocalServer("ok") as server:
        idle = [connect(server.url) for _ in range(20)]
        try:
            for connection in idle:
                connection.sendall(sent)
            for connection in idle:
                read_all(connection)
        finally:
            for connection in idle:
                connection.close()


def test_a_body_in_broken_chunks_is_a_400() -> None:
    with LocalServer("ok") as server:
        head = request(server.url, b"", "Transfer-Encoding: chunked", length=False)
        assert exchange(server.url, head + b"zz\r\n")[0] == 400


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"FETCH / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 17_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_malformed_is_answered_briefly(sent: bytes, status: int) -> None:
    with LocalServer("ok") as server:
        seen, head, body = exchange(server.url, sent)
        assert (seen, body) == (status, b"")
        assert b"Python" not in head
        assert post(server.url, payload()).status == 200


def test_a_head_of_up_to_16_kib_is_taken() -> None:
    with LocalServer("ok") as server:
        assert exchange(server.url, request(server.url, payload(), "X: " + "x" * 15_000))[0] == 200
        many = [f"X-{number}: y" for number in range(500)]
        assert exchange(server.url, request(server.url, payload(), *many))[0] == 200


def test_another_expectation_is_a_417() -> None:
    with LocalServer("ok") as server:
        assert exchange(server.url, request(server.url, payload(), "Expect: a miracle"))[0] == 417


def test_http_1_0_needs_no_host_and_gets_no_chunks() -> None:
    body = payload()
    head = f"POST /api/generate HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with LocalServer(["a", "b"]) as server:
        assert exchange(server.url, head + body)[2] == b"ab"


def test_the_page_can_be_left_out() -> None:
    with LocalServer("ok", page=False) as server:
        for path in ("/", "/password", "/page/chat.js"):
            answer = post(server.url, b"", path, "GET")
            assert (answer.status, answer.body) == (404, b"Not found")


def test_the_page_is_guarded() -> None:
    with LocalServer("ok") as server:
        for path, kind in (("/", "text/html"), ("/page/chat.js", "text/javascript"), ("/page/chat.css", "text/css")):
            answer = post(server.url, b"", path, "GET")
            assert answer.status == 200
            assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
            policy: Any = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert b"s3cret" not in post(server.url, b"", "/", "GET").body


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LocalServer(lambda messages: ("x" * 1_000_000 for _ in range(1000))).start()
    with connect(server.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request(server.url, payload()))
        connection.recv(10)
        started = time.monotonic()
        server.close()
        assert time.monotonic() - started < 10
