"""Recorded requests: what they tell, and what they do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from aichatfree.server.protocol import signature
from aichatfree.testing import Headers, RecordedRequest

from .raw import environment

SIGN = signature(1, "ab", "SECRETKEY")
BODY = json.dumps(
    {
        "messages": [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}],
        "time": 1,
        "pass": "PASSWORD",
        "sign": SIGN,
    }
).encode()
HEADERS = Headers(
    [
        ("Host", "x"),
        ("Authorization", "Bearer PASSWORD"),
        ("Proxy-Authorization", "Basic PASSWORD"),
        ("Cookie", "id=PASSWORD"),
        ("X-Api-Key", "PASSWORD"),
        ("Accept", "a"),
        ("accept", "b"),
    ]
)


def recorded(body: bytes = BODY) -> RecordedRequest:
    return RecordedRequest("POST", "/api/generate", HEADERS, body, 3, "SECRETKEY")


def test_what_it_tells() -> None:
    request = recorded()
    assert request.json["pass"] == "PASSWORD"
    assert request.json["sign"] == SIGN
    assert json.dumps(request.json).encode() == BODY
    assert request.prompt == "ab"
    assert request.contents[0]["role"] == "user"
    assert request.body == BODY
    assert request.signature_valid is True
    assert request.headers["AUTHORIZATION"] == "Bearer PASSWORD"
    assert request.headers["authorization"].split(" ") == ["Bearer", "PASSWORD"]
    assert repr(request) == f"<POST /api/generate 'ab', {len(BODY)} bytes on connection 3>"


def test_headers() -> None:
    assert HEADERS.get_all("ACCEPT") == ["a", "b"]
    assert HEADERS["accept"] == "a"
    assert HEADERS.get("nope") is None
    assert "host" in HEADERS
    assert "Host" in HEADERS
    assert len(HEADERS) == 6
    assert list(HEADERS)[:2] == ["host", "authorization"]
    with pytest.raises(KeyError):
        HEADERS["nope"]


@pytest.mark.parametrize("shown", [recorded(), recorded().json, recorded().headers, recorded().body, [recorded()]])
def test_no_repr_shows_a_secret(shown: object) -> None:
    for text in (repr(shown), repr([shown]), f"{shown!r}"):
        assert "PASSWORD" not in text
        assert SIGN not in text
        assert "SECRETKEY" not in text


@pytest.mark.parametrize(
    "body", [b"", b"{nope", b"[]", b'{"messages": []}', b'{"messages": [{"parts": [{}]}]}', b"\xff"]
)
def test_a_repr_never_fails(body: bytes) -> None:
    assert repr(recorded(body)) == f"<POST /api/generate, {len(body)} bytes on connection 3>"


def test_long_prompts_are_shortened() -> None:
    request = recorded(json.dumps({"messages": [{"parts": [{"text": "x" * 1000}]}]}).encode())
    assert len(repr(request)) < 150


def test_json_of_something_else_is_an_error() -> None:
    with pytest.raises(ValueError):
        _ = recorded(b"{nope").json


FAILING = """
import json
from tests_recorded import BODY, HEADERS, recorded

def test_json(): assert recorded().json == {"pass": "x", "sign": "y"}
def test_pass(): assert recorded().json["pass"] == "x"
def test_pass_in_text(): assert recorded().json["pass"] == "PASSWOR" + "E"
def test_sign(): assert recorded().json["sign"] == "x"
def test_sign_nearly(): assert recorded().json["sign"] == recorded().json["sign"][:-1] + "x"
def test_body(): assert recorded().body == b"x"
def test_body_length(): assert len(recorded().body) == 0
def test_header(): assert recorded().headers["authorization"] == "x"
def test_headers(): assert dict(recorded().headers) == {"host": "x"}
def test_requests(): assert [recorded(), recorded()] == []
def test_signature(): assert not recorded().signature_valid
def test_contents(): assert recorded().contents == []
"""


@pytest.mark.parametrize("options", [[], ["-vv", "--showlocals"]])
def test_failed_assertions_show_no_secret(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "tests_recorded.py").write_text(
        Path(__file__).read_text().replace("from .raw", "from tests.testing.raw")
    )
    (tmp_path / "test_failing.py").write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", *options, "test_failing.py"]
    env = {**environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take longer to load than all the rest
    # The lines of the test itself are shown, and hold what its author wrote there.
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=env)
    assert "12 failed" in result.stdout, result.stdout
    assert "'***'" in result.stdout
    for secret in ("PASSWORD", SIGN, "SECRETKEY"):
        assert secret not in result.stdout
