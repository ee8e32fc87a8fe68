"""Every way in which an answer can go wrong, in every framing, through both clients."""

from __future__ import annotations

import asyncio
import pickle
import time
from inspect import signature
from typing import Any

import aiohttp
import pytest

import aichatfree
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
    WrongLength,
)

FRAMINGS = ["chunked", "content-length", "until-close"]
ENCODINGS = [None, "gzip", "deflate"]
TEXT = ["Grüße, ", "你好，", "🌍 and more"]


def fail(face: Any, server: ScriptedServer, reply: Reply, **options: Any) -> Any:
    """The outcome of one try, which must be a failure that tells the truth."""
    server.enqueue(reply)
    client = face.client(server, **{"max_retries": 0, **options})
    outcome = face.stream(client)
    error = outcome.error
    assert error is not None, f"a failure looked like success: {outcome.text!r}"
    assert error.partial == outcome.text == outcome.stream.text
    assert "" not in outcome.pieces
    assert len(str(error)) > 20
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.partial) == (type(error), str(error), error.partial)
    server.enqueue(Reply("fresh"))
    assert face.generate(client) == "fresh"  # nothing of the broken answer is left on a pooled connection
    face.close(client)
    server.wait_connections(0)
    return outcome


@pytest.mark.parametrize("split", [None, 1, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_whole_reply(face: Any, server: ScriptedServer, framing: Any, encoding: Any, split: Any) -> None:
    server.enqueue(Reply(TEXT, framing=framing, encoding=encoding, split=split))
    outcome = face.stream(face.client(server))
    assert outcome.error is None
    assert outcome.text == "".join(TEXT) == outcome.stream.text
    assert "" not in outcome.pieces
    assert outcome.stream.stats.bytes_received == len("".join(TEXT).encode())


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_pieces_are_delivered_when_they_arrive(face: Any, server: ScriptedServer, framing: Any, encoding: Any) -> None:
    # The second piece comes only after the first was seen: a client that holds back never sees it.
    server.enqueue(Reply(["first", Pause(None)], framing=framing, encoding=encoding))
    client = face.client(server)
    stream = client.stream("hi")

    def read() -> str:
        with stream:
            return str(next(stream))

    async def aread() -> str:
        async with stream:
            return str(await anext(stream))

    assert face.run(read, aread) == "first"


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("at", ["before-answer", "in-headers", "after-headers", "in-chunk", "in-body"])
@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("framing", ["chunked", "content-length"])
def test_drop(face: Any, server: ScriptedServer, framing: Any, encoding: Any, at: Any, reset: bool) -> None:
    if at == "in-chunk" and framing != "chunked":
        pytest.skip("no chunks")
    outcome = fail(face, server, Reply(TEXT, framing=framing, encoding=encoding, fault=Drop(at, reset=reset)))
    assert outcome.error.__cause__ is not None
    answered = at not in ("before-answer", "in-headers")
    assert type(outcome.error) is (aichatfree.StreamInterruptedError if answered else aichatfree.ConnectError)
    if at == "in-body" and not reset:
        assert outcome.text == "".join(TEXT)  # all of it had arrived


@pytest.mark.parametrize("at", ["after-headers", "in-body"])
def test_reset_of_a_close_delimited_reply(face: Any, server: ScriptedServer, at: Any) -> None:
    outcome = fail(face, server, Reply(TEXT, framing="until-close", fault=Drop(at, reset=True)))
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert outcome.error.__cause__ is not None


BROKEN_BODIES = {
    "short content-length": Reply(TEXT, framing="content-length", fault=WrongLength(10)),
    "broken chunk size": Reply(TEXT, fault=BrokenChunk()),
    "negative chunk size": Reply(TEXT, fault=BrokenChunk(b"-5")),
    "broken gzip": Reply(TEXT, encoding="gzip", fault=BrokenEncoding()),
    "truncated gzip": Reply(TEXT, encoding="gzip", fault=BrokenEncoding(truncated=True)),
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_broken_body(face: Any, server: ScriptedServer, name: str) -> None:
    outcome = fail(face, server, BROKEN_BODIES[name])
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert "".join(TEXT).startswith(outcome.text)


def test_chunks_that_become_invalid_later(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["some ", Pause(0.1), "text", Pause(0.1)], fault=BrokenChunk()))
    outcome = face.stream(face.client(server, max_retries=0))
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert outcome.text == "some text"
    assert outcome.seconds < 5


@pytest.mark.parametrize("header", ["gzip, chunked", "chunked;x=1", "cat", "chunked "])
def test_a_framing_that_is_not_known_is_no_text(face: Any, server: ScriptedServer, header: str) -> None:
    reply = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {header}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    server.enqueue(Reply.raw(reply.encode()))
    outcome = face.stream(face.client(server, max_retries=0))
    assert "5" not in outcome.text
    assert (outcome.error is None) == (outcome.text == "hello" and header == "chunked ")


UNREADABLE = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a negative length": b"Content-Length: -5\r\n\r\nhello",
    "a length that is not a number": b"Content-Length: five\r\n\r\nhello",
    "a chunk of negative size": b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a chunk with a sign": b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "a chunk of a size in Python's way": b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk without a size": b"Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
    "a line that is no header": b"no header at all\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_framing_that_cannot_be_read_is_a_failure(face: Any, server: ScriptedServer, name: str) -> None:
    server.enqueue(Reply.raw(b"HTTP/1.1 200 OK\r\n" + UNREADABLE[name]))
    outcome = face.stream(face.client(server, max_retries=0))
    assert isinstance(outcome.error, aichatfree.TransportError)
    assert outcome.text == ""


@pytest.mark.parametrize(
    "rest", [b"XX5\r\nhello\r\n0\r\n\r\n", b"hello\r\n0\r\n\r\n", b"\r\n0\r\nTrailer: x", b"\r\n0\r\n", b"\r\n0", b"\r"]
)
def test_chunks_that_go_wrong_after_text(face: Any, server: ScriptedServer, rest: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.enqueue(Reply([head, Pause(0.05), b"5\r\nfirst", Pause(0.05), rest], exact=True))
    outcome = face.stream(face.client(server, max_retries=0))
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert outcome.error.__cause__ is not None
    assert outcome.text == "first"


def test_a_line_of_a_chunk_that_goes_on_and_on(face: Any, server: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.enqueue(Reply.raw(head + b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"))
    outcome = face.stream(face.client(server, max_retries=0))
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert len(str(outcome.error)) < 300


@pytest.mark.parametrize(
    "rest",
    [
        b"5;" + b"x" * 9000 + b"\r\nhello\r\n0\r\n\r\n",
        b"5;a=\0\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX y: z\r\n\r\n",
        b"0\r\n\xe9: z\r\n\r\n",
        b"0\r\n: z\r\n\r\n",
        b"0\r\nX: \0\r\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\n" + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_neither_client_takes_behind_text(face: Any, server: ScriptedServer, rest: bytes) -> None:
    """However it comes: as one packet, most of it."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    server.enqueue(Reply.raw(head + rest))
    outcome = face.stream(face.client(server, max_retries=0))
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert outcome.text == outcome.error.partial == "first"


def test_an_answer_to_another_question(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nsome text"))
    outcome = face.stream(face.client(server, max_retries=0))
    assert type(outcome.error) is aichatfree.ConnectError


def test_extensions_and_trailers_are_passed_over(face: Any, server: ScriptedServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"5;name=value\r\nfirst\r\n00A\r\n and more.\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\n"
    server.enqueue(Reply.raw(head + body), Reply("next"))
    client = face.client(server, max_retries=0)
    assert face.generate(client) == "first and more."
    assert face.generate(client) == "next"


def test_what_follows_a_whole_answer_is_not_the_next_one(face: Any, server: ScriptedServer) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    server.enqueue(Reply([whole, b"ok", Pause(0.05), whole + b"no", Pause(5)], exact=True), Reply("right"))
    client = face.client(server, max_retries=0)
    assert face.generate(client) == "ok"
    face.run(lambda: time.sleep(0.2), lambda: asyncio.sleep(0.2))
    assert face.generate(client) == "right"


NO_HTTP = {
    "garbage": Reply("", fault=Garbage(b"\x00\x01SSH-2.0-OpenSSH\r\n\r\n")),
    "huge header": Reply("", fault=OversizedHeaders(size=1 << 20)),
    "many headers": Reply("", fault=OversizedHeaders(size=10, count=500)),
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_no_http(face: Any, server: ScriptedServer, name: str) -> None:
    if face.is_async and name == "many headers" and "max_headers" not in signature(aiohttp.ClientSession).parameters:
        pytest.skip("this aiohttp, older than 3.14, does not count headers")
    outcome = fail(face, server, NO_HTTP[name])
    assert type(outcome.error) is aichatfree.ConnectError
    assert "HTTP" in str(outcome.error)
    assert outcome.error.__cause__ is not None
    assert len(str(outcome.error)) < 1000


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_answers_are_passed_over(face: Any, server: ScriptedServer, status: int, count: int) -> None:
    server.enqueue(Reply("after", fault=Informational(count=count, status=status)))
    assert face.generate(face.client(server, max_retries=0)) == "after"


def test_endless_interim_answers_meet_the_limit(face: Any, server: ScriptedServer) -> None:
    timeout = aichatfree.Timeout(first_byte=0.3)
    outcome = fail(face, server, Reply("", fault=Informational(count=None, pause=0.01)), timeout=timeout)
    assert (type(outcome.error), outcome.error.phase) == (aichatfree.RequestTimeoutError, "first_byte")


@pytest.mark.parametrize("status", [204, 205])
def test_a_status_without_a_body(face: Any, server: ScriptedServer, status: int) -> None:
    outcome = fail(face, server, Reply.raw(f"HTTP/1.1 {status} Nothing\r\n\r\n".encode()))
    assert type(outcome.error) is aichatfree.EmptyReplyError
    assert str(status) in str(outcome.error)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_empty_reply(face: Any, server: ScriptedServer, framing: Any) -> None:
    assert type(fail(face, server, Reply("", framing=framing)).error) is aichatfree.EmptyReplyError


PAGES = [
    (403, "cloudflare", aichatfree.PermissionDeniedError),
    (429, "vercel", aichatfree.RateLimitError),
    (502, "nginx", aichatfree.ServerError),
    (503, "netlify", aichatfree.OverloadedError),
    (504, "vercel", aichatfree.ServerError),
]


@pytest.mark.parametrize(("status", "platform", "kind"), PAGES)
def test_pages_of_platforms(face: Any, server: ScriptedServer, status: int, platform: Any, kind: type) -> None:
    outcome = fail(face, server, Reply.html(status, platform))
    assert type(outcome.error) is kind
    assert outcome.error.status_code == status
    assert "<" not in str(outcome.error)


def test_a_web_page_is_no_reply(face: Any, server: ScriptedServer) -> None:
    page = Reply(["<!doct", "ype html><title>Welcome</title>"], headers={"Content-Type": "text/html"})
    outcome = fail(face, server, page)
    assert type(outcome.error) is aichatfree.APIError
    assert outcome.text == ""
    assert "base_url" in str(outcome.error)


def test_a_reply_labelled_html_is_a_reply(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply(["<", "b>bold</b>"], headers={"Content-Type": "text/html"}))
    assert face.generate(face.client(server)) == "<b>bold</b>"


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain; charset=latin-1"])
def test_the_content_type_changes_nothing(face: Any, server: ScriptedServer, content_type: Any) -> None:
    server.enqueue(Reply(TEXT, headers={"Content-Type": content_type}))
    assert face.generate(face.client(server)) == "".join(TEXT)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("options", [{}, {"glued": True}, {"split": True}], ids=["apart", "glued", "split"])
@pytest.mark.parametrize("partial", [(), ("Half a ", "reply")], ids=["blocked", "half way"])
def test_in_band_error(face: Any, server: ScriptedServer, partial: Any, options: Any, framing: Any) -> None:
    outcome = fail(face, server, Reply.in_band_error(*partial, framing=framing, **options))
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert outcome.error.in_band
    assert outcome.text == "".join(partial)


TALKS = [
    ["Internal server error", " is status 500."],
    ["An Internal ser", "ver error", " happened"],
    ["Internal server error\n"],
    ["Internal server error."],
    ["I", "n", "t", "e", "r", "n"],
    ["Internal server errorInternal server error?"],
]


@pytest.mark.parametrize("pieces", TALKS)
def test_a_reply_that_talks_about_the_error(face: Any, server: ScriptedServer, pieces: Any) -> None:
    server.enqueue(Reply(pieces, pause=0.005))
    outcome = face.stream(face.client(server))
    assert outcome.error is None
    assert outcome.text == "".join(pieces)


def test_held_text_comes_out_when_the_reply_breaks_off(face: Any, server: ScriptedServer) -> None:
    outcome = fail(face, server, Reply(["so far: Internal ser"], fault=Drop("in-body")))
    assert outcome.text == "so far: Internal ser"


def test_half_a_character_is_not_given_out(face: Any, server: ScriptedServer) -> None:
    outcome = fail(face, server, Reply([b"so far: \xe4\xbd"], fault=Drop("in-body")))
    assert outcome.text == "so far: "


def test_invalid_bytes_are_replaced(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply([b"a\xffb", b"\xe4\xbd", b"\xa0c\xe4"]))
    assert face.generate(face.client(server)) == "a\ufffdb你c\ufffd"


def test_an_error_body_that_breaks_off_is_still_that_error(face: Any, server: ScriptedServer) -> None:
    reply = Reply("Too many", status=429, headers={"Retry-After": "7"}, fault=Drop("in-body", reset=True))
    outcome = fail(face, server, reply)
    assert type(outcome.error) is aichatfree.RateLimitError
    assert outcome.error.retry_after == 7.0


def test_a_closed_port(face: Any) -> None:
    with ScriptedServer() as server:
        url = server.url
    outcome = face.stream(face.client(url, max_retries=0))
    assert type(outcome.error) is aichatfree.ConnectError
    assert url in str(outcome.error)
    assert outcome.error.__cause__ is not None


def test_a_name_that_does_not_exist(face: Any) -> None:
    outcome = face.stream(face.client("http://nowhere.invalid", max_retries=0))
    assert type(outcome.error) is aichatfree.ConnectError
    assert "name" in str(outcome.error)
