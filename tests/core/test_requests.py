"""One request: what the recorded server was sent, to the letter, and the headers of a browser."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest
from core_kit import INDEX, RECORDED_AT, SIGNED, sent, settings
from hypothesis import given
from hypothesis import strategies as st

import aichatfree
from aichatfree._core.version import version
from aichatfree._core.wire.messages import as_given, dump_contents, to_contents
from aichatfree._core.wire.requests import Request, RequestBuilder
from aichatfree._core.wire.signing import Signer, generate_signature, well_formed


def builder(**given_settings: Any) -> RequestBuilder:
    chosen = settings(**given_settings)
    return RequestBuilder(chosen, Signer(chosen.secret, lambda: RECORDED_AT), f"aichatfree/{aichatfree.__version__}")


def build(messages: Any = "hello", url: str | None = None, **given_settings: Any) -> Request:
    contents = as_given(messages)
    return builder(**given_settings).generate(dump_contents(contents), contents[-1].text, url)


@pytest.mark.parametrize("name", SIGNED)
def test_what_was_recorded(name: str) -> None:
    body = sent(name)
    secret = "x" if name == "wrong_signature" else "s3cret"
    request = build(body["messages"], secret=secret, password=body["pass"])
    assert json.loads(request.body) == body
    assert list(json.loads(request.body)) == ["messages", "time", "pass", "sign"]
    assert request.method == "POST"
    assert request.url == "http://h:3000" + INDEX[name]["path"]


@pytest.mark.parametrize("name", ["auth_ok", "auth_wrong"])
def test_what_was_recorded_of_the_password_check(name: str) -> None:
    request = builder().auth(sent(name)["pass"])
    assert json.loads(request.body) == sent(name)
    assert (request.method, request.url) == ("POST", "http://h:3000" + INDEX[name]["path"])


def test_the_password_check_asks_about_the_clients_own_password() -> None:
    assert json.loads(builder(password="pw").auth(None).body) == {"pass": "pw"}
    assert json.loads(builder().auth(None).body) == {"pass": None}
    assert json.loads(builder(password="pw").auth("").body) == {"pass": ""}


def test_no_password_is_null_and_the_time_is_an_integer() -> None:
    body = build().body
    assert b'"pass":null' in body
    assert b'"time":1764000000000,' in body


any_text = st.text(st.characters())


@given(any_text, any_text, any_text)
def test_every_text_goes_out_as_it_was_signed(text: str, secret: str, password: str) -> None:
    contents = to_contents(text or "x")
    chosen = settings(secret=secret, password=password)
    request = RequestBuilder(chosen, Signer(secret, lambda: 1.0), "test").generate(
        dump_contents(contents), contents[0].text
    )
    body = json.loads(request.body.decode())
    joined = "".join(part["text"] for part in body["messages"][-1]["parts"])
    assert joined == well_formed(text or "x")
    assert body["sign"] == generate_signature(body["time"], joined, secret)
    assert body["pass"] == (well_formed(password) or None)


def test_text_is_not_escaped_to_ascii() -> None:
    assert "你好".encode() in build("你好").body


def test_default_headers() -> None:
    assert build().headers == {
        "User-Agent": f"aichatfree/{version()}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": "text/plain;charset=UTF-8",
        "Origin": "http://h:3000",
        "Referer": "http://h:3000/",
    }


def test_own_headers_add_and_override_in_any_case() -> None:
    headers = build(headers={"user-agent": "mine", "ORIGIN": "http://other", "X-Extra": "1"}).headers
    assert headers["user-agent"] == "mine"
    assert headers["ORIGIN"] == "http://other"
    assert headers["X-Extra"] == "1"
    lowered = [name.lower() for name in headers]
    assert len(lowered) == len(set(lowered)) == 7


def test_the_base_url_may_have_a_path() -> None:
    request = build(base_url="http://h:3000/chat/")
    assert request.url == "http://h:3000/chat/api/generate"
    assert (request.headers["Origin"], request.headers["Referer"]) == ("http://h:3000", "http://h:3000/")
    assert builder(base_url="http://h:3000/chat").auth(None).url == "http://h:3000/chat/api/auth"


def test_a_followed_redirect_has_the_headers_of_its_own_origin() -> None:
    target = "https://h/api/generate"
    for request in (build(url=target, headers={"X-Extra": "1"}), builder().auth(None, target)):
        assert request.url == target
        assert (request.headers["Origin"], request.headers["Referer"]) == ("https://h", "https://h/")
    assert builder(headers={"X-Extra": "1"}).auth(None, target).headers["X-Extra"] == "1"


def test_secrets_are_named_and_not_shown() -> None:
    request = build(password="hunter2", secret="s3cret", headers={"Authorization": "Bearer tok"})
    sign = json.loads(request.body)["sign"]
    assert {"hunter2", "s3cret", "Bearer tok", sign} <= set(request.secrets)
    checked = builder(password="hunter2").auth("another")
    assert {"hunter2", "another"} <= set(checked.secrets)
    shown = repr(request) + repr(checked)
    for secret in ("hunter2", "s3cret", "tok", sign, "another"):
        assert secret not in shown


def test_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    try:
        for look_up, expected in ((lambda name: f"9.9 of {name}", "9.9 of aichatfree"), (missing, "0")):
            version.cache_clear()
            monkeypatch.setattr(metadata, "version", look_up)
            assert version() == expected
    finally:
        version.cache_clear()
