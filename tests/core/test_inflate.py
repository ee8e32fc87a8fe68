"""Compressed bodies, in whatever split they arrive; what is broken or too large is not taken for the whole."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from core_kit import Bench
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.wire.inflate import Inflater, is_supported
from aichatfree._core.wire.replies import MAX_BODY_BYTES, AnswerReader, FailureReader, ReplyReader
from aichatfree.errors import APIError, EmptyReplyError, ReplyTooLargeError, ServerError, StreamInterruptedError

PLENTY = 10**9


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> tuple[str, Callable[[bytes], bytes]]:
    return FORMS[request.param]


def test_what_is_supported() -> None:
    assert all(is_supported(encoding) for encoding, _ in FORMS.values())
    assert not any(map(is_supported, ["", "identity", "br", "zstd", "gzip, gzip", "GZIP "]))


@given(st.sampled_from(sorted(FORMS)), st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_split_gives_the_body_back(name: str, body: bytes, cuts: list[int]) -> None:
    encoding, pack = FORMS[name]
    data = pack(body)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    inflater = Inflater(encoding)
    assert b"".join(inflater.decode(data[a:b], PLENTY) for a, b in pairwise(places)) == body
    inflater.finish()


def test_byte_by_byte(form: tuple[str, Callable[[bytes], bytes]]) -> None:
    encoding, pack = form
    inflater = Inflater(encoding)
    assert b"".join(inflater.decode(bytes([byte]), PLENTY) for byte in pack(b"hello " * 50)) == b"hello " * 50
    inflater.finish()


def test_what_is_flushed_is_there_at_once() -> None:
    packer = zlib.compressobj(wbits=31)
    inflater = Inflater("gzip")
    for piece in (b"first ", b"second"):
        assert inflater.decode(packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH), PLENTY) == piece


def test_gzip_of_several_members() -> None:
    data = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    inflater = Inflater("gzip")
    assert inflater.decode(data, PLENTY) == b"one two"
    inflater.finish()
    in_pieces = Inflater("gzip")
    assert b"".join(in_pieces.decode(bytes([byte]), PLENTY) for byte in data) == b"one two"
    in_pieces.finish()


def test_no_more_than_the_limit_is_unpacked(form: tuple[str, Callable[[bytes], bytes]]) -> None:
    encoding, pack = form
    bomb = pack(b"\0" * 10_000_000)
    assert Inflater(encoding).decode(bomb, 1000) == b"\0" * 1000


@pytest.mark.parametrize("cut", [3, 12, -1])
def test_what_ends_too_early(form: tuple[str, Callable[[bytes], bytes]], cut: int) -> None:
    encoding, pack = form
    inflater = Inflater(encoding)
    inflater.decode(pack(b"hello, " + bytes(range(256)))[:cut], PLENTY)
    with pytest.raises(StreamInterruptedError, match=f"broken {encoding}: it ends too early"):
        inflater.finish()


def test_no_body_at_all_is_not_broken() -> None:
    inflater = Inflater("gzip")
    assert inflater.decode(b"", PLENTY) == b""
    inflater.finish()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_no_compression(encoding: str) -> None:
    inflater = Inflater(encoding)
    assert inflater.decode(b"\xff\xffplain text", PLENTY) == b""
    with pytest.raises(StreamInterruptedError, match=f"broken {encoding}: ") as caught:
        inflater.finish()
    assert caught.value is inflater.fault
    assert isinstance(caught.value.__cause__, zlib.error)


def compressed(encoding: str, data: bytes) -> bytes:
    return gzip.compress(data) if encoding == "gzip" else zlib.compress(data)


def fed(encoding: str, body: bytes, size: int) -> tuple[bytes, StreamInterruptedError | None]:
    """What is decoded of a body that comes in pieces of that size, and the fault if there is one."""
    inflater = Inflater(encoding)
    out = b"".join(inflater.decode(body[at : at + size], PLENTY) for at in range(0, len(body), size))
    try:
        inflater.finish()
    except StreamInterruptedError as error:
        return out, error
    return out, None


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("padding", [b"\0" * 8, b"\r\n", b"\n", b"\0"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_padding_behind_the_end_is_ignored(encoding: str, padding: bytes, size: int) -> None:
    assert fed(encoding, compressed(encoding, b"one two") + padding, size) == (b"one two", None)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("behind", [b"x", b"\0x", b"\x1f", b"\x1fx", b"\x1f\x8b", b"\0\x1f"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_anything_else_behind_the_end_is_a_fault_that_loses_nothing(encoding: str, behind: bytes, size: int) -> None:
    out, fault = fed(encoding, compressed(encoding, b"one two") + behind, size)
    assert out == b"one two"
    assert fault is not None


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_members_of_a_gzip_file(size: int) -> None:
    body = gzip.compress(b"one ") + b"\0\0" + gzip.compress(b"") + gzip.compress(b"two")
    assert fed("gzip", body, size) == (b"one two", None)


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_came_before_a_fault_is_decoded(encoding: str, size: int) -> None:
    """A flush after each line, so that zlib could decode all of them before the damage."""
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    body = b"".join(packer.compress(b"line %d\n" % n) + packer.flush(zlib.Z_SYNC_FLUSH) for n in range(50))
    whole = b"".join(b"line %d\n" % n for n in range(50))
    out, fault = fed(encoding, body + b"\xff\xff\xff\xff", size)
    assert out == whole
    assert fault is not None
    damaged = body + packer.flush()[:-4] + b"\0\0\0\0"  # only the check sum at the end
    out, fault = fed(encoding, damaged, size)
    assert out == whole
    assert fault is not None


@given(st.sampled_from(["gzip", "deflate"]), st.lists(st.binary(max_size=50), max_size=5))
def test_nothing_else_is_raised(encoding: str, chunks: list[bytes]) -> None:
    inflater = Inflater(encoding)
    try:
        for chunk in chunks:
            inflater.decode(chunk, 1000)
        inflater.finish()
    except StreamInterruptedError:
        pass


# --- In the readers -------------------------------------------------------------------------------------------------


def reader(status: int, encoding: str, **settings: int) -> AnswerReader:
    bench = Bench(**settings)
    return bench.call.answered(bench.answer(status, {"content-encoding": encoding}))


@pytest.mark.parametrize("encoding", ["gzip", " GZIP ", "x-gzip"])
def test_a_compressed_reply(encoding: str) -> None:
    reply = reader(200, encoding)
    assert reply.feed(gzip.compress("你好".encode())) + reply.finish() == "你好"
    assert isinstance(reply, ReplyReader)
    assert reply.bytes_received == 6


@pytest.mark.parametrize("encoding", ["identity", "", " Identity "])
def test_no_compression_at_all(encoding: str) -> None:
    reply = reader(200, encoding)
    assert reply.feed(b"hi") + reply.finish() == "hi"


def test_a_compressed_reply_that_was_cut_is_not_whole() -> None:
    reply = reader(200, "gzip")
    text = reply.feed(gzip.compress(b"hello")[:-4])
    with pytest.raises(StreamInterruptedError):
        reply.finish()
    assert text == "hello"


def test_a_compressed_reply_of_nothing() -> None:
    reply = reader(200, "gzip")
    with pytest.raises(EmptyReplyError):
        reply.feed(gzip.compress(b""))
        reply.finish()


def test_the_limit_counts_decoded_bytes() -> None:
    exact = reader(200, "gzip", max_reply_bytes=1000)
    assert len(exact.feed(gzip.compress(b"x" * 1000))) == 1000
    assert exact.finish() == ""
    bomb = reader(200, "gzip", max_reply_bytes=1000)
    with pytest.raises(ReplyTooLargeError) as caught:
        bomb.feed(gzip.compress(b"x" * 10_000_000))
    assert len(bomb.flush(caught.value)) == 1000


def test_a_compressed_failure() -> None:
    failure = reader(500, "gzip")
    assert isinstance(failure, FailureReader)
    failure.feed(gzip.compress(b'{"error":{"message":"no"}}'))
    with pytest.raises(ServerError) as caught:
        failure.finish()
    assert caught.value.message == "no"
    with pytest.raises(ServerError) as caught:
        reader(500, "gzip").feed(gzip.compress(b"x" * 10_000_000))
    assert len(caught.value.body) == MAX_BODY_BYTES


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "nonsense"])
@pytest.mark.parametrize(("status", "kind"), [(200, APIError), (503, APIError)])
def test_a_compression_nobody_asked_for(encoding: str, status: int, kind: type[APIError]) -> None:
    with pytest.raises(kind, match=f"HTTP {status} .content-encoding {encoding}, which was not asked for"):
        reader(status, encoding)
