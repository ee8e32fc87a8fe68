"""Where the body of an answer ends, byte by byte, as the asynchronous client reads it."""

from __future__ import annotations

import random
from typing import Any

import aiohttp
import pytest
from aiohttp.http_exceptions import HttpProcessingError

from aichatfree._async.transport.framing import Framing
from aichatfree._async.transport.hooks import session_options
from aichatfree._core.wire.chunks import MAX_HEAD_BYTES

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"4\r\none \r\n1;x=y\r\nt\r\n2  \r\nwo\r\n0\r\nX-Trailer: yes\r\n\r\n"


class Connection:
    """A connection without a socket."""

    def __init__(self) -> None:
        self.ended = self.unsent = False
        self.forced = self.aborted = 0
        self.text = b""
        self.connected = True
        self._reading_paused = False  # aiohttp 3.13 looks

    def force_close(self) -> None:
        self.forced += 1

    def abort(self) -> None:
        self.aborted += 1

    def read_more(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.framing.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        pass

    async def receive(self, *blocks: bytes, ended: bool | None = None) -> Connection:
        from asyncio import get_running_loop

        from aiohttp.http import HttpResponseParser

        heads = HttpResponseParser(
            self,  # type: ignore[arg-type]
            get_running_loop(),
            2**16,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            **({"max_headers": 256} if "max_headers" in session_options() else {}),
        )
        self.framing = Framing(self, heads)
        self.body: Any = None
        for block in blocks:
            messages, _, _ = self.framing.feed_data(block)
            for _, body in messages:
                self.body = body
        if ended is not None:
            self.ended = ended
            self.framing.feed_eof()
        if self.body is not None:
            with_error = self.body.exception()
            self.body._exception = None
            self.text = self.body.read_nowait() if self.body.total_bytes else b""
            self.body._exception = with_error
        return self

    @property
    def whole(self) -> bool:
        return self.body is not None and self.body.is_eof() and self.body.exception() is None

    @property
    def broken(self) -> bool:
        return self.body is not None and isinstance(self.body.exception(), aiohttp.ClientPayloadError)


def run(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def receive(*blocks: bytes, ended: bool | None = None) -> Connection:
    connection: Connection = run(Connection().receive(*blocks, ended=ended))
    return connection


@pytest.mark.parametrize("seed", range(60))
def test_any_split_is_the_same_answer(seed: int) -> None:
    chance = random.Random(seed)
    data = HEAD + BODY
    blocks = []
    while data:
        size = chance.choice([1, 1, 2, 3, 7, 30])
        blocks.append(data[:size])
        data = data[size:]
    got = receive(*blocks)
    assert got.whole
    assert got.text == b"one two"
    assert not got.forced


@pytest.mark.parametrize("seed", range(60))
def test_chunks_are_told_by_their_sizes_and_by_nothing_in_them(seed: int) -> None:
    """Of small ones that come together, all are taken at once: unless there is in them what stands between them."""
    chance = random.Random(seed)
    pieces = [
        b"a",
        b"one",
        b"0",
        b"2",
        b"",
        b"ab\r\ncd",
        b"\r\n",
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
        b"\r",
        b"\n",
        b"x" * 3000,
    ]
    texts = [text for text in chance.choices(pieces, k=chance.randrange(1, 12)) if text]
    body = b"".join(b"%x\r\n%b\r\n" % (len(text), text) for text in texts)
    end = chance.choice([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"0", b"0\r\n", b"7\r\nab"])
    cut = chance.randrange(len(body) + 1)
    for blocks in ([HEAD, body + end], [HEAD, body[:cut], body[cut:] + end]):
        got = receive(*blocks)
        assert got.text == b"".join(texts) + (b"ab" if end.endswith(b"ab") else b"")
        assert got.whole == (end[-4:] == b"\r\n\r\n")
        assert not got.broken
        assert not got.forced


def test_one_block() -> None:
    got = receive(HEAD + BODY)
    assert got.whole
    assert got.text == b"one two"


@pytest.mark.parametrize("seed", range(60))
def test_a_cut_anywhere_is_no_whole_answer(seed: int) -> None:
    data = (HEAD + BODY)[: len(HEAD) + seed % len(BODY)]
    got = receive(data, ended=True)
    assert not got.whole
    assert got.broken
    assert b"one two".startswith(got.text)


BAD_CHUNKS = [
    *(b"zz\r\n", b"-5\r\n", b"+4\r\n", b"0x4\r\n", b"4_0\r\n", b"\r\n", b" 4\r\n", b"\n", b"12345678901234567\r\n"),
    *(
        b"1\r\nab\r\n",
        b"1\r\na\rb",
        b"1\na\n",
        b"1\r\na\n",
        b"1\x0b\r\na\r\n",
        b"0\r\nno trailer\r\n\r\n",
        b"4;" + b"x" * MAX_HEAD_BYTES,
    ),
    *(b"0\r\n" + b"A: b\r\n" * 300 + b"\r\n", b"0\r\nA: " + b"x" * MAX_HEAD_BYTES),
]


@pytest.mark.parametrize("bad", BAD_CHUNKS, ids=lambda bad: repr(bad[:12]))
@pytest.mark.parametrize("together", [True, False])
def test_text_in_front_of_a_fault_is_kept(bad: bytes, together: bool) -> None:
    good = HEAD + b"4\r\none \r\n"
    got = receive(good + bad) if together else receive(good, bad)
    assert got.broken
    assert got.text in (b"one ", b"one a")
    assert got.aborted


@pytest.mark.parametrize("field", ["", ": x" * 4000, ": " + "x" * 12_000])
def test_long_trailers(field: str) -> None:
    trailers = f"X-T{field}\r\n".encode() if field else b""
    got = receive(HEAD + b"3\r\none\r\n0\r\n" + trailers + b"\r\n")
    assert got.whole
    assert got.text == b"one"


@pytest.mark.parametrize("count", [1, 100, 250])
def test_many_fields(count: int) -> None:
    fields = "".join(f"X-{number}: {'y' * 200}\r\n" for number in range(count))
    got = receive(f"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{fields}\r\n".encode(), b"one")
    assert got.whole


@pytest.mark.parametrize("fields", ["X: " + "y" * MAX_HEAD_BYTES, "\r\n".join(f"X-{n}: y" for n in range(300))])
def test_heads_beyond_the_bounds(fields: str) -> None:
    with pytest.raises(HttpProcessingError):
        receive(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode())


CODINGS = {
    "chunked": True,
    "Chunked": True,
    "\tchunked": True,
    "chunked\t": True,
    "identity": False,
    "chunked, identity": None,
    "chunked\x0b": None,
    "\x0bchunked": None,
    "chunked\x0c": None,
    "gzip, chunked": None,
    "chunked\r\nTransfer-Encoding: chunked": None,
    "chunked\r\nTransfer-Encoding: identity": None,
    "identity\r\nTransfer-Encoding: chunked": True,
    "identity, chunked": True,
    "": None,
    "chunked;q=1": None,
    '"chunked"': None,
    "chunkedd": None,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("length", ["", "Content-Length: 9\r\n"])
def test_a_framing_that_is_not_known_is_no_text(coding: str, length: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n{length}\r\n".encode()
    try:
        got = receive(head, b"4\r\none \r\n0\r\n\r\n", ended=True)
    except HttpProcessingError:
        assert length or CODINGS[coding] is None
        return
    known = CODINGS[coding]
    if known:
        assert got.text == b"one "
    elif known is None:
        assert got.broken
        assert got.text == b""


@pytest.mark.parametrize("first", [3, 5])
def test_bytes_past_the_length(first: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    body = b"oneHTTP/1.1 200 OK\r\n\r\n"
    got = receive(head + body[:first], body[first:])
    assert got.whole
    assert got.text == b"one"
    assert got.forced
    assert got.aborted or first > 3


@pytest.mark.parametrize(
    "fields", ["Content-Length: 3\r\nContent-Length: 9", "Content-Length: 3, 9", "Content-Length: x"]
)
def test_fields_that_contradict_each_other(fields: str) -> None:
    with pytest.raises(HttpProcessingError):
        receive(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\none".encode())


@pytest.mark.parametrize("ended", [True, False])
def test_only_an_end_that_was_said_ends_a_body_without_a_length(ended: bool) -> None:
    got = receive(b"HTTP/1.1 200 OK\r\n\r\none ", b"two", ended=ended)
    assert got.text == b"one two"
    assert got.whole == ended
    assert got.broken != ended


def test_interim_answers_are_passed_over() -> None:
    got = receive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HEAD + BODY)
    assert got.whole
    assert got.text == b"one two"


def test_tiny_chunks_cost_no_more_than_their_text() -> None:
    got = receive(HEAD, b"2\r\nab\r\n" * 20_000)
    assert got.text == b"ab" * 20_000
    assert not got.body._http_chunk_splits


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body(status: int) -> None:
    got = receive(f"HTTP/1.1 {status} X\r\n\r\n".encode(), b"x")
    assert got.aborted
