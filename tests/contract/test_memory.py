"""What memory a long reply takes: its text once where it is streamed, twice for a moment where it is joined."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from raw_server import Peer, RawServer

MEGABYTE = 1024 * 1024
REPLY = 50 * MEGABYTE
BESIDES = 4 * MEGABYTE
"""Buffers, and everything else that is allocated meanwhile."""
_CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"


def send(peer: Peer) -> None:
    """The reply in chunks of 64 KiB, so that this process holds no copy of its own for the server."""
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(REPLY // 65536):
        peer.sock.sendall(_CHUNK)
    peer.sock.sendall(b"0\r\n\r\n")


def peak_of(call: Callable[[], object]) -> int:
    """Bytes allocated at most at a time."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def read_all(stream: Any) -> int:
    return sum(map(len, stream))


async def read_all_async(stream: Any) -> int:
    return sum([len(piece) async for piece in stream])


@pytest.fixture
def client(face: Any) -> Any:
    with RawServer(send) as server:
        yield face.client(server.url, max_reply_bytes=2 * REPLY)


def test_a_reply_that_is_streamed_is_kept_once(face: Any, client: Any) -> None:
    def call() -> None:
        stream = client.stream("hi")
        assert face.run(lambda: read_all(stream), lambda: read_all_async(stream)) == REPLY

    assert REPLY <= peak_of(call) < REPLY + BESIDES


def test_a_reply_that_is_joined_is_there_twice_at_most(face: Any, client: Any) -> None:
    def call() -> None:
        assert len(face.generate(client)) == REPLY

    assert REPLY <= peak_of(call) < 2 * REPLY + BESIDES
