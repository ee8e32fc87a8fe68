"""The judge against the recordings of the real server, and against JavaScript's corner cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aichatfree.server import protocol
from aichatfree.server.protocol import judge, judge_auth, passwords_of, signature, to_utf8, upstream_error

RECORDINGS = Path(__file__).parent.parent / "data" / "recordings"
INDEX: dict[str, dict[str, str]] = json.loads((RECORDINGS / "index.json").read_text())["recordings"]
PASSWORDS = passwords_of("pw1,pw2")
UPSTREAM_ANSWERED = {"quota_exceeded", "location_not_supported", "upstream_key_invalid", "upstream_overloaded"}
REPLIED = {"ok", "cut_mid_reply", "blocked_mid_reply", "blocked_prompt"}


def recorded(name: str) -> tuple[int, str, str | None, bytes]:
    """Status, reason, content type and body of a recording."""
    head, _, rest = (RECORDINGS / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    types = [field.partition(": ")[2] for field in fields if field.startswith("content-type")]
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    _, status, reason = first.split(" ", 2)
    return int(status), reason, types[0] if types else None, body


def signed(time: Any, messages: Any, secret: str = "", **more: Any) -> bytes:
    text = "".join(part["text"] for part in messages[-1]["parts"])
    sign = signature(time, text, secret)
    return json.dumps({"messages": messages, "time": time, "sign": sign, **more}).encode()


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text} for text in texts]}


@pytest.mark.parametrize("name", sorted(set(INDEX) - UPSTREAM_ANSWERED - REPLIED - {"unknown_path"}))
def test_judges_as_recorded(name: str) -> None:
    body = INDEX[name]["request"].encode()
    auth = INDEX[name]["path"] == "/api/auth"
    verdict = judge_auth(body, PASSWORDS) if auth else judge(body, secret="s3cret", passwords=PASSWORDS)
    assert (verdict.status, verdict.reason, verdict.content_type, verdict.body) == recorded(name)
    assert verdict.messages is None


@pytest.mark.parametrize("name", sorted(UPSTREAM_ANSWERED | REPLIED))
def test_accepts_what_reached_the_model(name: str) -> None:
    body = INDEX[name]["request"].encode()
    verdict = judge(body, secret="s3cret", passwords=PASSWORDS)
    assert verdict.messages == json.loads(body)["messages"]
    if name in REPLIED:
        assert (verdict.status, verdict.reason, verdict.content_type) == recorded(name)[:3]


def test_unknown_path_as_recorded() -> None:
    verdict = protocol.NOT_FOUND
    assert (verdict.status, verdict.reason, verdict.content_type, verdict.body) == recorded("unknown_path")


URL = "https://generativelanguage.googleapis.com/v1/models/gemini-pro:streamGenerateContent"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "quota_exceeded",
            (
                f"[GoogleGenerativeAI Error]: Error fetching from {URL} [429 Too Many Requests] Quota exceeded for"
                " quota metric 'Generate Content API requests per minute' and limit 'GenerateContent request limit"
                " per minute for a region'"
            ),
        ),
        (
            "upstream_overloaded",
            (
                f"[GoogleGenerativeAI Error]: Error fetching from {URL} [503 Service Unavailable] The model is"
                " overloaded. Please try again later."
            ),
        ),
        (
            "location_not_supported",
            (
                f"[GoogleGenerativeAI Error]: Error fetching from {URL} [400 Bad Request] User location is not"
                " supported for the API use."
            ),
        ),
    ],
)
def test_trims_upstream_errors_as_recorded(name: str, message: str) -> None:
    verdict = upstream_error(message)
    assert (verdict.status, verdict.reason, verdict.content_type, verdict.body) == recorded(name)


def test_every_part_of_the_last_message_is_signed() -> None:
    assert judge(signed(1, [user("a", "b")])).status == 200
    first_only = {"messages": [user("a", "b")], "time": 1, "sign": signature(1, "a")}
    assert judge(json.dumps(first_only).encode()).status == 401


def test_order_of_the_checks() -> None:
    wrong: dict[str, Any] = {"messages": [{"role": "model", "parts": []}], "time": 1, "pass": "x", "sign": "x"}
    passwords = passwords_of("pw")
    assert judge(json.dumps(wrong).encode(), passwords=passwords).status == 400
    wrong["messages"] = [{"role": "user"}]
    assert b"Invalid password" in judge(json.dumps(wrong).encode(), passwords=passwords).body
    wrong["pass"] = "pw"
    assert judge(json.dumps(wrong).encode(), passwords=passwords) == protocol.CRASHED
    wrong["messages"] = [user("a")]
    assert b"Invalid signature" in judge(json.dumps(wrong).encode(), passwords=passwords).body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 500),
        (b"null", 500),
        (b"[]", 400),
        (b"1", 400),
        (b'"text"', 400),
        (b"{}", 400),
        (b'{"messages": []}', 400),
        (b'{"messages": 0}', 400),
        (b'{"messages": ""}', 400),
        (b'{"messages": "user"}', 400),
        (b'{"messages": {}}', 500),
        (b'{"messages": 7}', 500),
        (b'{"messages": [null]}', 500),
        (b'{"messages": ["user"]}', 400),
        (b'{"messages": [{"role": "user", "parts": "text"}]}', 500),
        (b'{"messages": [{"role": "user", "parts": [null]}]}', 500),
        (b'{"messages": [{"role": "user", "parts": []}], "time": NaN}', 500),
        pytest.param(b"[" * 100_000, 500, id="nested deeply"),
        (b'\xef\xbb\xbf{"messages": []}', 400),
    ],
)
def test_strange_bodies_are_judged_as_javascript_would(body: bytes, status: int) -> None:
    verdict = judge(body)
    assert verdict.status == status
    assert bool(verdict.body) == (status == 400)


def test_a_message_without_parts_in_the_history_is_a_type_error() -> None:
    verdict = judge(signed(1, [{"role": "model"}, user("a")]))
    assert (verdict.status, verdict.reason) == (500, "Internal Server Error")
    words = "Cannot read properties of undefined (reading 'map')"
    assert verdict.body.decode() == f'{{"error":{{"code":"TypeError","message":"{words}"}}}}'


@pytest.mark.parametrize(
    ("time", "printed"),
    [
        ("1764000000000", "1764000000000"),
        ("1764000000000.0", "1764000000000"),
        ("1.764e12", "1764000000000"),
        ("1764000000000.5", "1764000000000.5"),
        ("123456789012345678901", "123456789012345680000"),
        ("1e21", "1e+21"),
        ("12345678901234567890123", "1.2345678901234568e+22"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("-0", "0"),
        ("1e400", "Infinity"),
        ("-1e400", "-Infinity"),
        pytest.param("9" * 5000, "Infinity", id="5000 digits"),
        ('"1764000000000"', "1764000000000"),
        ("null", "null"),
        ("true", "true"),
        ("[1, [2, null], 3]", "1,2,,3"),
        ("{}", "[object Object]"),
        (None, "undefined"),
    ],
)
def test_time_is_printed_as_javascript_prints_it(time: str | None, printed: str) -> None:
    field = "" if time is None else f'"time": {time}, '
    body = f'{{{field}"messages": [{json.dumps(user("a"))}], "sign": "{signature(printed, "a")}"}}'
    assert judge(body.encode()).status == 200


@pytest.mark.parametrize("number", [1 << 70, 10**400, -(10**400)], ids=["1<<70", "10**400", "-10**400"])
def test_signature_takes_any_python_int(number: int) -> None:
    assert len(signature(number, "a")) == 64


@pytest.mark.parametrize(
    ("escaped", "text"),
    [("\\ud800", "\ufffd"), ("a\\udc00b", "a\ufffdb"), ("\\ud83d\\ude00", "😀"), ("\\ud83d", "\ufffd")],
)
def test_lone_surrogates_are_signed_as_replacement_characters(escaped: str, text: str) -> None:
    message = f'{{"role": "user", "parts": [{{"text": "{escaped}"}}]}}'
    body = f'{{"messages": [{message}], "time": 1, "sign": "{signature(1, text)}"}}'
    assert judge(body.encode()).status == 200


def test_halves_of_a_pair_in_two_parts_join() -> None:
    assert to_utf8("\ud83d" + "\ude00") == "😀".encode()
    parts = '[{"text": "\\ud83d"}, {"text": "\\ude00"}]'
    body = f'{{"messages": [{{"role": "user", "parts": {parts}}}], "time": 1, "sign": "{signature(1, "😀")}"}}'
    assert judge(body.encode()).status == 200


def test_parts_without_text_count_as_empty_and_others_are_printed() -> None:
    parts = '[{"text": "a"}, {}, {"text": null}, {"text": 5}, 7]'
    body = f'{{"messages": [{{"role": "user", "parts": {parts}}}], "time": 1, "sign": "{signature(1, "a5")}"}}'
    assert judge(body.encode()).status == 200


def test_a_signature_must_match_to_the_letter() -> None:
    body = json.loads(signed(1, [user("a")]))
    body["sign"] = body["sign"].upper()
    assert judge(json.dumps(body).encode()).status == 401


@pytest.mark.parametrize(("skew_ms", "status"), [(0, 200), (299_000, 200), (-299_000, 200), (301_000, 401)])
def test_a_clock_check_answers_with_the_words_of_a_wrong_signature(skew_ms: int, status: int) -> None:
    now = 1764000000000
    verdict = judge(signed(now + skew_ms, [user("a")]), time_limit_seconds=300, now_ms=now)
    assert verdict.status == status
    if status == 401:
        assert verdict.body == b'{"error":{"message":"Invalid signature."}}'


def test_a_time_that_is_no_number_fails_the_clock_check() -> None:
    assert judge(signed("1", [user("a")]), time_limit_seconds=300, now_ms=1).status == 401


@pytest.mark.parametrize(
    ("site", "sent", "right"),
    [
        (None, None, True),
        ("", "x", True),
        ("pw", "pw", True),
        ("pw", None, False),
        ("pw1,pw2", "pw2", True),
        ("pw1,pw2", "pw1,pw2", True),
        ("pw1,pw2", "pw", False),
        (["a,b"], "a", False),
        (["a,b"], "a,b", True),
        ("pw", ["pw"], False),
    ],
)
def test_passwords(site: Any, sent: Any, right: bool) -> None:
    passwords = passwords_of(site)
    body = json.dumps({"pass": sent}).encode()
    assert judge_auth(body, passwords).body == (b'{"code":0}' if right else b'{"code":-1}')
    assert judge(signed(1, [user("a")], **{"pass": sent}), passwords=passwords).status == (200 if right else 401)


def test_auth_of_no_json_is_an_empty_500() -> None:
    assert judge_auth(b"{", PASSWORDS) == protocol.CRASHED


def test_signature_valid() -> None:
    body = signed(1, [user("a")], secret="s")
    assert protocol.signature_valid(body, "s") is True
    assert protocol.signature_valid(body, "x") is False
    for unsigned in (b'{"pass": "x"}', b"", b"null", b'{"sign": "x"}', b'{"sign": "x", "messages": []}'):
        assert protocol.signature_valid(unsigned) is None
