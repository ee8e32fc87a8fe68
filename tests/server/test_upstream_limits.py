"""Every limit holds, whoever goes ends the upstream's request, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psutil
import pytest

from aichatfree import Timeout
from aichatfree.server.failures import UpstreamError

from .standin import HEAD, KINDS, MESSAGES, Kind, Peer, StandIn, chunk, plain, read, stream

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
BRIEF = 0.05


async def silence(peer: Peer) -> None:
    await peer.gone()


def late(kind: Kind, answer: Any, timeout: Timeout, got: list[str] | None = None, **server: Any) -> UpstreamError:
    async def main() -> UpstreamError:
        async with StandIn(answer, **server) as standin:
            upstream = kind.make(standin.url, timeout=timeout)
            with pytest.raises(UpstreamError) as caught:
                async for piece in upstream(MESSAGES):
                    (got if got is not None else []).append(piece)
            await upstream.aclose()
            return caught.value

    return asyncio.run(asyncio.wait_for(main(), 20))


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """An address whose queue of connections is full, so that no connection comes about."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@every_kind
@pytest.mark.parametrize("phase", ["connect", "total"])
def test_connecting(kind: Kind, phase: str) -> None:
    async def main(url: str) -> UpstreamError:
        upstream = kind.make(url, timeout=Timeout(**{"connect": None, "first_byte": None, "idle": None, phase: BRIEF}))
        with pytest.raises(UpstreamError) as caught:
            await read(upstream)
        await upstream.aclose()
        return caught.value

    with black_hole() as url:
        error = asyncio.run(asyncio.wait_for(main(url), 20))
    assert error.message == "[GoogleGenerativeAI Error]: Error fetching from  fetch failed"
    assert error.reason in ("no connection within 0.05 s", "not finished within 0.05 s")
    assert error.status is None


@every_kind
def test_tls_that_never_answers_is_part_of_connecting(kind: Kind) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Peer(reader, writer).gone()
        writer.close()

    async def main() -> UpstreamError:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        upstream = kind.make(
            f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            timeout=Timeout(connect=BRIEF, first_byte=None, idle=None),
        )
        with pytest.raises(UpstreamError) as caught:
            await read(upstream)
        await upstream.aclose()
        server.close()
        return caught.value

    assert asyncio.run(asyncio.wait_for(main(), 20)).reason == "no connection within 0.05 s"


@every_kind
def test_the_first_byte(kind: Kind) -> None:
    timeout = Timeout(connect=None, first_byte=BRIEF, idle=None)
    assert late(kind, silence, timeout).reason == "no answer within 0.05 s"
    assert late(kind, HEAD, timeout).reason == "no answer within 0.05 s", "the head is no byte of the reply"
    # Of a body that is larger than all buffers, nothing is read.
    assert late(kind, silence, timeout, read_bodies=False).reason == "no answer within 0.05 s"


@every_kind
def test_idle(kind: Kind) -> None:
    got: list[str] = []
    answer = stream(*kind.pieces("one ", finish=False), end=b"")
    error = late(kind, answer, Timeout(connect=None, first_byte=None, idle=BRIEF), got)
    assert got == ["one "]
    assert error.reason == "nothing more within 0.05 s"
    assert error.status == 200


@every_kind
def test_total_though_something_always_comes(kind: Kind) -> None:
    async def drip(peer: Peer) -> None:
        await peer.send(HEAD)
        while not peer.writer.is_closing():
            await peer.send(chunk(b": x\n" if kind.name != "ollama" else b"\n"))
            await asyncio.sleep(0.01)

    error = late(kind, drip, Timeout(connect=None, first_byte=None, idle=None, total=0.2))
    assert error.reason == "not finished within 0.2 s"


@every_kind
def test_a_reader_that_takes_its_time_is_not_the_upstream_s_fault(kind: Kind) -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        first, *rest = kind.pieces("one ", "two")

        async def answer(peer: Peer) -> None:
            await peer.send(HEAD + chunk(first))
            await go_on.wait()
            await peer.send(b"".join(map(chunk, rest)) + b"0\r\n\r\n")

        async with StandIn(answer) as server:
            upstream = kind.make(server.url, timeout=Timeout(idle=BRIEF))
            got = []
            async for piece in upstream(MESSAGES):
                got.append(piece)
                await asyncio.sleep(2 * BRIEF)
                go_on.set()
            assert got == ["one ", "two"]
            await upstream.aclose()

    asyncio.run(main())


@every_kind
@pytest.mark.parametrize("whole", [True, False])
def test_what_came_in_time_counts_though_its_reader_was_away(kind: Kind, whole: bool) -> None:
    async def main() -> None:
        sent = asyncio.Event()
        first, *rest = kind.pieces("one ", "two", finish=whole)

        async def answer(peer: Peer) -> None:
            await peer.send(HEAD + chunk(first))
            await asyncio.sleep(BRIEF)  # so that it is a read of its own
            await peer.send(b"".join(map(chunk, rest)) + (b"0\r\n\r\n" if whole else b""))
            sent.set()
            if not whole:
                await peer.gone()

        async with StandIn(answer) as server:
            upstream = kind.make(server.url, timeout=Timeout(idle=None, total=6 * BRIEF))
            got = []
            with contextlib.nullcontext() if whole else pytest.raises(UpstreamError) as caught:
                async for piece in upstream(MESSAGES):
                    got.append(piece)
                    if piece == "one ":
                        await sent.wait()
                        await asyncio.sleep(8 * BRIEF)
            assert got == ["one ", "two"]
            assert whole or caught.value.reason == "not finished within 0.3 s"
            await upstream.aclose()

    asyncio.run(asyncio.wait_for(main(), 20))


# --- Whoever goes


async def asleep_at_the_first_piece(pieces: AsyncIterator[str], started: asyncio.Event) -> None:
    async for _ in pieces:
        started.set()


@every_kind
@pytest.mark.parametrize("moment", ["before the head", "before the first piece", "after it", "in an error"])
def test_a_cancelled_call_ends_the_request_at_once(kind: Kind, moment: str) -> None:
    async def main() -> None:
        reached, gone = asyncio.Event(), asyncio.Event()

        async def answer(peer: Peer) -> None:
            if moment == "before the first piece":
                await peer.send(HEAD)
            elif moment == "after it":
                await peer.send(stream(*kind.pieces("one ", finish=False), end=b""))
            elif moment == "in an error":
                await peer.send(b"HTTP/1.1 500 x\r\nContent-Length: 10\r\n\r\n")
            reached.set()
            await peer.gone()
            gone.set()

        async with StandIn(answer) as server:
            upstream = kind.make(server.url)
            task = asyncio.ensure_future(read(upstream))
            await reached.wait()
            await asyncio.sleep(BRIEF)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(gone.wait(), 10)
            await upstream.aclose()

    asyncio.run(main())


@every_kind
def test_a_generator_that_is_closed_ends_the_request_at_once(kind: Kind) -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def answer(peer: Peer) -> None:
            await peer.send(stream(*kind.pieces("one ", finish=False), end=b""))
            await peer.gone()
            gone.set()

        async with StandIn(answer) as server:
            upstream = kind.make(server.url)
            pieces = upstream(MESSAGES)
            assert await anext(pieces) == "one "
            await pieces.aclose()
            await asyncio.wait_for(gone.wait(), 10)
            await upstream.aclose()

    asyncio.run(main())


def test_a_cancelled_call_whose_upload_is_stuck() -> None:
    """The connection goes, though the upstream does not take what was to be sent over it."""

    async def main() -> None:
        reached, ended = asyncio.Event(), asyncio.Event()

        async def answer(peer: Peer) -> None:
            reached.set()
            await ended.wait()

        async with StandIn(answer, read_bodies=False) as server:

            def connected() -> bool:
                connections = psutil.Process().net_connections("tcp")
                return any(each.raddr and each.raddr.port == server.port for each in connections)

            upstream = KINDS[1].make(server.url)
            task = asyncio.ensure_future(read(upstream, [{"role": "user", "parts": [{"text": "x" * 40_000_000}]}]))
            await reached.wait()
            await asyncio.sleep(2 * BRIEF)
            assert connected()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(500):
                if not connected():
                    break
                await asyncio.sleep(0.01)
            assert not connected()
            ended.set()
            await upstream.aclose()

    asyncio.run(main())


@every_kind
def test_an_early_answer_to_a_large_request(kind: Kind) -> None:
    async def answer(peer: Peer) -> None:
        await peer.send(plain("413 x", {"error": "too much"}, "Connection: close"))
        peer.writer.write_eof()
        await peer.gone()

    async def main() -> None:
        async with StandIn(answer, read_bodies=False) as server:
            upstream = kind.make(server.url)
            with pytest.raises(UpstreamError) as caught:
                await read(upstream, [{"role": "user", "parts": [{"text": "x" * 5_000_000}]}])
            await upstream.aclose()
            assert caught.value.status == 413

    asyncio.run(main())


# --- What is left behind


@every_kind
def test_no_warning_though_nobody_closes_it(kind: Kind, no_leaks: None) -> None:
    async def use(keep: list[Any]) -> None:
        async with StandIn(kind.reply("x"), stream(*kind.pieces("half", finish=False), end=b"")) as server:
            upstream = kind.make(server.url)
            keep.append(upstream)
            assert await read(upstream) == ["x"]
            pieces = upstream(MESSAGES)
            assert await anext(pieces) == "half"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keep: list[Any] = []
        for _ in range(3):
            asyncio.run(use(keep))
        keep.clear()
        gc.collect()
    assert [str(each.message) for each in caught] == []


@every_kind
def test_one_upstream_in_several_loops(kind: Kind) -> None:
    async def once(upstream: Any) -> list[str]:
        return await read(upstream)

    ready, done = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with StandIn(kind.reply("x")) as server:
            urls.append(server.url)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        upstream = kind.make(urls[0])
        for _ in range(3):
            assert asyncio.run(once(upstream)) == ["x"]
        asyncio.run(upstream.aclose())
    finally:
        done.set()
        thread.join()


@every_kind
def test_closing_ends_what_runs_and_may_be_followed_by_more(kind: Kind) -> None:
    async def main() -> None:
        async with StandIn(stream(*kind.pieces("one ", finish=False), end=b""), kind.reply("x")) as server:
            upstream = kind.make(server.url)
            pieces = upstream(MESSAGES)
            assert await anext(pieces) == "one "
            await asyncio.wait_for(upstream.aclose(), 10)
            with pytest.raises(UpstreamError):
                await anext(pieces)
            assert await read(upstream) == ["x"]
            await upstream.aclose()
            await upstream.aclose()

    asyncio.run(main())


@every_kind
def test_a_pooled_connection_that_the_upstream_has_closed(kind: Kind) -> None:
    async def close(peer: Peer) -> None:
        peer.writer.close()

    async def main() -> None:
        async with StandIn(kind.reply("one"), close, kind.reply("two"), close) as server:
            upstream = kind.make(server.url)
            assert await read(upstream) == ["one"]
            assert await read(upstream) == ["two"], "the second request goes out again, over a fresh connection"
            with pytest.raises(UpstreamError):
                await read(upstream)
            await upstream.aclose()
            assert len(server.requests) == 5

    asyncio.run(main())


@every_kind
def test_many_at_once(kind: Kind) -> None:
    async def main() -> None:
        async with StandIn(kind.reply("x")) as server:
            upstream = kind.make(server.url)
            assert await asyncio.gather(*[read(upstream) for _ in range(150)]) == [["x"]] * 150
            await upstream.aclose()

    asyncio.run(main())


def test_a_hook_that_is_never_called_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits depend on aiohttp telling when it has connected. If a later version did not, no call may go on."""
    from aichatfree.server.upstreams import sessions

    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(sessions, "_connected", nothing)
    error = late(KINDS[0], KINDS[0].reply("x"), Timeout())
    assert error.reason == "this version of aiohttp does not tell when it has connected"
