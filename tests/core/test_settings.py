"""What a client is told: read once, checked, and its secrets never shown."""

from __future__ import annotations

import base64
import math
import pickle
import ssl
from pathlib import Path
from typing import Any

import pytest
from core_kit import settings

from aichatfree._core.retry import RetryPolicy
from aichatfree._core.settings import DEFAULT_BASE_URL, IN_BAND_ERRORS, Settings, hide_userinfo, split_userinfo
from aichatfree._core.timeouts import Timeout
from aichatfree.errors import InvalidRequestError

ENVIRONMENT = {
    "AICHATFREE_BASE_URL": "http://env:1",
    "AICHATFREE_SECRET": "env secret",
    "AICHATFREE_PASSWORD": "env password",
}


def test_defaults() -> None:
    chosen = Settings.resolve(environ={})
    assert chosen == Settings()
    assert chosen.base_url == DEFAULT_BASE_URL == "https://aichatfree.info"
    assert (chosen.secret, chosen.password, chosen.proxy, dict(chosen.headers)) == ("", None, None, {})
    assert chosen.timeout == Timeout(connect=10, first_byte=60, idle=60, total=None)
    assert chosen.retry == RetryPolicy() == RetryPolicy(2, 0.5, 8.0, 60.0)
    assert chosen.in_band_errors == IN_BAND_ERRORS == ("Internal server error",)
    assert (chosen.model, chosen.verify, chosen.trust_env) == ("gemini-1.5-pro", True, True)


def test_the_environment_fills_in_what_is_not_given() -> None:
    chosen = Settings.resolve(environ=ENVIRONMENT, base_url=None, secret=None, password=None)
    assert (chosen.base_url, chosen.secret, chosen.password) == ("http://env:1", "env secret", "env password")
    chosen = Settings.resolve(environ=ENVIRONMENT, base_url="http://given", secret="s", password="p")
    assert (chosen.base_url, chosen.secret, chosen.password) == ("http://given", "s", "p")


def test_empty_means_none_whatever_the_environment_says() -> None:
    chosen = Settings.resolve(environ=ENVIRONMENT, secret="", password="")
    assert (chosen.secret, chosen.password) == ("", None)
    assert Settings.resolve(environ=dict.fromkeys(ENVIRONMENT, "")) == Settings()


def test_the_environment_is_checked_as_well() -> None:
    with pytest.raises(InvalidRequestError, match="must begin with http:// or https://"):
        Settings.resolve(environ={"AICHATFREE_BASE_URL": "localhost:3000"})


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("  http://h/ \n", "http://h"),
        ("http://h///", "http://h"),
        ("HTTPS://h/chat/", "https://h/chat"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
        ("http://user:pass@h:1/x/", "http://h:1/x"),
        ("http://h/api", "http://h/api"),
    ],
)
def test_base_url(given: str, read: str) -> None:
    assert settings(base_url=given).base_url == read


def test_user_and_password_of_the_base_url_become_a_header() -> None:
    chosen = settings(base_url="http://al%C3%AD:p%40ss:w@h")
    assert chosen.base_url == "http://h"
    (basic,) = [secret for secret in chosen.secrets if secret.startswith("Basic ")]
    assert base64.b64decode(basic.removeprefix("Basic ")).decode() == "alí:p@ss:w"
    assert "p%40ss" not in repr(chosen)
    assert basic not in repr(chosen)


def test_a_header_of_ones_own_goes_before_the_base_urls_password() -> None:
    chosen = settings(base_url="http://u:p@h", headers={"Authorization": "Bearer t"})
    assert dict(chosen.headers) == {"Authorization": "Bearer t"}


REFUSED: list[tuple[str, Any, str]] = [
    # the option, its value, what its error says beside the option's name
    ("base_url", 3000, "is of type int: give a str such as http://127.0.0.1:3000"),
    ("base_url", b"http://h", "is of type bytes: give a str"),
    ("base_url", "localhost:3000", "must begin with http:// or https://"),
    ("base_url", "//h", "must begin with http:// or https://"),
    ("base_url", "ftp://h", "must begin with http:// or https://"),
    ("base_url", "http://", "names no host"),
    ("base_url", "http://:3000", "names no host"),
    ("base_url", "http://h:0", "give an address such as"),
    ("base_url", "http://h:99999", "is not a URL"),
    ("base_url", "http://h:port", "is not a URL"),
    ("base_url", "http://[::1", "is not a URL"),
    ("base_url", "http://a b", "holds white space"),
    ("base_url", "http://h/a\tb", "holds white space"),
    ("base_url", "http://h\x00", "holds white space"),
    ("base_url", "http://h/?a=b", "has a query or fragment: give the address alone"),
    ("base_url", "http://h/#a", "has a query or fragment: give the address alone"),
    ("base_url", "http://h/api/generate", "must stop before /api"),
    ("base_url", "http://h/x/api/auth/", "must stop before /api"),
    ("base_url", "http://" + "ü" * 64, "has a host that is not a name: check its spelling"),
    ("base_url", "http://ü..de", "has a host that is not a name: check its spelling"),
    ("base_url", "http://[fe80::1%25你]", "has a host that is not a name: check its spelling"),
    ("secret", 1, "is of type int: give a str"),
    ("secret", b"s", "is of type bytes: give a str"),
    ("password", b"p", "is of type bytes: give a str"),
    ("password", 0, "is of type int: give a str"),
    ("model", None, "is of type NoneType: give a str"),
    ("timeout", (1, 2), "pass Timeout(connect=..., first_byte=...) instead"),
    ("timeout", [1, 2], "pass Timeout(connect=..., first_byte=...) instead"),
    ("timeout", "10", "give seconds as a positive number, or None for no limit"),
    ("timeout", 0, "give seconds as a positive number, or None for no limit"),
    ("timeout", -1, "give seconds as a positive number"),
    ("timeout", True, "give seconds as a positive number"),
    ("timeout", math.nan, "give seconds as a positive number"),
    ("timeout", math.inf, "or None for no limit"),
    ("timeout", {}, "give seconds as a positive number"),
    ("max_retries", -1, "give an int, 0 for no retries"),
    ("max_retries", 1.0, "give an int"),
    ("max_retries", True, "give an int"),
    ("max_retries", "2", "give an int"),
    ("retry", 3, "is of type int: give a RetryPolicy, or max_retries=2"),
    ("retry", "no", "is of type str: give a RetryPolicy"),
    ("headers", [("a", "b")], "is of type list: give a mapping of names to values"),
    ("headers", "a: b", "is of type str: give a mapping"),
    ("headers", {1: "x"}, "has the name 1, which is not an HTTP header name"),
    ("headers", {"": "x"}, "which is not an HTTP header name"),
    ("headers", {"a b": "x"}, "which is not an HTTP header name"),
    ("headers", {"a:": "x"}, "which is not an HTTP header name"),
    ("headers", {"a\r\nb": "x"}, "which is not an HTTP header name"),
    ("headers", {"ä": "x"}, "which is not an HTTP header name"),
    ("headers", {"X": 1}, "['X'] must be a str of Latin-1 without control characters"),
    ("headers", {"X": b"x"}, "['X'] must be a str of Latin-1"),
    ("headers", {"X": None}, "['X'] must be a str of Latin-1"),
    ("headers", {"X": "a\r\nEvil: yes"}, "['X'] must be a str of Latin-1 without control characters"),
    ("headers", {"X": "a\x00"}, "without control characters"),
    ("headers", {"X": "a\x7f"}, "without control characters"),
    ("headers", {"X": "a\n"}, "without control characters"),
    ("headers", {"X": "你"}, "['X'] must be a str of Latin-1"),
    ("headers", {"Content-length": "5"}, "may not set Content-length: it follows from the request's body"),
    ("headers", {"transfer-encoding": "chunked"}, "may not set transfer-encoding"),
    ("proxy", 8080, "is of type int: give a str such as http://127.0.0.1:8080"),
    ("proxy", "socks4://h:1", "must begin with http://, https://, socks5:// or socks5h://"),
    ("proxy", "socks5://", "names no host"),
    ("proxy", "ftp://h", "must begin with http://, https://, socks5:// or socks5h://"),
    ("proxy", "http://", "names no host"),
    ("proxy", "h:port", "is not a URL"),
    ("verify", None, "give True, False, a path to CA certificates, or an SSLContext"),
    ("verify", 1, "give True, False, a path"),
    ("trust_env", "no", "is 'no': give True or False"),
    ("trust_env", 0, "is 0: give True or False"),
    ("max_reply_bytes", 0, "give a positive int of bytes"),
    ("max_reply_bytes", -1, "give a positive int of bytes"),
    ("max_reply_bytes", 1e6, "give a positive int of bytes"),
    ("max_reply_bytes", True, "give a positive int of bytes"),
    ("max_reply_bytes", None, "give a positive int of bytes"),
    ("in_band_errors", "Internal server error", "give a tuple of str; () switches the check off"),
    ("in_band_errors", {"a"}, "give a tuple of str"),
    ("in_band_errors", None, "give a tuple of str"),
    ("in_band_errors", ("a", ""), "give a tuple of non-empty str"),
    ("in_band_errors", ("a", b"b"), "give a tuple of non-empty str"),
]


@pytest.mark.parametrize(("option", "value", "words"), REFUSED)
def test_what_cannot_work(option: str, value: Any, words: str) -> None:
    for make in (lambda: settings(**{option: value}), lambda: settings().change({option: value})):
        with pytest.raises(InvalidRequestError) as caught:
            make()
        assert option in str(caught.value)
        assert words in str(caught.value)


@pytest.mark.parametrize("limit", ["connect", "first_byte", "idle", "total"])
@pytest.mark.parametrize("value", [0, -0.0, -1, math.nan, math.inf, -math.inf, True, "1", [], 1j])
def test_a_limit_is_a_positive_number(limit: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"timeout {limit} is .*: give seconds as a positive number, or None"):
        Timeout(**{limit: value})


def test_what_timeout_may_be() -> None:
    own = Timeout(total=5)
    assert Timeout.of(own) is own
    assert Timeout.of(3) == Timeout(3, 3, 3, None)
    assert Timeout.of(0.001) == Timeout(0.001, 0.001, 0.001, None)
    assert Timeout.of(None) == Timeout(None, None, None, None)
    assert settings(timeout=None).timeout == Timeout(None, None, None)


def test_header_values_that_are_fine() -> None:
    headers = {"X-A": "", "X-B": "a\tb", "X-C": "é\xa0", "!#$%&'*+-.^_`|~9z": "odd"}
    assert dict(settings(headers=headers).headers) == headers
    assert dict(settings(headers=None).headers) == {}


def test_headers_are_a_copy() -> None:
    mine = {"X": "1"}
    chosen = settings(headers=mine)
    mine["X"] = "2"
    assert dict(chosen.headers) == {"X": "1"}


def test_what_verify_may_be(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    assert settings(verify=context).verify is context
    assert settings(verify=False).verify is False
    assert settings(verify=tmp_path).verify == settings(verify=str(tmp_path)).verify == str(tmp_path)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (None, None),
        ("", None),
        ("h:8080", "http://h:8080"),
        ("https://h", "https://h"),
        ("HTTP://u:p@h:1", "http://u:p@h:1"),
    ],
)
def test_proxy(given: str | None, read: str | None) -> None:
    assert settings(proxy=given).proxy == read


def test_what_trust_env_may_be() -> None:
    assert settings(trust_env=False).trust_env is False
    assert settings(trust_env=True).trust_env is True


def test_in_band_errors_may_be_a_list_or_none() -> None:
    assert settings(in_band_errors=["a", "b"]).in_band_errors == ("a", "b")
    assert settings(in_band_errors=()).in_band_errors == ()


def test_retry_goes_before_max_retries() -> None:
    policy = RetryPolicy(max_retries=7, initial_delay=1)
    assert settings(retry=policy, max_retries=1).retry is policy
    assert settings(retry=None, max_retries=1).retry == RetryPolicy(max_retries=1)
    assert settings(retry=policy).change({"max_retries": 3}).retry == RetryPolicy(max_retries=3, initial_delay=1)
    assert settings(retry=policy).change({"retry": None}).retry is policy


def test_change() -> None:
    before = settings(password="p", headers={"X": "1"})
    after = before.change({"timeout": 5, "password": None, "model": "m"})
    assert after == before.replace(timeout=Timeout(5, 5, 5), password=None, model="m")
    assert before.password == "p"
    assert before.change({}) == before


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("session", "there are secret, password, .*base_url"),
        ("base_urll", "did you mean 'base_url'"),
        ("max_retrys", "did you mean 'max_retries'"),
        ("tiemout", "did you mean 'timeout'"),
    ],
)
def test_an_unknown_option_is_named_with_what_was_meant(name: str, suggestion: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"there is no option '{name}': {suggestion}"):
        settings().change({name: 1})


def test_settings_cannot_be_changed_in_place_and_can_be_pickled() -> None:
    chosen = settings(password="p", secret="s", headers={"X": "1"}, timeout=3, proxy="http://u:p@h")
    with pytest.raises(AttributeError):
        chosen.model = "x"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(chosen)) == chosen


def test_no_secret_is_shown() -> None:
    chosen = settings(
        base_url="http://user:urlpass@h",
        password="hunter2",
        secret="s3cret",
        proxy="http://proxyuser:proxypass@p:8080",
        headers={"X-Api-Key": "k3y", "Cookie": "c00kie", "X-Plain": "visible"},
    )
    shown = repr(chosen) + chosen.describe()
    for secret in ("urlpass", "hunter2", "s3cret", "proxyuser", "proxypass", "k3y", "c00kie", *chosen.secrets):
        assert secret not in shown
    assert {"hunter2", "s3cret", "k3y", "c00kie", "proxyuser:proxypass"} <= set(chosen.secrets)
    assert "visible" not in chosen.secrets
    assert chosen.describe() == "'http://h', password=***, secret=***, proxy='http://***@p:8080'"
    assert settings().describe() == "'http://h:3000'"
    assert settings().secrets == settings(proxy="http://h:1").secrets == ()


@pytest.mark.parametrize(
    "url",
    ["http://user:hunter2@h:bad", "http://user:hunter2@h/?q", "ftp://user:hunter2@h", "http://user:hunter2@a b"],
)
@pytest.mark.parametrize("option", ["base_url", "proxy"])
def test_no_error_shows_the_password_in_an_address(option: str, url: str) -> None:
    if option == "proxy" and url.endswith("?q"):
        url = "http://user:hunter2@"
    with pytest.raises(InvalidRequestError) as caught:
        settings(**{option: url})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_userinfo() -> None:
    assert hide_userinfo("http://u:p@h/x") == "http://***@h/x"
    assert hide_userinfo("u:p@h") == "***@h"
    assert hide_userinfo("http://h/x") == "http://h/x"
    assert split_userinfo("http://h:1/x?y") == ("http://h:1/x?y", None)
    aladdin = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert split_userinfo("http://Aladdin:open%20sesame@h:1/x") == ("http://h:1/x", aladdin)
    assert split_userinfo("http://user@h") == ("http://h", "Basic dXNlcjo=")
