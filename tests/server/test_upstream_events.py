"""From bytes to events, however the bytes come in."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aichatfree.server.upstreams.events import BrokenStreamError, Event, EventStream, JSONLines

Decoder = EventStream | JSONLines


def decode(decoder: Decoder, *chunks: bytes, end: bool = True) -> list[Event]:
    found = [event for chunk in chunks for event in decoder.feed(chunk)]
    return found + list(decoder.end()) if end else found


def data_of(body: bytes) -> list[Any]:
    return [data for _, data in decode(EventStream(), body)]


STREAM = (
    b"\xef\xbb\xbf: a comment\n\n"
    b'data: {"n": 1}\n\n'
    b'data:{"n": 2}\r\n\r\n'
    b'data:  {"n": 3}\r\r'
    b'event: special\nid: 7\nretry: 10\ndata: {"n":\ndata: 4}\n\n'
    b": keep-alive\r\n\r\n"
    b"data\ndata:\n\n"
    b'unknown: x\ndata: {"n": "5 \xe2\x82\xac \xf0\x9f\x98\x80"}\r\n\r'
    b"data: [1]\ndata: \n\ndata: null\n\n"
    b'data: {"n": 6}\r\n'
)
EXPECTED = [
    ("", {"n": 1}),
    ("", {"n": 2}),
    ("", {"n": 3}),
    ("special", {"n": 4}),
    ("", {"n": "5 € 😀"}),
    ("", [1]),
    ("", None),
    ("", {"n": 6}),
]


def test_a_stream_with_everything_the_standard_allows() -> None:
    assert decode(EventStream(), STREAM) == EXPECTED


def test_every_single_split() -> None:
    for at in range(len(STREAM) + 1):
        assert decode(EventStream(), STREAM[:at], STREAM[at:]) == EXPECTED, at


def test_byte_by_byte() -> None:
    assert decode(EventStream(), *(bytes([byte]) for byte in STREAM)) == EXPECTED


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**32), ends=st.lists(st.sampled_from([b"\n", b"\r", b"\r\n"]), min_size=1, max_size=7))
def test_however_it_is_split_and_whatever_ends_its_lines(seed: int, ends: list[bytes]) -> None:
    rng = random.Random(seed)
    values = [{"n": number, "text": "é\n😀" * rng.randrange(4)} for number in range(rng.randrange(6))]
    texts: list[str] = []
    for value in values:
        texts += [": x", ""][: rng.randrange(3)]
        texts += [f"data: {line}" for line in json.dumps(value, indent=rng.choice([None, 1])).split("\n")]
        texts += ["", *[""] * rng.randrange(2)]
    body = b""
    for number, text in enumerate(texts):
        ending = ends[number % len(ends)]
        if not text and body.endswith(b"\r") and ending == b"\n":
            ending = b"\r"  # the two would be one line end
        body += text.encode() + ending
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(12)))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert [data for _, data in decode(EventStream(), *chunks)] == values


@pytest.mark.parametrize("last", [b"", b"\n", b"\r", b"\r\n", b"\n\n"])
def test_a_last_event_without_its_end(last: bytes) -> None:
    assert data_of(b"data: 1\n\ndata: 2" + last) == [1, 2]


def test_a_last_event_that_is_cut() -> None:
    with pytest.raises(BrokenStreamError, match="not JSON"):
        data_of(b'data: {"a": 1}\n\ndata: {"a"')


def test_nothing_after_done_is_read() -> None:
    decoder = EventStream()
    assert decode(decoder, b"data: 1\n\ndata: [DONE]\n\ndata: {oops\n\n") == [("", 1)]
    assert decoder.done


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"\r\n\r\n", b": nothing\n\n", b"event: x\n\n", b"data:   \n\n", b"\xef\xbb\xbf"]
)
def test_streams_without_an_event(body: bytes) -> None:
    assert data_of(body) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"data: {oops\n\n", "not JSON"),
        (b'data: {"a": "\xff"}\n\n', "not UTF-8"),
        (b"data: " + b"[" * 200_000 + b"\n\n", "not JSON"),
        (b"data: " + b"9" * 5000 + b"\n\n", "not JSON"),
        (b"<!doctype html><title>Welcome</title>\n", "a page"),
        (b'{"a": ', "not JSON"),
        (b"[1, 2", "not JSON"),
    ],
)
def test_what_is_broken(body: bytes, words: str) -> None:
    with pytest.raises(BrokenStreamError, match=words) as caught:
        data_of(body)
    assert caught.value.__cause__ is caught.value.__context__ is None, "these hold the text"


@pytest.mark.parametrize("body", [b'{"a": [1,\r\n 2]}', b' \n{"a":\n[1, 2]}\n', b'\xef\xbb\xbf{"a": [1, 2]}'])
def test_a_document_in_place_of_a_stream(body: bytes) -> None:
    for at in range(len(body) + 1):
        for decoder in (EventStream(), JSONLines()):
            assert [data for _, data in decode(decoder, body[:at], body[at:])] == [{"a": [1, 2]}]


def test_a_list_in_place_of_a_stream() -> None:
    assert data_of(b'[{"a": 1}\n,\n{"a": 2}]') == [{"a": 1}, {"a": 2}]


BODY = b'{"n": 1}\n\r\n{"n": "\xe2\x82\xac"}\r\n{"n": 3}'


def test_lines_however_they_are_split() -> None:
    for at in range(len(BODY) + 1):
        found = decode(JSONLines(), BODY[:at], BODY[at:])
        assert [data for _, data in found] == [{"n": 1}, {"n": "€"}, {"n": 3}]
    assert len(decode(JSONLines(), *(bytes([byte]) for byte in BODY))) == 3


@pytest.mark.parametrize("body", [b'{"n": 1}\n{oops\n', b"<html>\n</html>\n", b'{"n": 1}\n{"n"', b'{"n": "\xff"}\n'])
def test_lines_that_are_broken(body: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        decode(JSONLines(), body)


def chunks_of(size: int, text: bytes) -> list[bytes]:
    return [text] * (size // len(text))


@pytest.mark.parametrize(
    ("decoder", "chunks"),
    [
        (EventStream, [b"data: ", *chunks_of(2000, b"x" * 10)]),
        (EventStream, chunks_of(2000, b"data: xxxxxxxxx\n")),
        (EventStream, [b'{"a": "', *chunks_of(2000, b"x" * 10)]),
        (EventStream, [b": ", *chunks_of(2000, b"x" * 10)]),
        (JSONLines, chunks_of(2000, b"x" * 10)),
        (JSONLines, [b'{"a":\n', *chunks_of(2000, b"1,\n")]),
    ],
)
def test_sizes_have_a_bound(decoder: type[Decoder], chunks: list[bytes]) -> None:
    with pytest.raises(BrokenStreamError, match="larger than 1,000 bytes"):
        decode(decoder(1000), *chunks, end=False)


def test_an_event_of_megabytes_in_small_chunks() -> None:
    text = "é" * 2_000_000
    body = b'data: {"text": "' + text.encode() + b'"}\n\n'
    found = decode(EventStream(), *(body[at : at + 1000] for at in range(0, len(body), 1000)))
    assert found == [("", {"text": text})]
