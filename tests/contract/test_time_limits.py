"""connect, first_byte, idle and total hold in every phase, against silence and against a drip."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import aiohttp
import pytest
import requests
from raw_server import Peer, RawServer, chunk, head

import aichatfree
from aichatfree import RequestTimeoutError, RetryPolicy, Timeout
from aichatfree.testing import Drop, Pause, Reply, ScriptedServer, Stall

SHORT = 0.3
HOUR = 3600.0


def limits_of(**short: float) -> Timeout:
    """The other limits are an hour: an error that only came with one of those would exceed the time of a test."""
    return Timeout(**{"connect": HOUR, "first_byte": HOUR, "idle": HOUR, "total": HOUR, **short})


def expect(outcome: Any, phase: str, limit: float = SHORT) -> None:
    error = outcome.error
    assert type(error) is RequestTimeoutError, repr(error)
    assert error.phase == phase
    assert outcome.seconds >= limit - 0.02
    assert f"{limit:g} s" in str(error)
    assert error.partial == outcome.text


FIRST_BYTE = {
    "no answer": Reply("x", fault=Stall("before-answer")),
    "half the headers": Reply("x", fault=Stall("in-headers")),
    "headers alone": Reply("x", fault=Stall("after-headers")),
    "dripping headers": Reply("x", drip=0.05, drip_headers=True),
}


@pytest.mark.parametrize("limits", [limits_of(first_byte=SHORT), limits_of(total=SHORT)], ids=["first_byte", "total"])
@pytest.mark.parametrize("name", FIRST_BYTE)
def test_the_first_byte_is_limited(face: Any, server: ScriptedServer, name: str, limits: Timeout) -> None:
    server.enqueue(FIRST_BYTE[name])
    outcome = face.stream(face.client(server, timeout=limits, max_retries=0))
    expect(outcome, "total" if limits.total == SHORT else "first_byte")
    server.wait_connections(0)


@pytest.mark.parametrize("framing", ["chunked", "content-length", "until-close"])
@pytest.mark.parametrize("limits", [limits_of(idle=SHORT), limits_of(total=SHORT)], ids=["idle", "total"])
def test_a_stall_in_the_reply_is_limited(face: Any, server: ScriptedServer, framing: Any, limits: Timeout) -> None:
    server.enqueue(Reply(["some text", Pause(None), "never sent"], framing=framing))
    outcome = face.stream(face.client(server, timeout=limits, max_retries=0))
    expect(outcome, "total" if limits.total == SHORT else "idle")
    assert outcome.text == "some text"
    server.wait_connections(0)


@pytest.mark.parametrize("framing", ["chunked", "content-length", "until-close"])
def test_total_holds_against_a_drip(face: Any, server: ScriptedServer, framing: Any) -> None:
    server.enqueue(Reply("a" * 1000, framing=framing, drip=0.05))
    outcome = face.stream(face.client(server, timeout=limits_of(total=0.5), max_retries=0))
    expect(outcome, "total", 0.5)


def test_idle_does_not_mind_a_drip(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("0123456789", framing="content-length", drip=0.05))
    assert face.generate(face.client(server, timeout=Timeout(idle=SHORT, first_byte=SHORT))) == "0123456789"


def test_a_dripped_chunk_header_is_no_progress(face: Any, server: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    server.enqueue(Reply.raw([head, *([b"0"] * 100)], pause=0.05))
    outcome = face.stream(face.client(server, timeout=limits_of(idle=SHORT), max_retries=0))
    assert outcome.text == "hi"
    if face.is_async and outcome.error is None:
        pytest.skip("aiohttp ends the body at the first 0")
    expect(outcome, "idle")


def test_a_slow_reader_is_not_the_servers_fault(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["a", Pause(0.1), "b"]))
    stream = face.client(server, timeout=Timeout(idle=0.25, first_byte=0.25)).stream("hi")

    def read() -> str:
        pieces = []
        for piece in stream:
            pieces.append(piece)
            time.sleep(0.4)
        return "".join(pieces)

    async def aread() -> str:
        pieces = []
        async for piece in stream:
            pieces.append(piece)
            await asyncio.sleep(0.4)
        return "".join(pieces)

    assert face.run(read, aread) == "ab"


def test_the_time_between_reads_is_not_limited(face: Any) -> None:
    """Not even where nothing has come meanwhile: only who waits may wait too long."""
    waits, reads = threading.Event(), threading.Event()

    def answer(peer: Peer) -> None:
        peer.sock.sendall(head("Content-Length: 3") + b"a")
        for piece, asked in ((b"b", waits), (b"c", reads)):  # the limit has begun with the second read
            asked.wait(30)
            peer.sock.sendall(piece)

    def read() -> str:
        first = next(stream)
        waits.set()
        first += next(stream)
        time.sleep(1.1)
        reads.set()
        return first + next(stream)

    async def aread() -> str:
        first = await anext(stream)
        waits.set()
        first += await anext(stream)
        await asyncio.sleep(1.1)
        reads.set()
        return first + await anext(stream)

    with RawServer(answer) as server:
        stream = face.client(server.url, timeout=limits_of(idle=1.0)).stream("hi")
        assert face.run(read, aread) == "abc"


def test_none_is_no_limit(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["a", Pause(0.2), "b"]))
    assert face.generate(face.client(server, timeout=None)) == "ab"


def test_the_limit_of_a_phase_ends_with_it(face: Any, server: ScriptedServer) -> None:
    """Also where the next phase has none, so that nothing is set in its place."""
    server.enqueue(Reply(["a", Pause(1.2), "b"]))
    client = face.client(server, timeout=Timeout(None, 1.0, None), max_retries=0)
    assert face.stream(client).text == "ab"


def test_a_limit_of_one_call(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("x", fault=Stall("before-answer")))
    expect(face.stream(face.client(server, max_retries=0), timeout=limits_of(first_byte=SHORT)), "first_byte")


def test_total_spans_the_retries(face: Any, server: ScriptedServer) -> None:
    server.enqueue(*[Reply("x", fault=Stall("before-answer"))] * 20)
    retry = RetryPolicy(max_retries=20, initial_delay=0.0)
    client = face.client(server, timeout=Timeout(first_byte=0.2, total=0.7), retry=retry)
    outcome = face.stream(client)
    expect(outcome, "total", 0.7)
    earlier = [error.phase for error in outcome.error.attempts]
    assert 1 <= len(earlier) <= 3  # on a busy machine each takes longer
    assert set(earlier) == {"first_byte"}
    assert outcome.stream.stats.attempts - len(earlier) in (0, 1)  # the total may pass between two attempts


def test_total_ends_a_wait_between_tries_that_it_does_not_allow(face: Any, server: ScriptedServer) -> None:
    server.enqueue(*[Reply("x", fault=Drop("before-answer"))] * 2)
    retry = RetryPolicy(max_retries=5, initial_delay=1000, max_delay=1000)
    outcome = face.stream(face.client(server, timeout=Timeout(total=0.5), retry=retry))
    assert outcome.error is not None
    assert outcome.error.phase == "total"
    assert isinstance(outcome.error.__cause__, aichatfree.ConnectError)
    assert outcome.error.attempts[-1] is outcome.error.__cause__


def test_a_wait_the_server_asks_for_and_total_does_not_allow(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.quota(retry_in=1800))
    patient = RetryPolicy(max_retry_after=HOUR)
    outcome = face.stream(face.client(server, timeout=Timeout(total=900), retry=patient))
    assert type(outcome.error) is aichatfree.RateLimitError
    assert outcome.error.retry_after == 1800


def test_no_thread_is_started_for_a_limit(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["a", Pause(0.1), "b"]))
    client = face.client(server, timeout=Timeout(connect=5, first_byte=5, idle=5, total=5))
    face.generate(client)
    before = threading.active_count()
    server.enqueue(Reply(["a", Pause(0.1), "b"]))
    face.generate(client)
    assert threading.active_count() <= before


class SlowReader:
    """Reads a piece, stays away until the limit of all has passed, and reads on."""

    LIMITS = limits_of(total=1.0)

    def __init__(self) -> None:
        self._away = threading.Event()

    def answer(self, peer: Peer) -> None:
        peer.sock.sendall(head("Transfer-Encoding: chunked") + chunk(b"one"))
        self._away.wait(30)
        peer.sock.sendall(chunk(b"two" * 500) + chunk(b"three" * 500))
        peer.wait()

    def read(self, stream: Any) -> list[str]:
        pieces = [next(stream)]
        self._away.set()
        time.sleep(1.5)
        with pytest.raises(RequestTimeoutError) as caught:
            while True:
                pieces.append(next(stream))
        self._check(caught.value, pieces)
        return pieces

    async def aread(self, stream: Any) -> list[str]:
        pieces = [await anext(stream)]
        self._away.set()
        await asyncio.sleep(1.5)
        with pytest.raises(RequestTimeoutError) as caught:
            while True:
                pieces.append(await anext(stream))
        self._check(caught.value, pieces)
        return pieces

    def _check(self, error: RequestTimeoutError, pieces: list[str]) -> None:
        assert error.phase == "total"
        assert error.partial == "".join(pieces)
        assert pieces == ["one", "two" * 500 + "three" * 500]


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_what_came_before_the_limit_of_all_is_given_out(face: Any, tls: Any, secured: bool) -> None:
    reader = SlowReader()
    with RawServer(reader.answer, tls=tls[0] if secured else None) as server:
        options = {"verify": tls[1]} if secured else {}
        stream = face.client(server.url, timeout=reader.LIMITS, **options).stream("hi")
        face.run(lambda: reader.read(stream), lambda: reader.aread(stream))


def test_a_head_and_nothing_more_in_a_session_of_the_users(face: Any) -> None:
    """What the connection waits for then is the first byte, in both clients."""

    async def by_aiohttp(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            await aichatfree.AsyncClient(url, session=session, timeout=0.1, max_retries=0).generate("hi")

    def by_requests(url: str) -> None:
        with requests.Session() as session:
            aichatfree.Client(url, session=session, timeout=0.1, max_retries=0).generate("hi")

    with RawServer(lambda peer: peer.sock.sendall(head("Content-Length: 3"))) as server:
        with pytest.raises(RequestTimeoutError) as caught:
            face.run(lambda: by_requests(server.url), lambda: by_aiohttp(server.url))
    assert caught.value.phase == "first_byte"


def test_the_same_through_a_session_of_the_users() -> None:
    reader = SlowReader()
    with RawServer(reader.answer) as server, requests.Session() as session:
        with aichatfree.Client(server.url, session=session, timeout=reader.LIMITS) as client:
            reader.read(client.stream("hi"))


def test_the_same_through_an_asynchronous_session_of_the_users() -> None:
    reader = SlowReader()

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            await reader.aread(aichatfree.AsyncClient(server.url, session=session, timeout=reader.LIMITS).stream("hi"))

    with RawServer(reader.answer) as server:
        asyncio.run(main())


def test_a_slow_reader_does_not_outlast_the_limit_of_all(face: Any) -> None:
    """However much comes while the reader is away."""

    def answer(peer: Peer) -> None:
        peer.sock.sendall(head("Transfer-Encoding: chunked"))
        with contextlib.suppress(OSError):
            for _ in range(1000):
                peer.sock.sendall(chunk(b"more "))
                peer.wait(0.01)

    def read() -> None:
        for _ in stream:
            time.sleep(0.1)

    async def aread() -> None:
        async for _ in stream:
            await asyncio.sleep(0.1)

    with RawServer(answer) as server:
        stream = face.client(server.url, timeout=limits_of(total=0.5)).stream("hi")
        began = time.monotonic()
        with pytest.raises(RequestTimeoutError) as caught:
            face.run(read, aread)
    assert caught.value.phase == "total"
    assert time.monotonic() - began < 5
    assert "more more" in caught.value.partial


def test_a_reply_that_was_whole_before_the_limit_of_all_is_whole(face: Any) -> None:
    def answer(peer: Peer) -> None:
        peer.sock.sendall(head("Transfer-Encoding: chunked") + chunk(b"one"))
        peer.wait(0.2)
        peer.sock.sendall(chunk(b"two") + b"0\r\n\r\n")

    def read() -> list[str]:
        pieces = [next(stream)]
        time.sleep(1.5)
        return [*pieces, *stream]

    async def aread() -> list[str]:
        pieces = [await anext(stream)]
        await asyncio.sleep(1.5)
        return [*pieces, *[piece async for piece in stream]]

    with RawServer(answer) as server:
        stream = face.client(server.url, timeout=limits_of(total=1.0)).stream("hi")
        assert face.run(read, aread) == ["one", "two"]
