"""From an upstream's failure to the exception of both clients, through a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aichatfree import (
    AIChatFreeError,
    APIError,
    AsyncClient,
    BadRequestError,
    Client,
    EmptyReplyError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from aichatfree.server import Gemini, LocalServer

from .standin import KINDS, Answer, Kind, Peer, StandIn, gemini, lines, ollama, openai, plain, sse, stream

pytest.importorskip("aichatfree.server.sending", reason="this server does not know how upstreams fail")

every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
Ask = Callable[[str], str]


def ask_sync(url: str) -> str:
    with Client(base_url=url, max_retries=0) as client:
        return client.generate("Hi")


def ask_async(url: str) -> str:
    async def main() -> str:
        async with AsyncClient(base_url=url, max_retries=0) as client:
            return await client.generate("Hi")

    return asyncio.run(main())


both_clients = pytest.mark.parametrize("ask", [ask_sync, ask_async], ids=["sync", "async"])


@contextmanager
def running(*answers: Answer) -> Iterator[StandIn]:
    """A stand-in in a thread of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def main() -> None:
        async with StandIn(*answers) as server:
            found.extend([server, asyncio.get_running_loop()])
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0]
    finally:
        found[1].call_soon_threadsafe(stop.set)
        thread.join()


def failed(ask: Ask, upstream: Any) -> AIChatFreeError:
    with LocalServer(reply=upstream) as server, pytest.raises(AIChatFreeError) as caught:
        ask(server.url)
    return caught.value


def refused(status: int, message: str, *fields: str) -> bytes:
    return plain(f"{status} x", {"error": {"message": message}}, *fields)


STATUSES: list[tuple[bytes, type[AIChatFreeError], int | None, float | None]] = [
    (refused(400, "Request contains an invalid argument."), BadRequestError, 400, None),
    (plain("400 x", b"<h1>Bad</h1>"), BadRequestError, 400, None),
    (refused(400, "API key not valid. Please pass a valid API key."), PermissionDeniedError, 400, None),
    (refused(400, "User location is not supported for the API use."), PermissionDeniedError, 400, None),
    (refused(401, "Incorrect API key provided."), PermissionDeniedError, 401, None),
    (refused(403, "Suspended."), PermissionDeniedError, 403, None),
    (refused(404, "model 'x' not found"), APIError, 404, None),
    (refused(408, "Slow."), APIError, 408, None),
    (refused(413, "Too large."), APIError, 413, None),
    (refused(429, "Quota exceeded.", "Retry-After: 12"), RateLimitError, 429, 12.0),
    (refused(429, "Limit reached, please try again in 1m20s"), RateLimitError, 429, 80.0),
    (refused(429, "Too many."), RateLimitError, 429, None),
    (refused(500, "Oops.", "Retry-After: 3"), ServerError, 500, 3.0),
    (plain("502 x", "<html><title>502</title></html>"), ServerError, 502, None),
    (refused(503, "Busy.", "Retry-After: 3"), OverloadedError, 503, 3.0),
    (plain("529 Site is overloaded", b""), ServerError, 529, None),
    (plain("302 x", b"", "Location: http://x/"), APIError, 302, None),
    (plain("200 OK", "<html>"), ServerError, None, None),
]


@both_clients
@every_kind
def test_statuses(kind: Kind, ask: Ask) -> None:
    for answer, expected, status, wait in STATUSES:
        with running(answer) as standin:
            error = failed(ask, kind.make(standin.url))
        assert isinstance(error, expected), (answer, error)
        assert isinstance(error, APIError)
        assert (error.status_code, error.upstream_status, error.retry_after) == (500, status, wait), answer


@both_clients
def test_an_upstream_that_cannot_be_reached(ask: Ask) -> None:
    async def reset(peer: Peer) -> None:
        peer.reset()

    for kind in KINDS:
        with running(reset) as standin:
            errors = [failed(ask, kind.make(standin.url))]
        errors += [failed(ask, kind.make(standin.url)), failed(ask, kind.make("http://no.invalid"))]
        for error in errors:
            assert isinstance(error, ServerError)
            assert error.upstream_status is None


@both_clients
@every_kind
def test_a_reply_that_breaks_off(kind: Kind, ask: Ask) -> None:
    async def reset(peer: Peer) -> None:
        await peer.send(stream(*kind.pieces("Half an ", finish=False), end=b""))
        await asyncio.sleep(0.1)
        peer.reset()

    endings: list[Answer] = [
        reset,
        stream(*kind.pieces("Half an ", finish=False)),
        stream(*kind.pieces("Half an ", finish=False), kind.error("Oops", 503)),
        stream(*kind.pieces("Half an ", finish=False), b"data: {oops\n\n" if kind.name != "ollama" else b"{oops\n"),
    ]
    for answer in endings:
        with running(answer) as standin:
            error = failed(ask, kind.make(standin.url))
        assert isinstance(error, StreamInterruptedError), error
        assert error.partial == "Half an "


@both_clients
def test_blocks(ask: Ask) -> None:
    for event, partial in (({"promptFeedback": {"blockReason": "SAFETY"}}, ""), (gemini("", finish="SAFETY"), "Half")):
        before = [gemini(partial)] if partial else []
        with running(stream(*sse(*before, event))) as standin:
            error = failed(ask, KINDS[0].make(standin.url))
        assert isinstance(error, StreamInterruptedError)
        assert error.in_band
        assert error.partial == partial
    with running(stream(*sse(openai("Half"), openai(finish="content_filter")))) as standin:
        error = failed(ask, KINDS[1].make(standin.url))
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == "Half"


@both_clients
@every_kind
def test_whole_replies(kind: Kind, ask: Ask) -> None:
    with running(kind.reply("naïve ", "好的 😀")) as standin, LocalServer(reply=kind.make(standin.url)) as server:
        assert ask(server.url) == "naïve 好的 😀"
        assert ask(server.url) == "naïve 好的 😀"
    limits = {"gemini": sse(gemini("Half", finish="MAX_TOKENS")), "openai": sse(openai("Half", finish="length"))}
    with running(stream(*limits.get(kind.name, lines(ollama("Half", done="length"))))) as standin:
        with LocalServer(reply=kind.make(standin.url)) as server:
            assert ask(server.url) == "Half"
    with running(kind.reply()) as standin:
        assert isinstance(failed(ask, kind.make(standin.url)), EmptyReplyError)


@both_clients
def test_keys_that_all_rest(ask: Ask) -> None:
    with running(refused(429, "Quota exceeded.", "Retry-After: 40"), refused(429, "x", "Retry-After: 20")) as standin:
        with LocalServer(reply=Gemini(["a", "b"], base_url=standin.url)) as server:
            for _ in range(2):
                with pytest.raises(RateLimitError) as caught:
                    ask(server.url)
                assert caught.value.retry_after == pytest.approx(20, abs=5)
        assert len(standin.requests) == 2


def test_a_client_that_hangs_up_ends_the_upstream_s_request() -> None:
    for kind in KINDS:
        gone = threading.Event()

        async def answer(peer: Peer, kind: Kind = kind, gone: threading.Event = gone) -> None:
            await peer.send(stream(*kind.pieces("one ", finish=False), end=b""))
            await peer.gone()
            gone.set()

        with running(answer) as standin, LocalServer(reply=kind.make(standin.url)) as server:
            with Client(base_url=server.url) as client, client.stream("Hi") as pieces:
                assert next(pieces) == "one "
            assert gone.wait(10)


def test_many_clients_at_once() -> None:
    async def main(url: str) -> list[str]:
        async with AsyncClient(base_url=url, max_retries=0) as client:

            async def one(number: int) -> str:
                stream = client.stream(f"{number}")
                return "".join([piece async for piece in _closing(stream)])

            return await asyncio.gather(*map(one, range(60)))

    async def _closing(pieces: Any) -> AsyncIterator[str]:
        async with pieces:
            async for piece in pieces:
                yield piece

    async def echo(peer: Peer) -> None:
        await peer.send(KINDS[1].reply("you said ", peer.json["messages"][-1]["content"]))

    with running(echo) as standin, LocalServer(reply=KINDS[1].make(standin.url)) as server:
        assert asyncio.run(main(server.url)) == [f"you said {number}" for number in range(60)]
