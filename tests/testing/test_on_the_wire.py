"""That every fault is on a real socket what it is called: bytes, FIN, RST, silence."""

from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aichatfree.testing import (
    BrokenChunk,
    BrokenEncoding,
    Drop,
    Garbage,
    Informational,
    OversizedHeaders,
    Pause,
    Reply,
    ScriptedServer,
    Stall,
    WrongLength,
)

from .raw import REQUEST, connect, receive, talk

RECORDINGS = sorted((Path(__file__).parent.parent / "data" / "recordings").glob("*.http"))
ENDS = pytest.mark.parametrize(("reset", "end"), [(False, "fin"), (True, "rst")])


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recordings_come_out_byte_for_byte(server: ScriptedServer, path: Path) -> None:
    server.enqueue(Reply.recording(path.read_bytes()))
    received = talk(server)
    assert received.data == path.read_bytes()
    assert received.end == "fin"


@ENDS
@pytest.mark.parametrize("at", ["before-answer", "in-headers", "after-headers", "in-body", "in-chunk", "after-answer"])
def test_drops(server: ScriptedServer, at: Any, reset: bool, end: str) -> None:
    server.enqueue(Reply("text", fault=Drop(at, reset=reset)))
    received = talk(server)
    assert received.end == end
    if at == "before-answer":
        assert received.data == b""
    elif at == "in-headers":
        assert received.data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n\r\n" not in received.data
    else:
        assert received.data.startswith(b"HTTP/1.1 200 OK\r\n")
        bodies = {"after-headers": b"", "in-body": b"4\r\ntext\r\n", "in-chunk": b"4\r\ntext\r\n10\r\n"}
        assert received.body == bodies.get(at, b"4\r\ntext\r\n0\r\n\r\n")


@ENDS
def test_a_short_body(server: ScriptedServer, reset: bool, end: str) -> None:
    server.enqueue(Reply("text", framing="content-length", fault=Drop("in-body", reset=reset)))
    received = talk(server)
    assert received.head.endswith(b"\r\nContent-Length: 20")
    assert (received.body, received.end) == (b"text", end)


@ENDS
def test_all_that_was_sent_before_a_drop_arrives(server: ScriptedServer, reset: bool, end: str) -> None:
    text = "x" * 3_000_000
    server.enqueue(Reply(text, framing="until-close", fault=Drop("in-body", reset=reset)))
    received = talk(server)
    assert received.end == end
    if not reset:  # a reset may overtake what the client has not read
        assert len(received.body) == len(text)


@pytest.mark.parametrize("at", ["before-answer", "in-headers", "after-headers", "in-body"])
def test_stalls_last_until_the_client_goes(server: ScriptedServer, at: Any) -> None:
    server.enqueue(Reply("text", fault=Stall(at)))
    with connect(server) as connection:
        connection.sendall(REQUEST)
        received = receive(connection, patience=0.15)
        assert received.end == "open"
        assert (b"\r\n\r\n" in received.data) == (at in ("after-headers", "in-body"))
        assert received.body == (b"4\r\ntext\r\n" if at == "in-body" else b"")
        assert server.connections == 1
    server.wait_connections(0)
    server.wait_idle()


@pytest.mark.parametrize("at", ["before-answer", "in-headers", "after-headers", "in-body"])
def test_stalls_that_end(server: ScriptedServer, at: Any) -> None:
    server.enqueue(Reply("text", keep_alive=False, fault=Stall(at, 0.1)))
    started = time.monotonic()
    received = talk(server)
    assert time.monotonic() - started >= 0.1
    assert (received.body, received.end) == (b"4\r\ntext\r\n0\r\n\r\n", "fin")


@pytest.mark.parametrize("reply", [Reply("a", fault=Stall()), Reply("a", fault=Stall("after-headers", 60))])
def test_no_task_outlives_its_connection(
    server: ScriptedServer, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    server.enqueue(*[reply] * 10)
    for _ in range(10):
        with connect(server) as connection:
            connection.sendall(REQUEST)
            receive(connection, patience=0.02)
    server.wait_connections(0)
    talk(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")  # a few rounds of the loop
    gc.collect()
    assert "Task was destroyed" not in caplog.text


def test_pauses_make_each_piece_a_read_of_its_own(server: ScriptedServer) -> None:
    server.enqueue(Reply(["a", "b", "c"], framing="until-close", pause=0.05))
    received = talk(server)
    assert received.body == b"abc"
    assert received.reads[-2:] == [b"b", b"c"]


def test_drip(server: ScriptedServer) -> None:
    server.enqueue(Reply("abcd", framing="until-close", drip=0.03))
    started = time.monotonic()
    received = talk(server)
    assert time.monotonic() - started >= 0.12
    assert received.reads[-3:] == [b"b", b"c", b"d"]


def test_drip_of_the_headers(server: ScriptedServer) -> None:
    server.enqueue(Reply("", drip=0.002, drip_headers=True, keep_alive=False))
    received = talk(server)
    assert received.reads[:2] == [b"H", b"T"]
    assert received.data.endswith(b"0\r\n\r\n")


def test_split(server: ScriptedServer) -> None:
    server.enqueue(Reply("text", split=1, keep_alive=False))
    assert talk(server).body == b"4\r\ntext\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "data"),
    [
        (Reply("a", fault=Garbage()), b"SSH-2.0-OpenSSH_9.6\r\n"),
        (Reply("a", fault=BrokenChunk()), b"1\r\na\r\nzz\r\n"),
        (Reply("text", framing="content-length", fault=WrongLength(-3)), b"text"),
        (Reply("text", framing="content-length", fault=WrongLength(3)), b"text"),
        (Reply("a", encoding="gzip", framing="until-close", fault=BrokenEncoding()), b"\xff" * 32),
        (Reply("a", keep_alive=False, fault=Informational(3)), b"1\r\na\r\n0\r\n\r\n"),
        (Reply("a", keep_alive=False, fault=OversizedHeaders(300_000)), b"1\r\na\r\n0\r\n\r\n"),
    ],
)
def test_other_faults_end_in_order(server: ScriptedServer, reply: Reply, data: bytes) -> None:
    server.enqueue(reply)
    received = talk(server)
    assert received.data.endswith(data)
    assert received.end == "fin"


@pytest.mark.parametrize("reply", [Reply.endless(), Reply.endless("x"), Reply("a", fault=Informational(None))])
def test_endless_things_stop_when_the_client_goes(server: ScriptedServer, reply: Reply) -> None:
    server.enqueue(reply)
    with connect(server) as connection:
        connection.sendall(REQUEST)
        read = 0
        while read < 200_000:
            read += len(connection.recv(65536))
    server.wait_connections(0)


def test_an_endless_reply_does_not_hold_up_others(server: ScriptedServer) -> None:
    server.enqueue(Reply.endless(), Reply("b", keep_alive=False))
    with connect(server) as endless:
        endless.sendall(REQUEST)
        reader = threading.Thread(target=receive, args=(endless,))
        reader.start()
        server.wait_requests(1)
        assert talk(server).body == b"1\r\nb\r\n0\r\n\r\n"
        endless.shutdown(socket.SHUT_RDWR)
        reader.join()


def test_a_client_that_does_not_read_is_waited_for(server: ScriptedServer) -> None:
    server.enqueue(Reply.endless("x" * 65536))
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(REQUEST)
        server.wait_requests(1)
        time.sleep(0.05)  # the server fills the buffers of the kernel, and no more
        assert server.connections == 1
    server.wait_connections(0)


def test_a_stalled_piece(server: ScriptedServer) -> None:
    server.enqueue(Reply(["a", Pause(None), "b"], framing="until-close"))
    with connect(server) as connection:
        connection.sendall(REQUEST)
        assert receive(connection, patience=0.15).body == b"a"
