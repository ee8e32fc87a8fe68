"""Replies as steps on the wire, without a socket."""

from __future__ import annotations

import gzip
import itertools
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichatfree.testing import (
    BrokenChunk,
    BrokenEncoding,
    Drop,
    Garbage,
    Informational,
    OversizedHeaders,
    Pause,
    Repeat,
    Reply,
    Stall,
    WrongLength,
)
from aichatfree.testing.wire import MISSING_BYTES, Close, steps

NOW = 1764000000.0
FIN = Close()
RST = Close(reset=True)


def played(reply: Reply, **options: Any) -> list[Any]:
    """The steps up to where the connection is closed."""
    result: list[Any] = []
    for step in steps(reply, now=NOW, **options):
        result.append(step)
        if isinstance(step, Close):
            break
    return result


def sent(reply: Reply, **options: Any) -> bytes:
    return b"".join(step for step in played(reply, **options) if isinstance(step, bytes))


def body(reply: Reply, **options: Any) -> bytes:
    return sent(reply, **options).partition(b"\r\n\r\n")[2]


def test_a_plain_reply_looks_like_the_recorded_one() -> None:
    head, *chunks = played(Reply(["Hi", "", " 你"]))
    assert head == (
        b"HTTP/1.1 200 OK\r\n"
        b"content-type: text/plain; charset=utf-8\r\n"
        b"Date: Mon, 24 Nov 2025 16:00:00 GMT\r\n"
        b"Connection: keep-alive\r\n"
        b"Keep-Alive: timeout=5\r\n"
        b"Transfer-Encoding: chunked\r\n"
        b"\r\n"
    )
    assert chunks == [b"2\r\nHi\r\n", b"4\r\n \xe4\xbd\xa0\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize(
    "pieces", ["text", b"text", ["te", b"xt"], ("te", "xt"), iter(["te", "xt"]), Repeat("text", 1)]
)
def test_pieces_in_every_form_can_be_sent_twice(pieces: Any) -> None:
    reply = Reply(pieces, framing="content-length")
    assert body(reply) == body(reply) == b"text"
    assert reply.text == "text"


def test_framings() -> None:
    assert body(Reply("text", framing="chunked")) == b"4\r\ntext\r\n0\r\n\r\n"
    assert b"\r\nContent-Length: 4\r\n" in sent(Reply("text", framing="content-length"))
    until_close = played(Reply("text", framing="until-close"))
    assert b"Connection: close" in until_close[0]
    assert b"Transfer-Encoding" not in until_close[0]
    assert b"Content-Length" not in until_close[0]
    assert until_close[1:] == [b"text", FIN]


@pytest.mark.parametrize("framing", ["chunked", "content-length", "until-close"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_encodings_let_every_piece_be_decoded_at_once(encoding: Any, framing: Any) -> None:
    head, *parts = played(Reply(["one", "two"], encoding=encoding, framing=framing))
    assert f"Content-Encoding: {encoding}\r\n".encode() in head
    if framing == "chunked":
        parts = [part.split(b"\r\n", 1)[1][:-2] for part in parts if part != b"0\r\n\r\n"]
    decoder = zlib.decompressobj(wbits=47)
    pieces = [decoder.decompress(part) for part in parts if isinstance(part, bytes)]
    assert pieces == [b"one", b"two", b""]
    assert decoder.eof


def test_keep_alive_needs_both_sides() -> None:
    assert played(Reply("a"))[-1] == b"0\r\n\r\n"
    for steps_taken in (played(Reply("a", keep_alive=False)), played(Reply("a"), keep_alive=False)):
        assert b"Connection: close\r\n" in steps_taken[0]
        assert steps_taken[-1] == FIN


def test_pauses() -> None:
    assert played(Reply(["a", "b", "c"], pause=0.5))[2:-1:2] == [Pause(0.5), Pause(0.5)]
    assert [step for step in played(Reply(["a", Pause(1), Pause(None), "b"])) if isinstance(step, Pause)] == [
        Pause(1),
        Pause(None),
    ]


def test_headers_replace_remove_and_come_twice() -> None:
    head = sent(Reply("a", headers={"Content-Type": None, "date": "never", "Retry-After": "2"}))
    assert b"content-type" not in head.lower()
    assert b"date: never\r\n" in head
    assert b"GMT" not in head
    assert b"Retry-After: 2\r\n" in head
    assert b"X: 1\r\nX: 2\r\n" in sent(Reply("a", headers=[("X", "1"), ("X", "2")]))


def test_reason_and_status() -> None:
    assert sent(Reply(status=503)).startswith(
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain;charset=UTF-8"
    )
    assert sent(Reply(status=500, reason="Server error")).startswith(b"HTTP/1.1 500 Server error\r\n")
    assert sent(Reply(status=522)).startswith(b"HTTP/1.1 522 Connection timed out\r\n")
    assert sent(Reply(status=599)).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize(
    ("reply", "options"), [(Reply("a", status=204), {}), (Reply("a", status=304), {}), (Reply("a"), {"bodiless": True})]
)
def test_answers_without_a_body(reply: Reply, options: Any) -> None:
    (head,) = played(reply, **options)
    assert b"Transfer-Encoding" not in head
    assert b"Content-Length" not in head


def test_clock_offset_shows_in_the_date() -> None:
    assert b"Date: Mon, 24 Nov 2025 17:00:00 GMT" in sent(Reply("a", clock_offset_seconds=3600))


def test_split_cuts_everything() -> None:
    reply = Reply(["Hello", "World"], split=3)
    written = [step for step in played(reply) if isinstance(step, bytes)]
    assert max(map(len, written)) == 3
    assert b"".join(written) == sent(Reply(["Hello", "World"]))


@given(st.lists(st.text(max_size=20)), st.integers(1, 7), st.sampled_from(["chunked", "content-length", "until-close"]))
def test_any_split_sends_the_same(pieces: list[str], split: int, framing: Any) -> None:
    assert sent(Reply(pieces, split=split, framing=framing)) == sent(Reply(pieces, framing=framing))


def test_drip_waits_after_every_byte_of_the_body() -> None:
    head, *rest = played(Reply("ab", framing="until-close", drip=0.5))
    assert head.endswith(b"\r\n\r\n")
    assert rest == [b"a", Pause(0.5), b"b", Pause(0.5), FIN]
    everything = played(Reply("ab", framing="until-close", drip=0.5, drip_headers=True))
    assert everything[:4] == [b"H", Pause(0.5), b"T", Pause(0.5)]
    by_twos = played(Reply("abc", framing="until-close", drip=0.5, split=2))
    assert by_twos[-5:] == [b"ab", Pause(0.5), b"c", Pause(0.5), FIN]


@pytest.mark.parametrize(("reset", "close"), [(False, FIN), (True, RST)])
def test_drops(reset: bool, close: Close) -> None:
    def drop(at: Any, **options: Any) -> list[Any]:
        return played(Reply("text", fault=Drop(at, reset=reset), **options))

    assert drop("before-answer") == [close]
    half, end = drop("in-headers")
    assert half.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in half
    assert end == close
    head, end = drop("after-headers")
    assert head.endswith(b"\r\n\r\n")
    assert end == close
    assert drop("in-body")[1:] == [b"4\r\ntext\r\n", close]
    assert drop("in-chunk")[1:] == [b"4\r\ntext\r\n", b"10\r\n", close]
    assert drop("after-answer")[1:] == [b"4\r\ntext\r\n", b"0\r\n\r\n", close]
    assert b"Connection: keep-alive" in drop("after-answer")[0]
    head, *rest = drop("in-body", framing="content-length")
    assert f"Content-Length: {4 + MISSING_BYTES}\r\n".encode() in head
    assert rest == [b"text", close]
    assert drop("in-body", framing="until-close")[1:] == [b"text", close]


def test_a_drop_in_a_compressed_body_leaves_it_unfinished() -> None:
    *_, part, end = played(Reply("text", encoding="gzip", framing="until-close", fault=Drop("in-body")))
    decoder = zlib.decompressobj(wbits=31)
    assert decoder.decompress(part) == b"text"
    assert not decoder.eof
    assert end == FIN


def test_stalls() -> None:
    assert played(Reply("a", fault=Stall("before-answer")))[0] == Pause(None)
    half, pause, rest, *_ = played(Reply("a", fault=Stall("in-headers", 3)))
    assert pause == Pause(3)
    assert half + rest == sent(Reply("a")).partition(b"1\r\na")[0]
    assert played(Reply("a", fault=Stall("after-headers", 3)))[1] == Pause(3)
    assert played(Reply("a", fault=Stall("in-body", 3)))[1:] == [b"1\r\na\r\n", Pause(3), b"0\r\n\r\n"]
    head, *rest = played(Reply("a", framing="content-length", fault=Stall()))
    assert f"Content-Length: {1 + MISSING_BYTES}\r\n".encode() in head
    assert rest == [b"a", Pause(None)]


def test_other_faults() -> None:
    assert played(Reply("a", fault=Garbage(b"?!"))) == [b"?!", FIN]
    assert played(Reply("a", fault=BrokenChunk()))[1:] == [b"1\r\na\r\n", b"zz\r\n", FIN]
    longer = played(Reply("text", framing="content-length", fault=WrongLength(3)))
    assert b"Content-Length: 7\r\n" in longer[0]
    assert longer[1:] == [b"text", FIN]
    shorter = played(Reply("text", framing="content-length", fault=WrongLength(-3)))
    assert b"Content-Length: 1\r\n" in shorter[0]
    assert shorter[1:] == [b"text", FIN]


def test_broken_encodings() -> None:
    damaged = body(Reply("text", encoding="gzip", framing="content-length", fault=BrokenEncoding()))
    with pytest.raises(zlib.error):
        gzip.decompress(damaged)
    truncated = body(Reply("text", encoding="gzip", framing="content-length", fault=BrokenEncoding(truncated=True)))
    with pytest.raises(EOFError):
        gzip.decompress(truncated)


def test_oversized_headers() -> None:
    assert len(sent(Reply("a", fault=OversizedHeaders(size=70_000)))) > 70_000
    assert sent(Reply("a", fault=OversizedHeaders(size=5, count=300))).count(b"\r\nX-Filler-") == 300


def test_informational_answers() -> None:
    wire = sent(Reply("a", fault=Informational(2, status=103)))
    assert wire.startswith(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\n")
    flood = steps(Reply("a", fault=Informational(None)), now=NOW)
    assert set(itertools.islice(flood, 1000)) == {b"HTTP/1.1 102 Processing\r\n\r\n", Pause(0.0)}


def test_exact_bytes_and_then_the_end() -> None:
    assert played(Reply.raw(b"HTTP/1.1 200 OK\r\n\r\n")) == [b"HTTP/1.1 200 OK\r\n\r\n", FIN]
    assert played(Reply.raw([b"a", Pause(1), b"b"])) == [b"a", Pause(1), b"b", FIN]
    assert played(Reply.recording(b"abc", split=2)) == [b"ab", b"c", FIN]


def test_a_bomb_is_made_lazily() -> None:
    bomb = steps(Reply.bomb(1 << 40), now=NOW)
    decoder = zlib.decompressobj(wbits=31)
    next(bomb)
    decoded = 0
    compressed = 0
    for step in itertools.islice(bomb, 20):
        assert isinstance(step, bytes)
        compressed += len(step)
        decoded += len(decoder.decompress(step.split(b"\r\n", 1)[1][:-2]))
    assert decoded > 1_000_000
    assert compressed * 200 < decoded


def test_an_endless_reply_goes_on() -> None:
    reply = Reply.endless("x", pause=0.1)
    written = [step for step in itertools.islice(steps(reply, now=NOW), 200) if isinstance(step, bytes)]
    assert written.count(b"1\r\nx\r\n") > 90
