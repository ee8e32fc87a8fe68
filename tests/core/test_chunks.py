"""A chunked body: whatever its pieces, its content comes out whole, and nothing that is not one passes for one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aichatfree._core.wire import chunks as module
from aichatfree._core.wire.chunks import MAX_FIELDS, MAX_HEAD_BYTES, MAX_LINE_BYTES, Chunks

END = b"0\r\n\r\n"
contents = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=8),
        st.sampled_from([b"x" * 20, b"\r\n", b"5\r\nhello\r\n", END, b"x" * 5_000, b"\r", b"\n"]),
    ),
    max_size=12,
)
lines = st.sampled_from(["%x", "%X", "0%x", "00000000%x", "%x ", "%x;name", '%x;name="value"', "%x \t;a;b=c"])
endings = st.sampled_from(
    [END, b"000\r\n\r\n", b"0;last\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nX: y\r\n z\r\nZ:\r\n\r\n"]
)


def chunk(content: bytes, line: str = "%x") -> bytes:
    return (line % len(content)).encode() + b"\r\n" + content + b"\r\n"


def read(*received: bytes) -> tuple[bytes, Chunks]:
    chunks = Chunks()
    content = b""
    for data in received:
        content += chunks.feed(data)
        if chunks.fault is not None or chunks.ended:
            break
    return content, chunks


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(at) if start < end]


@given(contents, st.lists(lines, min_size=12, max_size=12), endings, st.lists(st.integers(0, 100_000), max_size=8))
@example([b"hello", b"x" * 20], ["%x"] * 12, END, [])
@example([b"hello", b"hello"], ["%x"] * 12, END, [18])
@example([b"ab0\r\n"], ["%x"] * 12, END, [5, 10])  # the rest of a chunk looks like the end
def test_any_chunks_in_any_split(written: list[bytes], styles: list[str], ending: bytes, places: list[int]) -> None:
    data = b"".join(map(chunk, written, styles)) + ending
    for _ in range(2):  # the second time, the sizes are known
        content, chunks = read(*cut(data, places))
        assert (content, chunks.fault, chunks.ended, chunks.rest) == (b"".join(written), None, True, b"")
    content, chunks = read(*(data[at : at + 1] for at in range(len(data))))
    assert (content, chunks.fault, chunks.ended) == (b"".join(written), None, True)


@given(contents, st.lists(st.integers(0, 100_000), max_size=4), st.integers(0, 100_000))
def test_a_body_that_breaks_off_has_not_ended(written: list[bytes], places: list[int], kept: int) -> None:
    whole = b"".join(map(chunk, written)) + END
    content, chunks = read(*cut(whole[: kept % len(whole)], places))
    assert (chunks.fault, chunks.ended) == (None, False)
    assert b"".join(written).startswith(content)


@given(contents, st.binary(min_size=1, max_size=40))
def test_what_comes_behind_its_end(written: list[bytes], more: bytes) -> None:
    content, chunks = read(b"".join(map(chunk, written)) + END + more)
    assert (content, chunks.ended, chunks.rest) == (b"".join(written), True, more)


BROKEN = {
    "no size": b"\r\n\r\n",
    "not a number": b"zz\r\nhello\r\n",
    "a minus": b"-5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "an underscore": b"1_0\r\n" + b"x" * 16 + b"\r\n",
    "a blank before it": b" 5\r\nhello\r\n",
    "17 digits": b"10000000000000000\r\nhello\r\n",
    "LF alone": b"5\nhello\r\n",
    "a bare CR": b"5\r5\r\nhello\r\n",
    "NUL": b"5;\0\r\nhello\r\n",
    "too long for its size": b"4\r\nhello\r\n",
    "too short for its size": b"6\r\nhello\r\n5\r\nhello\r\n",
    "LF behind the content": b"5\r\nhello\n",
    "a long line": b"5;" + b"x" * MAX_LINE_BYTES + b"\r\nhello\r\n",
    "a long line without end": b"5;" + b"x" * MAX_LINE_BYTES,
    "a trailer without a name": b"0\r\n: y\r\n\r\n",
    "a trailer without a colon": b"0\r\nnonsense\r\n\r\n",
    "a blank in a trailer's name": b"0\r\nX : y\r\n\r\n",
    "a first trailer that is folded": b"0\r\n X: y\r\n\r\n",
    "a bare CR in a trailer": b"0\r\nX: \ry\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
    "many trailers": b"0\r\n" + b"X: y\r\n" * (MAX_FIELDS + 1) + b"\r\n",
    "large trailers": b"0\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "large trailers without end": b"0\r\nX: " + b"y" * MAX_HEAD_BYTES,
}


@pytest.mark.parametrize("before", [[], [b"hello"], [b"one", b"four" * 5, b"x" * 5000]], ids=len)
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_no_chunk(broken: bytes, before: list[bytes]) -> None:
    data = b"".join(map(chunk, before)) + broken
    for received in ([data], [data[at : at + 1] for at in range(len(data))]):
        content, chunks = read(*received)
        assert chunks.fault
        assert content.startswith(b"".join(before))  # nothing in front of the fault is lost
        assert content.removeprefix(b"".join(before)) in (b"", b"hell", b"hello", b"hello\r")


@pytest.mark.parametrize("trailers", [MAX_FIELDS, 0])
def test_as_much_as_is_allowed(trailers: int) -> None:
    long = b"5;" + b"x" * (MAX_LINE_BYTES - 4) + b"\r\nhello\r\n"
    content, chunks = read(long + b"0\r\n" + b"X: y\r\n" * trailers + b"\r\n")
    assert (content, chunks.fault, chunks.ended) == (b"hello", None, True)
    full = b"X: %b\r\n\r\n" % (b"y" * (MAX_HEAD_BYTES - 7))
    assert read(b"0\r\n" + full)[1].ended


def test_the_sizes_that_are_remembered_are_few() -> None:
    for number in range(3 * module._MAX_KEPT):
        line = b"0" * (number % 7) + b"%x" % (number % 2000 + 1)
        read(line + b"\r\n" + b"x" * (number % 2000 + 1) + b"\r\n")
    assert 0 < len(module._sizes) <= module._MAX_KEPT


def test_a_large_chunk_is_not_copied() -> None:
    chunks = Chunks()
    chunks.feed(b"100000\r\n")
    data = b"x" * 100_000
    assert chunks.feed(data) is data
