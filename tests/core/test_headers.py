"""Headers: looked up in any case, joined where repeated, their credentials never shown."""

from __future__ import annotations

import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.wire.headers import Headers, is_secret_header

names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
pairs = st.lists(st.tuples(names, values), max_size=8)


def test_any_case() -> None:
    headers = Headers([("Content-Type", "text/plain"), ("DATE", "today")])
    assert headers["content-type"] == headers["CONTENT-TYPE"] == "text/plain"
    assert headers.get("Date") == "today"
    assert "date" in headers
    assert "DaTe" in headers
    assert "etag" not in headers
    assert headers.get("etag") is None
    with pytest.raises(KeyError):
        headers["etag"]


def test_repeated_names_are_joined_in_order() -> None:
    headers = Headers([("Via", "a"), ("Server", "s"), ("VIA", "b"), ("via", "")])
    assert headers["via"] == "a, b, "
    assert list(headers) == ["via", "server"]
    assert len(headers) == 2


def test_none() -> None:
    assert not Headers()
    assert dict(Headers()) == {}


@given(pairs)
def test_nothing_is_lost(given_pairs: list[tuple[str, str]]) -> None:
    headers = Headers(iter(given_pairs))
    assert set(headers) == {name.lower() for name, _ in given_pairs}
    for name in headers:
        expected = ", ".join(value for other, value in given_pairs if other.lower() == name)
        assert headers[name] == headers[name.upper()] == expected
    restored = pickle.loads(pickle.dumps(headers))
    assert isinstance(restored, Headers)
    assert restored == headers
    assert repr(restored) == repr(headers)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "set-cookie",
        "X-Auth-Token",
        "X-Api-Key",
        "apikey",
        "Client-Secret",
        "X-PASSWORD",
    ],
)
def test_credentials_are_not_shown(name: str) -> None:
    assert is_secret_header(name)
    headers = Headers([(name, "hunter2"), ("Server", "nginx")])
    assert headers[name] == "hunter2"
    for shown in (repr(headers), str(headers), f"{headers}"):
        assert "hunter2" not in shown
        assert "nginx" in shown


@pytest.mark.parametrize("name", ["Date", "Content-Type", "Server", "Retry-After", "Location"])
def test_the_rest_is_shown(name: str) -> None:
    assert not is_secret_header(name)
