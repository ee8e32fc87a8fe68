"""What comes out of the local server, through real sockets."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from aichatfree.server import LocalServer, create_app

from .helpers import open_stream, payload, post

Messages = list[dict[str, Any]]


async def coroutine(messages: Messages) -> list[str]:
    await asyncio.sleep(0)
    return ["a", "b"]


async def async_generator(messages: Messages) -> AsyncIterator[str]:
    yield "a"
    await asyncio.sleep(0)
    yield "b"


def generator(messages: Messages) -> Iterator[str]:
    yield "a"
    yield "b"


async def returns_generator(messages: Messages) -> Iterator[str]:
    return generator(messages)


class Callable:
    async def __call__(self, messages: Messages) -> str:
        return "ab"


class Sync:
    def __call__(self, messages: Messages) -> str:
        return "ab"


@pytest.mark.parametrize(
    "reply",
    [
        "ab",
        ["a", "b"],
        ("a", "", "b"),
        iter(["a", "b"]),
        (piece for piece in "ab"),
        lambda messages: "ab",
        lambda messages: ["a", "b"],
        lambda messages: async_generator(messages),
        lambda messages: coroutine(messages),
        functools.partial(coroutine),
        coroutine,
        async_generator,
        generator,
        returns_generator,
        Callable(),
        Sync(),
    ],
)
def test_every_kind_of_reply_serves_every_request(reply: Any) -> None:
    with LocalServer(reply) as server:
        for _ in range(2):
            answer = post(server.url, payload())
            assert (answer.status, answer.body) == (200, b"ab")
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert answer.headers["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize("reply", ["", [], [""], lambda messages: "", lambda messages: iter(())])
def test_an_empty_reply_is_200_without_a_body(reply: Any) -> None:
    with LocalServer(reply) as server:
        answer = post(server.url, payload())
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "reply", [None, generator, async_generator, ["a", "b"]], ids=["default", "generator", "async_generator", "list"]
)
def test_each_piece_is_a_chunk(reply: Any) -> None:
    with LocalServer(reply, delay=0) as server, open_stream(server.url, payload()) as stream:
        raw = stream.read_raw()
    chunks = [line for line in raw.split(b"\r\n")[1::2] if line]
    assert len(chunks) > 1
    if reply is not None:
        assert chunks == [b"a", b"b"]


def test_the_default_reply_says_what_it_is_and_repeats_the_question() -> None:
    with LocalServer() as server:
        text = post(server.url, payload("how are", " you?")).body.decode()
    assert "local stand-in" in text
    assert "no model" in text
    assert "how are you?" in text
    assert "你好" in text
    assert any(ord(letter) > 0xFFFF for letter in text)


def test_a_function_sees_the_messages_as_on_the_wire() -> None:
    seen: list[Messages] = []

    def reply(messages: Messages) -> str:
        seen.append(messages)
        return "ok"

    messages = [
        {"role": "user", "parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"text": "b"}]},
        {"role": "user", "parts": [{"text": "hi"}]},
    ]
    with LocalServer(reply) as server:
        assert post(server.url, payload(messages=messages)).body == b"ok"
    assert seen == [messages]


def test_lone_surrogates_in_a_reply_become_replacement_characters() -> None:
    with LocalServer(["a\ud800", "b"]) as server:
        assert post(server.url, payload()).body == "a\ufffdb".encode()


def fails_at_once(messages: Messages) -> str:
    raise ValueError("[400 Bad Request] no https://example.com/x way")


async def fails_at_once_async(messages: Messages) -> str:
    raise ValueError("the private words of a user")


def exits(messages: Messages) -> str:
    sys.exit("the private words of a user")


def returns_nothing(messages: Messages) -> Any:
    return None


def yields_bytes(messages: Messages) -> Any:
    return [b"a"]


FAILED = "[GoogleGenerativeAI Error]: Error fetching from  [500 Internal Server Error] The reply failed."


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (fails_at_once, "no  way"),
        (fails_at_once_async, FAILED),
        (exits, FAILED),
        (returns_nothing, f"{FAILED} a reply must be a str or pieces of str, not NoneType"),
        (yields_bytes, f"{FAILED} a piece of a reply must be a str, not bytes"),
    ],
)
def test_a_failure_before_the_first_piece_is_an_upstream_error(reply: Any, message: str) -> None:
    with LocalServer(reply) as server:
        answer = post(server.url, payload())
    assert (answer.status, answer.reason) == (500, "Internal Server Error")
    assert answer.body.decode() == f'{{"error":{{"code":"Error","message":"{message}"}}}}'
    assert answer.headers["Content-Type"] == "text/plain;charset=UTF-8"


def fails_later(messages: Messages) -> Iterator[str]:
    yield "partial "
    raise ValueError("the private words of a user")


async def fails_later_async(messages: Messages) -> AsyncIterator[str]:
    yield "partial "
    raise ValueError("the private words of a user")


@pytest.mark.parametrize("reply", [fails_later, fails_later_async])
def test_a_failure_after_the_first_piece_is_in_band_and_a_cut(reply: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "aichatfree.server")
    with LocalServer(reply) as server, open_stream(server.url, payload()) as stream:
        raw = stream.read_raw()
    # As recorded in cut_mid_reply.http, but without the last chunk.
    assert raw.endswith(b"8\r\npartial \r\n15\r\nInternal server error\r\n")
    assert "ValueError" in caplog.text
    assert "in fails_later" in caplog.text
    assert "private words" not in caplog.text


@pytest.mark.parametrize("reply", [b"bytes", 7, object(), [1], ["a", None]])
def test_what_is_no_reply_is_refused_at_once(reply: Any) -> None:
    with pytest.raises(TypeError, match="must be a str"):
        create_app(reply)


def test_sync_code_does_not_hold_up_other_requests() -> None:
    release = threading.Event()

    def reply(messages: Messages) -> Iterator[str]:
        if messages[-1]["parts"][0]["text"] == "slow":
            yield "waiting "
            release.wait(10)
        yield "done"

    with LocalServer(reply) as server, open_stream(server.url, payload("slow")) as slow:
        assert slow.read_some() == b"waiting "
        assert post(server.url, payload("quick")).body == b"done"
        release.set()
        assert slow.read_some() == b"done"


def test_a_sync_reply_is_not_read_far_ahead_of_the_client() -> None:
    made = 0

    def reply(messages: Messages) -> Iterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x" * 1_000_000

    with LocalServer(reply) as server, open_stream(server.url, payload()) as stream:
        stream.read_some()
        before = -1
        while made != before:  # until network buffers are full
            before = made
            time.sleep(0.1)
        assert made < 60


def test_a_client_that_goes_away_ends_its_reply() -> None:
    ended = threading.Event()

    async def reply(messages: Messages) -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.sleep(60)
        finally:
            ended.set()

    with LocalServer(reply) as server:
        with open_stream(server.url, payload()) as stream:
            assert stream.read_some() == b"a"
        assert ended.wait(5)


def test_delay_is_waited_between_pieces() -> None:
    with LocalServer(["a", "b", "c"], delay=0.05) as server:
        started = time.monotonic()
        assert post(server.url, payload()).body == b"abc"
    assert time.monotonic() - started >= 0.1


def test_refusals_and_other_paths() -> None:
    with LocalServer("ok", secret="s", password=["pw1", "pw2"]) as server:
        assert post(server.url, payload(secret="s")).body == b'{"error":{"message":"Invalid password."}}'
        wrong = post(server.url, payload(**{"pass": "pw1"}))
        assert (wrong.status, wrong.body) == (401, b'{"error":{"message":"Invalid signature."}}')
        assert post(server.url, payload(secret="s", **{"pass": "pw2"})).body == b"ok"
        assert post(server.url, b'{"messages":[]}').status == 400
        crashed = post(server.url, b"{nope")
        assert (crashed.status, crashed.reason, crashed.body) == (500, "Server error", b"")
        assert post(server.url, b'{"pass":"pw1"}', "/api/auth").body == b'{"code":0}'
        assert post(server.url, b'{"pass":"x"}', "/api/auth").body == b'{"code":-1}'
        for method, path in [("POST", "/api/nope"), ("POST", "/api/generate/"), ("GET", "/nothing")]:
            missing = post(server.url, payload(), path, method)
            assert (missing.status, missing.reason, missing.body) == (404, "Not Found", b"Not found")
            assert missing.headers["Content-Type"] is None
            assert missing.headers["Server"] is None


def test_a_time_limit_can_be_set() -> None:
    with LocalServer("ok", time_limit_seconds=300) as server:
        assert post(server.url, payload()).status == 200
        assert post(server.url, payload(time=1764000000000)).status == 401


def test_large_requests_are_taken() -> None:
    with LocalServer(lambda messages: str(len(messages[-1]["parts"][0]["text"]))) as server:
        assert post(server.url, payload("x" * 20_000_000)).body == b"20000000"


def test_create_app_is_an_application_of_aiohttp() -> None:
    assert isinstance(create_app("ok"), web.Application)
