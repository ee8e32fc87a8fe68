"""What becomes of the failures of a model, and of the model when its client goes away."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aichatfree import Client, OverloadedError, StreamInterruptedError
from aichatfree.server import LocalServer
from aichatfree.server.failures import BlockedError, UpstreamError, current_note

from .helpers import open_stream, payload, post
from .raw import connect, exchange, read_all, request

Messages = list[dict[str, Any]]
WORDS = (
    "[GoogleGenerativeAI Error]: Error fetching from  [429 Too Many Requests] Please retry in 12s. see https://a.b/c"
)


class Upstream:
    """Stands for a model: fails as it is told, and knows who gave it up."""

    def __init__(self, error: Exception | None = None, *, pieces: tuple[str, ...] = ()) -> None:
        self.error, self.pieces = error, pieces
        self.started, self.ended, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, messages: Messages) -> AsyncIterator[str]:
        self.loop = asyncio.get_running_loop()
        self.started.set()
        try:
            for piece in self.pieces:
                yield piece
            if self.error is None:
                await asyncio.sleep(3600)
            else:
                raise self.error
        finally:
            self.ended.set()

    async def aclose(self) -> None:
        assert asyncio.get_running_loop() is self.loop or self.loop is None
        self.closed.set()


def test_an_upstreams_words_reach_the_client_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aichatfree.server.access")
    error = UpstreamError(WORDS, code="Error", status=429, reason="quota used up", retry_after=12)
    with LocalServer(Upstream(error)) as server:
        answer = post(server.url, payload())
    assert (answer.status, answer.reason) == (500, "Internal Server Error")
    assert json.loads(answer.body) == {"error": {"code": "Error", "message": WORDS}}
    assert re.fullmatch(
        r"POST /api/generate 500 \d+\.\d{3}s 0 pieces upstream 429 \(failed before its first piece; quota used up\)",
        caplog.messages[0],
    )


def test_a_failure_without_a_code_has_none() -> None:
    with LocalServer(Upstream(UpstreamError("words", code=None))) as server:
        assert post(server.url, payload()).body == b'{"error":{"message":"words"}}'


def test_a_blocked_prompt_is_a_200_that_says_so_and_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aichatfree.server.access")
    with LocalServer(Upstream(BlockedError("blocked", reason="prompt blocked: SAFETY"))) as server:
        status, _, body = exchange(server.url, request(server.url, payload()))
    assert (status, body) == (200, b"15\r\nInternal server error\r\n")
    assert "prompt blocked: SAFETY" in caplog.text


@pytest.mark.parametrize("error", [UpstreamError("words", status=503), BlockedError("blocked"), KeyError("x")])
def test_a_failure_after_the_first_piece_says_so_and_is_cut(error: Exception) -> None:
    with LocalServer(Upstream(error, pieces=("one ", "two "))) as server:
        status, _, body = exchange(server.url, request(server.url, payload()))
        assert (status, body) == (200, b"4\r\none \r\n4\r\ntwo \r\n15\r\nInternal server error\r\n")
        with pytest.raises(StreamInterruptedError), Client(server.url, trust_env=False, max_retries=0) as client:
            client.generate("Hi")


def test_a_failure_over_http_1_0_says_so_and_is_a_reset() -> None:
    """Where the end of the connection is the end of the body, nothing else tells that it is not whole."""
    body = payload()
    head = f"POST /api/generate HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with LocalServer(Upstream(UpstreamError("words"), pieces=("one ",))) as server:
        assert exchange(server.url, head + body)[2] == b"one Internal server error<reset>"


def test_an_upstream_may_add_a_note_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aichatfree.server.access")

    async def reply(messages: Messages) -> AsyncIterator[str]:
        yield "a"
        note = current_note.get()
        assert note is not None
        note("stopped at the token limit")
        note("stopped at the token limit")

    def sync_reply(messages: Messages) -> Iterator[str]:
        note = current_note.get()
        assert note is not None
        note("from a \x1b[31mthread\n")
        yield "a"

    for source in (reply, sync_reply):
        with LocalServer(source) as server:
            post(server.url, payload())
    assert caplog.messages[0].endswith("1 pieces (stopped at the token limit)")
    assert caplog.messages[1].endswith("1 pieces (from a \ufffd[31mthread\ufffd)")
    assert current_note.get() is None


def test_each_request_has_one_line_and_nothing_of_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aichatfree.server")
    private = ("private-question", "private-answer", "private-password", "private-secret")
    with LocalServer([private[1], "!"], password=private[2], secret=private[3]) as server:
        post(server.url, payload(private[0], secret=private[3], **{"pass": private[2]}))
        post(server.url, payload(private[0]))
        post(server.url, f'{{"pass": "{private[2]}"}}'.encode(), "/api/auth")
        post(server.url, b"", "/nothing?q=private-question#private-answer", "GET")
        exchange(server.url, b"private-question\r\n\r\n")
    lines = [re.sub(r"\d+\.\d{3}s", "Ts", message) for message in caplog.messages]
    assert lines == [
        "POST /api/generate 200 Ts 2 pieces",
        "POST /api/generate 401 Ts 0 pieces",
        "POST /api/auth 200 Ts 0 pieces",
        "GET /nothing 404 Ts 0 pieces",
        "- - 400 Ts 0 pieces (malformed request)",
    ]
    assert "private" not in caplog.text


def test_a_line_commands_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aichatfree.server.access")
    with LocalServer("ok") as server:
        exchange(server.url, request(server.url, method="GET", path="/\x9b31m" + "x" * 1000))
    assert len(caplog.messages[0]) < 200
    assert caplog.messages[0].isprintable()


@pytest.mark.parametrize("moment", ["before the first piece", "between pieces"])
def test_a_client_that_goes_away_ends_the_upstreams_request_at_once(moment: str) -> None:
    upstream = Upstream(pieces=("one",) if moment == "between pieces" else ())
    with LocalServer(upstream) as server:
        connection = connect(server.url)
        connection.sendall(request(server.url, payload()))
        assert upstream.started.wait(10)
        if moment == "between pieces":
            assert connection.recv(1000)
        connection.close()
        assert upstream.ended.wait(10)


def test_a_client_that_goes_away_while_it_reads_nothing_ends_the_upstreams_request() -> None:
    ended = threading.Event()

    async def reply(messages: Messages) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 100_000
        finally:
            ended.set()

    with LocalServer(reply) as server:
        with open_stream(server.url, payload()) as stream:
            assert stream.read_some()
        assert ended.wait(10)


def test_a_client_that_goes_away_in_the_queue_never_asks_the_upstream() -> None:
    upstream = Upstream(pieces=("one",))
    with LocalServer(upstream, max_concurrent=1) as server, open_stream(server.url, payload()) as first:
        assert first.read_some() == b"one"
        upstream.started.clear()
        with connect(server.url) as waiting:
            waiting.sendall(request(server.url, payload()))
            wait_until(lambda: places(server) == 1)
        wait_until(lambda: places(server) == 0)
        assert not upstream.started.is_set()


def wait_until(condition: Any) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_past_the_limit_and_the_queue_the_answer_is_a_503_with_a_wait() -> None:
    release = threading.Event()

    async def reply(messages: Messages) -> AsyncIterator[str]:
        yield "one"
        while not release.is_set():
            await asyncio.sleep(0.01)

    with LocalServer(reply, max_concurrent=2) as server:
        running = [open_stream(server.url, payload()) for _ in range(2)]
        for stream in running:
            assert stream.read_some() == b"one"
        waiting = []
        for number in range(2):
            waiting.append(connect(server.url))
            waiting[-1].sendall(request(server.url, payload()))
            wait_until(lambda number=number: places(server) == number + 1)
        with Client(server.url, trust_env=False, max_retries=0) as client, pytest.raises(OverloadedError) as caught:
            client.generate("Hi")
        assert caught.value.upstream_status == 503
        assert caught.value.retry_after == 5
        release.set()
        for connection in waiting:
            assert read_all(connection).endswith(b"3\r\none\r\n0\r\n\r\n")
            connection.close()
        for stream in running:
            stream.__exit__()
        assert post(server.url, payload()).body == b"one"


def places(server: LocalServer) -> int:
    from aichatfree.server.app import HANDLER

    return len(server._app[HANDLER]._places._waiting)


def test_who_waits_too_long_for_a_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from aichatfree.server import app, load

    monkeypatch.setattr(app, "Places", lambda limit: load.Places(limit, wait_seconds=0.05))
    with LocalServer(Upstream(pieces=("one",)), max_concurrent=1) as server:
        with open_stream(server.url, payload()) as stream:
            stream.read_some()
            answer = post(server.url, payload())
            assert b"[503 Service Unavailable]" in answer.body
            assert b"Please retry in 5s." in answer.body


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(limit: int) -> None:
    with pytest.raises(ValueError, match="max_concurrent must be at least 1"):
        LocalServer("ok", max_concurrent=limit)


def test_the_upstream_is_closed_with_the_server_in_its_loop() -> None:
    upstream = Upstream(pieces=("one",))
    with LocalServer(upstream) as server, open_stream(server.url, payload()) as stream:
        assert stream.read_some() == b"one"
    assert upstream.closed.is_set()
    assert upstream.ended.is_set()


def test_what_is_cut_at_the_end_does_not_look_whole() -> None:
    server = LocalServer(Upstream(pieces=("one",))).start()
    with connect(server.url) as connection:
        connection.sendall(request(server.url, payload()))
        data = b""
        while b"one" not in data:
            data += connection.recv(1000)
        server.close()
        data += read_all(connection)
    assert data.endswith(b"3\r\none\r\n15\r\nInternal server error\r\n")


def test_what_was_asked_is_not_kept_while_the_answer_goes_on() -> None:
    """A history may be large, and a stream may last."""
    seen: list[weakref.ref[Any]] = []
    go_on = threading.Event()

    class Text(str):
        __slots__ = ("__weakref__",)

    async def reply(messages: Messages) -> AsyncIterator[str]:
        messages[0]["parts"][0]["text"] = text = Text("x")
        seen.append(weakref.ref(text))
        del messages, text
        yield "one"
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    with LocalServer(reply) as server, open_stream(server.url, payload()) as stream:
        assert stream.read_some() == b"one"
        assert seen[0]() is None
        go_on.set()
