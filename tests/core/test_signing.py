"""Signatures the server accepts, and the server's clock."""

from __future__ import annotations

import datetime
import string

import pytest
from core_kit import RECORDED_AT, SIGNED, Clock, recorded, sent
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.wire.signing import (
    CLEAR_SKEW_SECONDS,
    Signature,
    Signer,
    generate_signature,
    parse_http_date,
    well_formed,
)
from aichatfree.errors import InvalidRequestError

any_text = st.text(st.characters())  # with lone surrogates

# Made with Node, as the server signs: createHash("sha256").update(`${time}:${text}:${secret}`, "utf8").digest("hex").
JAVASCRIPT_VECTORS = [
    (1764000000000, "", "", "a44239add4a8c745753e905a2c8d8f8cc6d9905925354ac55740ea902c56fa94"),
    (1764000000000, "hello", "", "011c53805dc4a1abc32e8fc0067f5f0a479b153a26bf1efdac9b5b95261c39f8"),
    (0, "x", "y", "439385cef9cd254cbd3dc2aff8c888b0a428b68163c623a02f4645488051ffbe"),
    (-1, "before 1970", "k", "9b832e167aaa8af9faa7ac7335e506950f09d92af1d007d92d27e7cc92004907"),
    (1764000000000, "你好，世界 — 🎉", "s3cret", "bfcbf81141d9fac1ccc165e0451f9db086e3f992e29a23e8ac297fd55619674b"),
    (1764000000000, "a:b:c", "d:e", "0f3bf4ce1eba952a8f97d161f084b1c6ff72a31d4f821e94362754210f6a841d"),
    (1764000000000, "e\u0301 é \ufeff", "s3cret", "6c0a63351fb0b6124d8b4004cd3bfcbb86457d909b453fa01284469e36bf28da"),
    (
        9007199254740991,
        "line\r\n\ttab\u0000nul\u2028",
        "пароль",
        "b410d2d4827c46d410e15c6f3a599916068b209e9667bf01ac46ca555facaf70",
    ),
    # Lone surrogates: each becomes U+FFFD; a pair becomes one character.
    (1764000000000, "\ud83d", "", "5743193e355df6d5709938ac87c84e518d75374be959281d0ef4b01aa5db67b5"),
    (1764000000000, "a\ude00b", "", "deba591144f13acbdde47718ae27974a6a94a90cae5214b21058560c1957af0f"),
    (1764000000000, "\ude00\ud83d", "s", "346d4dec045badfca9ec59eb3d750cfdce6e4e23b6e21dae4cd4c6d0168a4413"),
    (1764000000000, "\ud83d\ude00", "s", "16c7d7f7a13a30ab3324f25459a0361a5a98326250db07707c1c5d839594750d"),
    (1764000000000, "\U0001f600", "s", "16c7d7f7a13a30ab3324f25459a0361a5a98326250db07707c1c5d839594750d"),
    (
        1764000000000,
        "\ud83d\ud83d\ude00\ude00",
        "s",
        "95c5a9d9329e7e1a2b9fecce75dfcf969e4484a5d788daba197399d634b52cf3",
    ),
    (1764000000000, "x", "\udfff", "c93b0576d6670b1ea3f096214bb0fa5a44c0874399a10910a6f3da964cea9a31"),
    # Several parts, joined with nothing between them.
    (
        1764000000000,
        "one part, " + "another " + "and a third",
        "s3cret",
        "734922224bbd4c1a824d32db8960bd0e87d75969f08f84f9273cc67e9a3d7976",
    ),
]


@pytest.mark.parametrize("name", SIGNED)
def test_recorded_signatures(name: str) -> None:
    body = sent(name)
    text = "".join(part["text"] for part in body["messages"][-1]["parts"])
    secret = "x" if name == "wrong_signature" else "s3cret"
    assert generate_signature(body["time"], text, secret) == body["sign"]
    assert Signer(secret, lambda: RECORDED_AT).sign(text) == Signature(body["time"], body["sign"])


@pytest.mark.parametrize(("time", "text", "secret", "sign"), JAVASCRIPT_VECTORS)
def test_javascript_signs_alike(time: int, text: str, secret: str, sign: str) -> None:
    assert generate_signature(time, text, secret) == sign


def test_no_secret_is_the_empty_secret() -> None:
    assert generate_signature(1, "x") == generate_signature(1, "x", "")


@pytest.mark.parametrize("time", [1.0, 1764000000000.0, float("nan"), True, False, "1764000000000", None])
def test_time_must_be_an_integer(time: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"time must be an int of milliseconds.*use int\(\.\.\.\)"):
        generate_signature(time, "x")  # type: ignore[arg-type]


@given(any_text)
def test_well_formed_is_what_a_browser_sends(text: str) -> None:
    """Against the definition: UTF-16 code units, of which those that are no half of a pair become U+FFFD."""
    units = []
    for character in text:
        code = ord(character)
        units += [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]
    expected, at = "", 0
    while at < len(units):
        unit, low = units[at], units[at + 1] if at + 1 < len(units) else 0
        if 0xD800 <= unit < 0xDC00 and 0xDC00 <= low < 0xE000:
            expected += chr(0x10000 + (unit - 0xD800 << 10) + low - 0xDC00)
            at += 1
        else:
            expected += "\ufffd" if 0xD800 <= unit < 0xE000 else chr(unit)
        at += 1
    assert well_formed(text) == expected
    expected.encode()


@given(st.text())
def test_well_formed_text_is_left_alone(text: str) -> None:
    assert well_formed(text) == text


@given(st.integers(), any_text, any_text)
def test_every_text_can_be_signed(time: int, text: str, secret: str) -> None:
    sign = generate_signature(time, text, secret)
    assert len(sign) == 64
    assert set(sign) <= set(string.hexdigits.lower())


def test_each_signature_is_made_for_its_moment() -> None:
    clock = Clock(1.0004)
    signer = Signer("s", clock)
    assert signer.sign("x").time == 1000
    clock.now = 2.9999
    assert signer.sign("x") == (2999, generate_signature(2999, "x", "s"))


def http_date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize("skew", [CLEAR_SKEW_SECONDS, -CLEAR_SKEW_SECONDS, 301.0, -86400.0, 1e9])
def test_learns_a_clock_that_clearly_differs(skew: float) -> None:
    signer = Signer("", lambda: 1000000000.0)
    date = http_date(1000000000.0 + skew)
    assert signer.skew(date) == skew
    assert signer.learn(date)
    assert signer.offset_seconds == skew
    assert signer.sign("x").time == int((1000000000 + skew) * 1000)
    assert not signer.learn(date), "there is nothing more to learn, so another try would be refused again"
    assert signer.learn(http_date(1000000000)), "the server's clock was set right"
    assert signer.offset_seconds == 0


@pytest.mark.parametrize("date", [None, "", "tomorrow", http_date(1000000014), http_date(999999986)])
def test_learns_nothing_from_a_date_that_explains_nothing(date: str | None) -> None:
    signer = Signer("", lambda: 1000000000.0)
    assert not signer.learn(date)
    assert signer.offset_seconds == 0


def test_no_date_no_skew() -> None:
    assert Signer("", lambda: 0.0).skew(None) is None


def test_the_recordings_date() -> None:
    assert parse_http_date(recorded("ok").headers["date"]) == 1795423854


@pytest.mark.parametrize(
    "date",
    [
        "0",
        "-5",
        ":",
        ", ,",
        "5, 5",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 10000 08:49:37 GMT",
        "Sun, 06 Nov 1994 99:99:99 GMT",
        "Sun, 06 Nov 1994 08:49:37 +9999",
        f"Sun, 06 Nov {'9' * 5000} 08:49:37 GMT",
        "Sun, " * 1000,
    ],
)
def test_what_is_no_date(date: str) -> None:
    assert parse_http_date(date) is None


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(alphabet="MonSuFebGT0123456789:,+- ", max_size=60),
        st.from_regex(r"[A-Z][a-z]{2}, \d{1,5} (Jan|Feb|Nov) -?\d{1,6} \d{1,3}:\d{1,3}(:\d{1,3})? [A-Z+-]?\d{0,5}"),
    )
)
def test_no_date_crashes(date: str) -> None:
    assert isinstance(parse_http_date(date), (float, type(None)))


@given(st.integers(0, 253402300799))
def test_every_http_date_is_read(seconds: int) -> None:
    # strftime does not fill years before 1000 with zeros everywhere; from 1970 on there are none.
    assert parse_http_date(http_date(seconds)) == seconds
