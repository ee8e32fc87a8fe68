"""One exchange of either client: interrupted at moments that are easily missed, and what is left of it afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from typing import Any

import pytest
from raw_server import Peer, RawServer, head, plain

from aichatfree import (
    AIChatFreeError,
    AsyncClient,
    Client,
    Deadline,
    Request,
    RequestTimeoutError,
    StreamInterruptedError,
    Timeout,
)
from aichatfree.testing import Reply, ScriptedServer, Stall

HOUR = 3600.0


def note_exchanges(client: Any, note: Any) -> None:
    """Call `note` with each exchange that the client's transport makes, before it is used."""
    make = client._transport.exchange

    def exchange(request: Request, deadline: Deadline) -> Any:
        made = make(request, deadline)
        note(made)
        return made

    client._transport.exchange = exchange


def test_a_stream_closed_as_its_exchange_is_made(face: Any, server: ScriptedServer) -> None:
    """Who closes it then has no exchange to abort yet: nothing may go out all the same."""
    client = face.client(server)
    stream = client.stream("hi")
    note_exchanges(client, lambda exchange: stream._control.close())
    with pytest.raises(StreamInterruptedError) as caught:
        face.run(stream.until_done, stream.until_done)
    assert caught.value.by_caller
    assert server.accepted == 0


@pytest.mark.parametrize("looks", [0, 1])
def test_a_limit_that_passes_between_two_looks_at_the_clock(face: Any, server: ScriptedServer, looks: int) -> None:
    """Once it has passed, nothing goes out any more."""
    client = face.client(server, timeout=5, max_retries=0)
    clock = iter([*[0.0] * looks, *[HOUR] * 100])

    def turn(exchange: Any) -> None:
        exchange.deadline._clock = lambda: 0.0
        exchange.deadline.begin("connect")
        exchange.deadline._clock = lambda: next(clock)

    note_exchanges(client, turn)
    with pytest.raises(RequestTimeoutError) as caught:
        face.generate(client)
    assert caught.value.phase == "connect"
    assert server.accepted == 0


@pytest.mark.parametrize("pooled", [False, True])
def test_a_stream_closed_as_its_connection_is_found(face: Any, server: ScriptedServer, pooled: bool) -> None:
    """The exchange is aborted, but has no connection yet that could be cut: it must not wait for the answer."""
    client = face.client(server, timeout=None, max_retries=0)
    if pooled:
        assert face.generate(client)
    server.enqueue(Reply("x", fault=Stall("before-answer")))
    stream = client.stream("hi")

    def close_first(exchange: Any) -> None:
        connected = exchange.connected

        def close_and_connect(connection: Any) -> None:
            stream._control.close()
            connected(connection)

        exchange.connected = close_and_connect

    note_exchanges(client, close_first)
    with pytest.raises(StreamInterruptedError) as caught:
        face.run(stream.until_done, stream.until_done)
    assert caught.value.by_caller
    server.wait_connections(0)


def test_an_exchange_aborted_behind_its_last_byte(face: Any) -> None:
    """It never just ends, even if all has come: its reader asked for the end and did not get it."""
    with RawServer(lambda peer: peer.sock.sendall(plain(b"all"))) as server:
        client = face.client(server.url)
        request = Request("POST", f"{server.url}/", {}, b"", ())
        deadline = Deadline(Timeout(HOUR), lambda: 0.0)

        def read() -> bytes:
            exchange = client._transport.exchange(request, deadline)
            exchange.send()
            body = iter(exchange)
            data = next(body)
            exchange.abort()
            with pytest.raises(StreamInterruptedError) as caught:
                next(body)
            exchange.close()
            assert caught.value.by_caller
            return bytes(data)

        async def aread() -> bytes:
            exchange = client._transport.exchange(request, deadline)
            await exchange.send()
            body = aiter(exchange)
            data = await anext(body)
            exchange.abort()
            with pytest.raises(StreamInterruptedError) as caught:
                await anext(body)
            await exchange.aclose()
            assert caught.value.by_caller
            return bytes(data)

        assert face.run(read, aread) == b"all"


def test_nothing_keeps_an_exchange_until_its_limits_pass(face: Any, server: ScriptedServer) -> None:
    client = face.client(server, timeout=Timeout(HOUR, total=HOUR))
    exchanges: list[Any] = []
    note_exchanges(client, lambda exchange: exchanges.append(weakref.ref(exchange)))
    assert face.generate(client)
    gc.collect()
    assert [exchange() for exchange in exchanges] == [None]


@pytest.mark.parametrize("excess", [b"x", b"\r\n", plain(b"another answer")], ids=["a byte", "a line", "an answer"])
def test_a_connection_that_brought_too_much_serves_nothing_else(face: Any, excess: bytes) -> None:
    """Its server may be an answer ahead: what it says next would be taken for the answer to the next request."""

    def answer(peer: Peer) -> None:
        if len(server.requests) == 1:
            peer.sock.sendall(plain(b"true") + excess)
        else:
            peer.sock.sendall(plain(b"false" if server.connections == 1 else b"true"))

    with RawServer(answer) as server:
        client = face.client(server.url, max_retries=0)
        assert [face.generate(client), face.generate(client)] == ["true", "true"]
        assert server.connections == 2


def test_a_child_gives_no_connection_of_its_parent_to_another_call(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is whole, and its last words are held back as the process forks."""
    server.enqueue(Reply("A text that ends with Internal"))
    with Client(server.url, max_retries=0) as client:
        stream = client.stream("hi")
        assert next(stream)
        assert stream._control.exchange._whole or next(stream)
        process = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: process + 1)
        stream.close()
        assert client.generate("again")
    assert len({request.connection for request in server.requests}) == 2


def test_a_head_that_says_close_is_obeyed(face: Any) -> None:
    """Though the server leaves the connection open."""
    with RawServer(lambda peer: peer.sock.sendall(head("Connection: close", "Content-Length: 2") + b"ok")) as server:
        client = face.client(server.url, max_retries=0)
        assert [face.generate(client), face.generate(client)] == ["ok", "ok"]
        assert server.connections == 2


GIVEN_UP = {
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "content where there can be none": b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
    "an encoding that is not known": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
    "a reply that is too large": b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000,
    "an error that is too large": b"HTTP/1.1 500 Oops\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000,
}


@pytest.mark.parametrize("name", GIVEN_UP)
def test_an_answer_that_is_not_read_to_its_end_closes_its_connection(face: Any, name: str) -> None:
    """Also where all of it has come."""
    answers = [GIVEN_UP[name], plain(b"ok")]
    with RawServer(lambda peer: peer.sock.sendall(answers.pop(0))) as server:
        client = face.client(server.url, max_retries=0, max_reply_bytes=69_999)
        with pytest.raises(AIChatFreeError):
            face.generate(client)
        assert face.generate(client) == "ok"
        assert server.connections == 2


def test_a_connection_is_not_closed_under_the_next_call() -> None:
    """aiohttp gives it back as soon as an answer has come: another call may have it when that answer is given up."""
    given_up = threading.Event()

    def answer(peer: Peer) -> None:
        if len(server.requests) == 1:
            peer.sock.sendall(plain(b"first"))
        else:
            data = plain(b"second")
            peer.sock.sendall(data[:-3])
            given_up.wait(5)
            peer.sock.sendall(data[-3:])

    async def main() -> None:
        async with AsyncClient(server.url, max_retries=0) as client:
            async with client.stream("hi") as stream:
                while not stream._control.exchange._content.is_eof():
                    await asyncio.sleep(0)
                other = asyncio.create_task(client.generate("hi"))
                while len(server.requests) < 2:
                    await asyncio.sleep(0.001)
            given_up.set()
            assert await other == "second"

    with RawServer(answer) as server:
        asyncio.run(main())
        assert server.connections == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_what_closes_a_connection(face: Any, head: bytes) -> None:
    with RawServer(lambda peer: peer.sock.sendall(head)) as server:
        client = face.client(server.url, max_retries=0)
        assert [face.generate(client), face.generate(client)] == ["ok", "ok"]
        assert server.connections == 2
