"""What a server may cost: replies, bombs and error bodies without end."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from raw_server import Peer, RawServer, chunk, head, plain

import aichatfree
from aichatfree import ReplyTooLargeError
from aichatfree.testing import Reply, ScriptedServer

MEGABYTE = 1024 * 1024


def test_exactly_the_limit_is_allowed(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["12345", "67890"]))
    assert face.generate(face.client(server, max_reply_bytes=10)) == "1234567890"


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("framing", ["chunked", "content-length", "until-close"])
def test_one_byte_more_is_not(face: Any, server: ScriptedServer, framing: Any, encoding: Any) -> None:
    server.enqueue(Reply(["12345", "678901"], framing=framing, encoding=encoding))
    outcome = face.stream(face.client(server, max_reply_bytes=10))
    assert type(outcome.error) is ReplyTooLargeError
    assert outcome.text == outcome.error.partial == "1234567890"
    assert "max_reply_bytes" in str(outcome.error)
    assert len(server.requests) == 1


def test_how_much_came_with_the_byte_too_many_is_not_counted(face: Any) -> None:
    # It is chance, and another one in each HTTP library: they read more or less at a time.
    with RawServer(lambda peer: peer.sock.sendall(plain(b"x" * 9000))) as server:
        outcome = face.stream(face.client(server.url, max_reply_bytes=10))
    assert type(outcome.error) is ReplyTooLargeError
    assert outcome.stream.stats.bytes_received == 11


def test_the_limit_counts_bytes_not_characters(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("你好你好"))
    outcome = face.stream(face.client(server, max_reply_bytes=7))
    assert type(outcome.error) is ReplyTooLargeError
    assert outcome.text == "你好"


def test_an_endless_reply(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.endless("na" * 1000))
    outcome = face.stream(face.client(server, max_reply_bytes=MEGABYTE))
    assert type(outcome.error) is ReplyTooLargeError
    assert len(outcome.text) == MEGABYTE
    server.wait_connections(0)


def test_a_compression_bomb(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.bomb(1024 * MEGABYTE))
    client = face.client(server, max_reply_bytes=MEGABYTE)
    tracemalloc.start()
    try:
        outcome = face.stream(client)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(outcome.error) is ReplyTooLargeError
    assert peak < 16 * MEGABYTE
    server.wait_connections(0)


@pytest.mark.parametrize(("method", "copies"), [("stream", 1), ("generate", 2)])
def test_a_large_reply_is_in_memory_once(face: Any, method: str, copies: int) -> None:
    """And, where it is returned as a whole, a second time."""
    block, blocks = b"A plain text of 64 characters, with which a large reply is made." * 1024, 800
    size = len(block) * blocks

    def answer(peer: Peer) -> None:
        peer.sock.sendall(head("Transfer-Encoding: chunked"))
        piece = chunk(block)
        for _ in range(blocks):
            peer.sock.sendall(piece)
        peer.sock.sendall(b"0\r\n\r\n")

    with RawServer(answer) as server:
        client = face.client(server.url, max_reply_bytes=size)
        tracemalloc.start()
        try:
            reply = face.generate(client) if method == "generate" else face.stream(client).stream
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(reply if method == "generate" else reply.text) == size
    assert peak < (copies + 0.1) * size


def test_a_bomb_as_an_error_body(face: Any, server: ScriptedServer) -> None:
    bomb = Reply.bomb(256 * MEGABYTE, status=500)
    server.enqueue(bomb)
    tracemalloc.start()
    try:
        outcome = face.stream(face.client(server, max_retries=0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(outcome.error) is aichatfree.ServerError
    assert len(outcome.error.body) <= 64 * 1024
    assert len(str(outcome.error)) < 1000
    assert peak < 16 * MEGABYTE


def test_an_endless_error_body(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.endless("<p>no</p>" * 100, status=502))
    outcome = face.stream(face.client(server, max_retries=0))
    assert type(outcome.error) is aichatfree.ServerError
    assert len(outcome.error.body) <= 64 * 1024
    server.wait_connections(0)


def test_a_huge_chunk_size_costs_nothing(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\nhello"))
    tracemalloc.start()
    try:
        outcome = face.stream(face.client(server, max_retries=0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert outcome.text == "hello"
    assert peak < 16 * MEGABYTE


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_an_encoding_that_was_not_asked_for(face: Any, server: ScriptedServer, encoding: str) -> None:
    server.enqueue(Reply("x", headers={"Content-Encoding": encoding}))
    outcome = face.stream(face.client(server, max_retries=0))
    assert type(outcome.error) is aichatfree.APIError
    assert encoding in str(outcome.error)


LONG = "x" * 6000


def wander(numbers: Iterator[int], peer: Peer) -> None:
    """Send each request on to an address that there has not been yet, and answer it there."""
    target = peer.head.split(b" ", 2)[1].decode()
    if LONG in target:
        peer.sock.sendall(plain(b'{"code":0}'))
    else:
        location = f"Location: {target}?{next(numbers)}{LONG}"
        peer.sock.sendall(plain(b"", location, status="308 Permanent Redirect"))


@pytest.mark.parametrize("what", ["generate", "verify_password", "with_options"])
def test_ever_new_addresses_are_not_remembered(face: Any, what: str) -> None:
    numbers = itertools.count()

    def calls(count: int) -> int:
        for _ in range(count):
            if what == "verify_password":
                assert face.verify_password(client, "open sesame")
            elif what == "generate":
                assert face.generate(client) == '{"code":0}'
            else:
                elsewhere = client.with_options(base_url=f"{server.url}/{next(numbers)}{LONG}")
                assert face.generate(elsewhere) == '{"code":0}'
            server.requests.clear()
        return tracemalloc.get_traced_memory()[0]

    with RawServer(lambda peer: wander(numbers, peer)) as server:
        client = face.client(server.url)
        tracemalloc.start()
        try:
            before = calls(100)
            assert calls(100) - before < 50 * len(LONG)
        finally:
            tracemalloc.stop()
