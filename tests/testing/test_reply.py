"""The ready-made replies, and combinations that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aichatfree.testing import BrokenChunk, BrokenEncoding, Drop, Pause, Repeat, Reply, Stall, WrongLength

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"


def recorded_body(name: str) -> str:
    raw = (RECORDINGS / f"{name}.http").read_bytes().decode().partition("\r\n\r\n")[2]
    return raw.split("\r\n")[1]


@pytest.mark.parametrize(
    ("reply", "status", "name"),
    [
        (Reply.quota(retry_in=None), 500, "quota_exceeded"),
        (Reply.overloaded(), 500, "upstream_overloaded"),
        (Reply.wrong_password(), 401, "wrong_password"),
        (Reply.wrong_signature(), 401, "wrong_signature"),
        (
            Reply.upstream_error("[400 Bad Request] API key not valid. Please pass a valid API key."),
            500,
            "upstream_key_invalid",
        ),
        (Reply.error(500, "User location is not supported for the API use.", "Error"), 500, "location_not_supported"),
    ],
)
def test_errors_are_as_recorded(reply: Reply, status: int, name: str) -> None:
    assert reply.status == status
    assert reply.text == recorded_body(name)


def test_quota_names_the_wait() -> None:
    assert "Please retry in 58.8s." in json.loads(Reply.quota().text)["error"]["message"]


def test_wrong_signature_can_be_skewed() -> None:
    assert Reply.wrong_signature(skew_seconds=-600).clock_offset_seconds == -600


@pytest.mark.parametrize(
    ("reply", "pieces"),
    [
        (Reply.in_band_error(), ["Internal server error"]),
        (Reply.in_band_error("a", "b"), ["a", "b", "Internal server error"]),
        (Reply.in_band_error("a", "b", glued=True), ["a", "bInternal server error"]),
        (Reply.in_band_error(b"a", glued=True), [b"aInternal server error"]),
        (Reply.in_band_error("a", split=True), ["a", "Internal s", "erver error"]),
        (Reply.in_band_error("a", glued=True, split=True), ["aInternal s", "erver error"]),
        (Reply.in_band_error("a", Pause(1), glued=True), ["a", Pause(1), "Internal server error"]),
        (Reply.in_band_error(glued=True), ["Internal server error"]),
    ],
)
def test_in_band_errors(reply: Reply, pieces: list[Any]) -> None:
    assert list(reply.iter_pieces()) == pieces
    assert reply.status == 200


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (504, "vercel", "FUNCTION_INVOCATION_TIMEOUT"),
        (500, "vercel", "FUNCTION_INVOCATION_FAILED"),
        (502, "cloudflare", "<title>example.com | 502: Bad Gateway</title>"),
        (524, "cloudflare", "524: A timeout occurred"),
        (504, "netlify", "<TITLE>Inactivity Timeout</TITLE>"),
        (502, "nginx", "<h1>502 Bad Gateway</h1>"),
    ],
)
def test_pages_of_platforms(status: int, kind: Any, text: str) -> None:
    reply = Reply.html(status, kind, headers={"Retry-After": "3"})
    assert reply.status == status
    assert text in reply.text
    assert ("Retry-After", "3") in reply.fields
    assert "content-type" in dict(reply.fields)


def test_an_unknown_platform_is_refused() -> None:
    with pytest.raises(ValueError, match="no page of 'geocities'"):
        Reply.html(502, "geocities")  # type: ignore[arg-type]


def test_redirect() -> None:
    reply = Reply.redirect("/there", status=308, headers={"X": "1"})
    assert (reply.status, reply.fields) == (308, (("Location", "/there"), ("X", "1")))


def test_options_are_passed_on() -> None:
    reply = Reply.overloaded(headers={"Retry-After": "2"}, framing="content-length")
    assert reply.fields == (("Retry-After", "2"),)
    assert reply.framing == "content-length"


def test_text_is_what_a_client_should_have_read() -> None:
    assert Reply(["a", Pause(1), b"\xff", "你".encode()[:1], "你".encode()[1:]]).text == "a\ufffd你"


def test_an_endless_reply_has_no_whole_text() -> None:
    with pytest.raises(ValueError, match="no whole text"):
        _ = Reply.endless().text
    assert Reply(Repeat("ab", 3)).text == "ababab"


@pytest.mark.parametrize("pieces", [[1], ["a", None], Repeat(7)])  # type: ignore[arg-type]
def test_what_is_no_piece_is_refused(pieces: Any) -> None:
    with pytest.raises(TypeError, match="a piece of a reply is"):
        Reply(pieces)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"split": 0}, "at least 1"),
        ({"pieces": Repeat("a"), "framing": "content-length"}, "endless"),
        ({"framing": "content-length", "fault": Stall("in-body", 1)}, "put a Pause"),
        ({"framing": "content-length", "fault": BrokenChunk()}, "needs framing='chunked'"),
        ({"framing": "until-close", "fault": Drop("in-chunk")}, "needs framing='chunked'"),
        ({"fault": WrongLength()}, "needs framing='content-length'"),
        ({"fault": BrokenEncoding()}, "needs an encoding"),
    ],
)
def test_what_makes_no_sense_is_refused(options: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Reply(**options)
