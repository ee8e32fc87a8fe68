"""Bytes -> text, in whatever split they arrive, and the failure that hides at the end of a reply."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest
from core_kit import recorded
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.settings import IN_BAND_ERRORS
from aichatfree._core.wire.interruption import closed_by_caller
from aichatfree._core.wire.replies import MAX_BODY_BYTES, AuthReader, FailureReader, ReplyReader
from aichatfree.errors import (
    AIChatFreeError,
    APIError,
    EmptyReplyError,
    ReplyTooLargeError,
    RequestTimeoutError,
    ServerError,
    StreamInterruptedError,
)

ERROR = IN_BAND_ERRORS[0]


def read(reader: Any, chunks: list[bytes]) -> tuple[list[str], AIChatFreeError | None]:
    """Drive a reader as a client does: the texts given to the caller, and the error at the end."""
    given: list[str] = []
    try:
        for chunk in chunks:
            given.append(reader.feed(chunk))
        given.append(reader.finish())
    except AIChatFreeError as error:
        given.append(reader.flush(error))
        return [text for text in given if text], error
    return [text for text in given if text], None


def reply(max_bytes: int = 10**6, in_band_errors: tuple[str, ...] = IN_BAND_ERRORS, page: Any = None) -> ReplyReader:
    return ReplyReader(max_bytes, in_band_errors, page)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


# --- The recordings -------------------------------------------------------------------------------------------------

REPLIES: dict[str, tuple[str, bool, str]] = {
    # the text, whether the reply failed in-band, what its error says
    "ok": ("你好，世界 — you said: hello", False, ""),
    "cut_mid_reply": ("partial ", True, "broke off or blocked the reply half way"),
    "blocked_mid_reply": ("Half an ans", True, "broke off or blocked the reply half way"),
    "blocked_prompt": ("", True, "blocked the prompt or failed at once"),
}


@pytest.mark.parametrize("name", REPLIES)
def test_recorded_replies_in_every_split(name: str) -> None:
    text, in_band, words = REPLIES[name]
    chunks = recorded(name).chunks
    body = b"".join(chunks)
    in_two = [[body[:at], body[at:]] for at in range(len(body) + 1)]
    for pieces in (chunks, [bytes([byte]) for byte in body], *in_two):
        given, error = read(reply(), pieces)
        assert "".join(given) == text
        assert isinstance(error, StreamInterruptedError) == in_band
        if error is not None:
            assert getattr(error, "in_band", None) is True
            assert words in str(error)
            assert repr(ERROR) in str(error)


def test_a_piece_is_given_out_when_it_arrives() -> None:
    reader = reply()
    chunks = recorded("ok").chunks
    assert [reader.feed(chunk) for chunk in chunks] == [chunk.decode() for chunk in chunks]
    assert reader.finish() == ""


# --- Any text, any split --------------------------------------------------------------------------------------------

prefixes = st.sampled_from([ERROR[:end] for end in range(1, len(ERROR) + 1)])
talkative = st.lists(st.one_of(st.text(max_size=5), prefixes), max_size=8).map("".join)
cuts = st.lists(st.integers(0, 500), max_size=12)


@given(talkative, cuts)
def test_any_split_of_any_text_gives_the_text_back(text: str, places: list[int]) -> None:
    """Also where beginnings of the in-band error, or the whole of it, stand in the text."""
    given, error = read(reply(), split(text.encode(), places))
    if text.endswith(ERROR):
        assert isinstance(error, StreamInterruptedError)
        assert "".join(given) == text[: -len(ERROR)]
    elif text:
        assert error is None
        assert "".join(given) == text
    else:
        assert isinstance(error, EmptyReplyError)
        assert not given


@given(st.binary(max_size=60) | st.text(max_size=20).map(str.encode), cuts)
def test_invalid_bytes_become_what_the_whole_body_would(body: bytes, places: list[int]) -> None:
    given, error = read(reply(in_band_errors=()), split(body, places))
    assert "".join(given) == body.decode("utf-8", "replace")
    assert (error is None) == bool(body)


overlapping = st.lists(st.text("ab", min_size=1, max_size=5), max_size=4).map(tuple)


@given(st.text("abc", max_size=20), overlapping, cuts)
def test_held_back_only_while_it_may_be_an_error(text: str, in_band_errors: tuple[str, ...], places: list[int]) -> None:
    reader = reply(in_band_errors=in_band_errors)
    arrived = given = ""
    for chunk in split(text.encode(), places):
        arrived += chunk.decode()
        given += reader.feed(chunk)
        tails = [arrived[at:] for at in range(len(arrived))]
        held = next((tail for tail in tails if any(error.startswith(tail) for error in in_band_errors)), "")
        assert given + held == arrived
    ending = max((error for error in in_band_errors if text.endswith(error)), key=len, default=None)
    try:
        given += reader.finish()
    except StreamInterruptedError as error:
        given += reader.flush(error)
        assert ending is not None
        assert repr(ending) in str(error)
        assert given == text[: -len(ending)]
        assert ("blocked the prompt" in str(error)) == (not given)
    except EmptyReplyError:
        assert not text
    else:
        assert ending is None
        assert given == text


@given(talkative, cuts)
def test_nothing_given_out_is_half_a_character(text: str, places: list[int]) -> None:
    given, _ = read(reply(), split(text.encode(), places))
    assert all(text.isascii() or "\ufffd" not in piece or "\ufffd" in text for piece in given)
    assert all(given)


def test_the_error_in_mid_sentence_is_text() -> None:
    text = f"The words {ERROR} mean that it failed. {ERROR}!"
    assert read(reply(), [text.encode()]) == ([text], None)
    assert read(reply(), [ERROR.encode(), b"\n"]) == ([f"{ERROR}\n"], None)


def test_twice_the_error_is_one_error_and_text() -> None:
    given, error = read(reply(), [ERROR.encode() * 2])
    assert given == [ERROR]
    assert isinstance(error, StreamInterruptedError)


def test_only_the_last_incomplete_character_is_waited_for() -> None:
    reader = reply()
    assert reader.feed("é".encode()[:1]) == ""
    assert reader.feed("é".encode()[1:] + b"Int") == "é"
    assert reader.feed(b"o the unknown") == "Into the unknown"
    assert reader.feed("🎉".encode()[:3]) == ""
    assert reader.finish() == "\ufffd"


def test_a_byte_order_mark_is_text() -> None:
    assert read(reply(), ["\ufeffhi".encode()]) == (["\ufeffhi"], None)


# --- Empty, cut and too large ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [[], [b""], [b"", b""]])
def test_no_text_is_no_reply(chunks: list[bytes]) -> None:
    given, error = read(reply(), chunks)
    assert not given
    assert type(error) is EmptyReplyError
    assert "ask again" in str(error)


@pytest.mark.parametrize("before", [b"text ", b""])
def test_a_cut_behind_an_in_band_error_is_that_error(before: bytes) -> None:
    reader = reply()
    assert reader.feed(before + ERROR.encode()) == before.decode()
    cut = StreamInterruptedError("cut")
    assert reader.flush(cut) == ""
    assert cut.in_band
    assert ("blocked the prompt" if not before else "half way") in str(cut)


@pytest.mark.parametrize("error", [RequestTimeoutError("late", "idle"), closed_by_caller(), ReplyTooLargeError("x")])
def test_the_words_are_text_where_the_body_did_not_end_behind_them(error: AIChatFreeError) -> None:
    reader = reply()
    assert reader.feed(b"text " + ERROR.encode()) == "text "
    assert reader.flush(error) == ERROR
    assert not getattr(error, "in_band", False)


@pytest.mark.parametrize("held", [ERROR, ERROR[:5], "I"])
def test_a_body_that_breaks_off_gives_out_what_was_held(held: str) -> None:
    reader = reply()
    assert reader.feed(b"text " + held.encode() + "é".encode()[:1]) == "text "
    cut = StreamInterruptedError("cut")
    assert reader.flush(cut) == held
    assert reader.flush(cut) == ""


@given(talkative.filter(bool), st.integers(1, 30), cuts)
def test_a_reply_too_large(text: str, room: int, places: list[int]) -> None:
    body = text.encode()
    reader = reply(max_bytes=room)
    given, error = read(reader, split(body, places))
    if len(body) <= room:
        assert not isinstance(error, ReplyTooLargeError)
        assert reader.bytes_received == len(body)
    else:
        assert type(error) is ReplyTooLargeError
        assert f"larger than {room} bytes: raise max_reply_bytes" in str(error)
        assert "".join(given) == codecs.getincrementaldecoder("utf-8")("replace").decode(body[:room])


def test_bytes_are_counted_decoded() -> None:
    reader = reply()
    reader.feed("你好".encode())
    assert reader.bytes_received == 6


# --- Web pages ------------------------------------------------------------------------------------------------------

PAGES = ["<!DOCTYPE html><p>Hi", "<html>", "\ufeff \r\n\t<!doctype HTML>", "<HTML lang=en>"]


def web_page(body: bytes) -> APIError:
    return APIError("HTTP 200 (a web page)", status_code=200, body=body.decode())


@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_is_no_reply(page: str) -> None:
    body = page.encode()
    for pieces in ([body], [bytes([byte]) for byte in body]):
        given, error = read(reply(page=web_page), pieces)
        assert not given
        assert type(error) is APIError
        assert error.body == page


def test_a_web_page_is_read_to_its_end_or_to_a_limit() -> None:
    """However it is split: what it is called, stands behind its beginning."""
    body = b"<html>" + b"x" * 100_000
    for size in (10, 5000, len(body)):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        for most, kept in ((10**6, 65_536), (10_000, 10_000)):
            reader = reply(most, page=web_page)
            _, error = read(reader, pieces)
            assert isinstance(error, APIError)
            assert error.body == body[:kept].decode()
            assert reader.bytes_received == 0


def test_a_web_page_that_broke_off_is_one() -> None:
    reader = reply(page=web_page)
    assert reader.feed(b"<html>") == ""
    with pytest.raises(APIError, match="web page"):
        reader.flush(StreamInterruptedError("cut"))


NO_PAGES = ["<!doct", "<htm", " ", "<p>no page</p>", "Use <html> as the root.", "<!doctype htmx"]


@pytest.mark.parametrize("page", NO_PAGES)
def test_what_only_looks_like_a_web_page(page: str) -> None:
    body = page.encode()
    for pieces in ([body], [bytes([byte]) for byte in body]):
        given, error = read(reply(page=web_page), pieces)
        assert "".join(given) == page
        assert error is None


def test_the_opening_of_a_page_that_broke_off_is_given_out() -> None:
    reader = reply(page=web_page)
    assert reader.feed(b"<ht") == ""
    assert reader.flush(StreamInterruptedError("cut")) == "<ht"


def test_white_space_without_an_end_is_not_held_back_for_ever() -> None:
    reader = reply(page=web_page)
    assert reader.feed(b" " * 4000) == ""
    assert reader.feed(b"\n" * 1000) == " " * 4000 + "\n" * 1000
    assert reader.feed(b"<html>") == "<html>"


def test_an_in_band_error_behind_a_held_opening() -> None:
    given, error = read(reply(page=web_page, in_band_errors=("<ht",)), [b"<ht"])
    assert not given
    assert isinstance(error, StreamInterruptedError)


@given(talkative, cuts)
def test_sniffing_loses_nothing(text: str, places: list[int]) -> None:
    expected = read(reply(), [text.encode()])
    given, error = read(reply(page=web_page), split(text.encode(), places))
    assert "".join(given) == "".join(expected[0])
    assert type(error) is type(expected[1])


# --- Answers that are no reply --------------------------------------------------------------------------------------


def make_error(body: bytes) -> APIError:
    return ServerError("HTTP 500", status_code=500, body=body.decode("utf-8", "replace"))


def test_a_failures_body_is_read_to_its_end() -> None:
    reader = FailureReader(make_error)
    assert reader.feed(b"a") == reader.feed(b"b") == ""
    with pytest.raises(ServerError) as caught:
        reader.finish()
    assert caught.value.body == "ab"
    assert reader.flush(caught.value) == ""


@pytest.mark.parametrize("size", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES])
def test_a_failures_body_is_read_only_so_far(size: int) -> None:
    reader = FailureReader(make_error)
    reader.feed(b"x" * (MAX_BODY_BYTES - 1))
    with pytest.raises(ServerError) as caught:
        reader.feed(b"y" * (size - MAX_BODY_BYTES + 1))
    assert len(caught.value.body) == MAX_BODY_BYTES


def test_a_failures_body_that_breaks_off_changes_nothing_about_it() -> None:
    reader = FailureReader(make_error)
    reader.feed(b"half")
    cut = StreamInterruptedError("cut")
    with pytest.raises(ServerError) as caught:
        reader.flush(cut)
    assert caught.value.body == "half"
    assert caught.value.__cause__ is cut


@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        (recorded("auth_ok").body, True),
        (recorded("auth_wrong").body, False),
        (b' {"code": 0, "more": []}\n', True),
        (b'{"code":1}', False),
        (b'{"code":-0}', True),
    ],
)
def test_the_password_check(body: bytes, accepted: bool) -> None:
    reader = AuthReader(make_error)
    assert reader.accepted is False
    assert read(reader, [body[:3], body[3:]]) == ([], None)
    assert reader.accepted is accepted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"0",
        b"null",
        b'{"code":"0"}',
        b'{"code":null}',
        b'{"code":0.0}',
        b'{"code":[0]}',
        b'{"code":0',
        b"<html>",
        b"\xff\xfe",
        b"[" * 60000,
        json.dumps({"error": {"message": "x"}}).encode(),
    ],
)
def test_what_is_no_answer_of_the_password_check(body: bytes) -> None:
    reader = AuthReader(make_error)
    given, error = read(reader, [body])
    assert not given
    assert type(error) is ServerError
    assert not reader.accepted


def test_the_password_checks_answer_has_a_limit() -> None:
    with pytest.raises(ServerError):
        AuthReader(make_error).feed(b" " * MAX_BODY_BYTES)


@given(st.binary(max_size=100))
def test_no_answer_of_the_password_check_crashes(body: bytes) -> None:
    reader = AuthReader(make_error)
    _, error = read(reader, [body])
    assert error is None or type(error) is ServerError
