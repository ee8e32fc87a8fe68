"""The core, read as an adversary would."""

from __future__ import annotations

import html
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from core_kit import URL, Bench, settings
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.failures import failure
from aichatfree._core.retry import RetryPolicy
from aichatfree._core.timeouts import Timeout
from aichatfree._core.wire.addresses import hide_userinfo
from aichatfree._core.wire.headers import Headers, is_secret_header
from aichatfree._core.wire.messages import Content, Message, to_contents
from aichatfree._core.wire.redaction import Redactor
from aichatfree._core.wire.replies import MAX_BODY_BYTES, AuthReader
from aichatfree._core.wire.requests import RequestBuilder
from aichatfree._core.wire.signing import Signer, generate_signature, parse_http_date
from aichatfree.errors import APIError, InvalidRequestError, RedirectError, StreamInterruptedError


def fail(status: int, body: bytes, secrets: Any = (), **headers: str) -> APIError:
    return failure(status, Headers(headers.items()), body, url=URL, now=0.0, secrets=secrets)


# --- Bodies ---------------------------------------------------------------------------------------------------------


def test_a_character_reference_of_too_many_digits() -> None:
    error = fail(500, b"&#" + b"1" * 5000 + b";")
    assert error.message == "&#" + "1" * 5000 + ";"


HOSTILE = [
    *(b"<", b"<a ", b"<script", b"<script>", b"<script ", b"<style></style ", b"</script", b"<title", b"<title>"),
    *(b"> <", b"[123 ", b"[", b"retry in 1", b"&#", b"&amp", b"&", b"\xff", b"[[[[{", b'{"error":'),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_body_takes_more_than_linear_time(piece: bytes) -> None:
    """Four times the body takes about four times as long, where a square would take sixteen."""

    def seconds(size: int) -> float:
        body = (b"<" + piece * size)[:size]
        runs = []
        for _ in range(3):
            started = time.process_time()
            fail(500, body)
            runs.append(time.process_time() - started)
        return min(runs)

    assert seconds(MAX_BODY_BYTES) < 10 * seconds(MAX_BODY_BYTES // 4) + 0.05


def test_a_byte_order_mark_before_json() -> None:
    assert fail(401, b'\xef\xbb\xbf{"error":{"message":"Invalid password."}}').message == "Invalid password."


def test_a_script_without_an_end_is_no_text() -> None:
    assert fail(502, b"<p>Down</p><script>var x = 1; if (x < 2) {").message == "Down"


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x9b", "\u202e", "\x00", "\ud800"])
def test_no_text_commands_a_terminal(character: str) -> None:
    error = fail(500, json.dumps({"error": {"message": f"a{character}[2Jb"}}).encode())
    assert character not in str(error)
    assert "a\ufffd[2Jb" in str(error)


# --- Secrets --------------------------------------------------------------------------------------------------------

awkward = st.text(alphabet="aZ0 \t\"'\\/&<>%+*.?()[]{}|^$~!äß你🎉\u2028", min_size=3, max_size=12).map("S3{}E".format)
WRITTEN = {
    "plain": lambda secret: secret,
    "JSON": lambda secret: json.dumps(secret),
    "JSON.stringify": lambda secret: json.dumps(secret, ensure_ascii=False),
    "URL": lambda secret: quote(secret, safe=""),
    "encodeURIComponent": lambda secret: quote(secret, safe="!'()*"),
    "form": quote_plus,
    "HTML": html.escape,
    "HTML text": lambda secret: html.escape(secret, quote=False),
}


pages = st.sampled_from(["{}", "<p>{}</p>", "<title>{}</title>", '{{"x":{}}}'])


@given(awkward, st.sampled_from(sorted(WRITTEN)), pages)
def test_a_secret_is_hidden_however_it_is_written(secret: str, form: str, words: str) -> None:
    written = WRITTEN[form](secret)
    body = words.format(written)
    error = fail(500, body.encode(), [secret])
    for text in (str(error), error.message, error.body, repr(error)):
        assert secret not in text
        assert written not in text
        assert " ".join(secret.split()) not in text


def test_a_secret_with_lone_surrogates_can_be_looked_for() -> None:
    assert Redactor(["a\ud800b"])("a\ud800b %EF%BF%BD") == "*** %EF%BF%BD"


def test_credentials_are_hidden_without_their_scheme() -> None:
    chosen = settings(
        base_url="http://user:urlpass@h",
        proxy="http://me:p%40ss@p",
        headers={"Authorization": "Bearer t0ken", "X-Auth-Key": "k3y"},
    )
    assert {"t0ken", "Bearer t0ken", "k3y", "me:p%40ss", "p%40ss", "p@ss"} <= set(chosen.secrets)
    assert {"Basic dXNlcjp1cmxwYXNz", "dXNlcjp1cmxwYXNz"} <= set(chosen.secrets)


@pytest.mark.parametrize("name", ["X-Auth-Key", "X-Access-Key", "X-Session", "X-Signature", "X-Passphrase"])
def test_more_headers_that_bear_credentials(name: str) -> None:
    assert is_secret_header(name)


def test_a_redirect_shows_neither_a_secret_nor_a_wall_of_words() -> None:
    error = fail(302, b"", ["hunter2"], location="http://other/hunter2/" + "x" * 5000)
    assert isinstance(error, RedirectError)
    assert "hunter2" not in str(error)
    assert len(str(error)) < 600


def test_a_web_page_hides_secrets_and_is_no_longer_than_other_bodies() -> None:
    bench = Bench(password="hunter2")
    reader = bench.call.answered(bench.answer(200, {"content-type": "text/html"}))
    with pytest.raises(APIError) as caught:
        reader.feed(b"<html>hunter2" + b"x" * 10 * MAX_BODY_BYTES)
    assert "hunter2" not in caught.value.body + str(caught.value)
    assert len(caught.value.body) <= MAX_BODY_BYTES


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2/x@host",
        "http://user:hunter2/@host",
        "http://user:1234/hunter2@host",
        "http://user:hunter2\u2100@host",
        "http://user:hunter2://x@host",
        "http://user:hun\ud800ter2@host",
        "http://user:hunter2\x1b@host",
        "ftp://user:hunter2://x@host",
    ],
)
def test_no_error_shows_a_piece_of_the_password(url: str) -> None:
    for option in ("base_url", "proxy"):
        with pytest.raises(InvalidRequestError) as caught:
            settings(**{option: url})
        for piece in ("hunter2", "hun", "1234"):
            assert piece not in str(caught.value)


def test_userinfo_that_looks_like_a_scheme() -> None:
    assert hide_userinfo("http://a:p://w@host") == "http://***@host"


@pytest.mark.parametrize(
    "url",
    [
        "http://host/@me",
        "http://host/?q=a@b",
        "http://host/a@b/c@d",
        "http://host?q=a@b",
        "http://host#a@b",
        "host/@me",
        "http://localhost:3000/@me",
        "http://127.0.0.1:3000/?user=a@b&time=12:30",
        "https://[::1]:3000/@me",
        "http://[::1]/@me",
        "http://host/without",
    ],
)
def test_an_at_sign_in_a_path_or_query_hides_nothing(url: str) -> None:
    assert hide_userinfo(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@host/@me", "http://***@me"),  # the password may as well be "p@host/"
        ("http://token@host/x", "http://***@host/x"),
        ("http://user:12345/6@host", "http://***@host"),
        ("http://us/er:pw@host", "http://***@host"),
        ("http://user:p?w@host", "http://***@host"),
        ("http://user:p#w@host/x", "http://***@host/x"),
        ("user:p/w@host:8080", "***@host:8080"),
        ("http://:pw/x@host", "http://***@host"),
        ("http://u:p@w@host", "http://***@host"),
        ("http://localhost@host", "http://***@host"),
        ("http://10.0.0.1:pw/x@host", "http://***@host"),
        ("http://@host", "http://***@host"),
        ("http://u:p\nw@host", "http://***@host"),
        ("http://", "http://"),
        ("", ""),
    ],
)
def test_what_may_be_a_password_is_hidden(url: str, shown: str) -> None:
    assert hide_userinfo(url) == shown


# --- Settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", " ", 0, [], False])
def test_an_empty_base_url_is_not_the_public_one(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="base_url"):
        settings(base_url=value)


def headers_of(chosen: Any) -> dict[str, str]:
    return RequestBuilder(chosen, Signer("", lambda: 0.0), "test").auth("x").headers


def test_the_base_urls_password_goes_with_the_base_url() -> None:
    first = settings(base_url="http://u:p@h1", headers={"X": "1"})
    assert headers_of(first)["Authorization"] == "Basic dTpw"
    assert "Authorization" not in headers_of(first.change({"base_url": "http://other"}))
    assert headers_of(first.change({"base_url": "http://n:q@other"}))["Authorization"] == "Basic bjpx"
    assert headers_of(first.change({"headers": {"Y": "2"}}))["Authorization"] == "Basic dTpw"
    assert headers_of(first.change({"timeout": 1}))["Authorization"] == "Basic dTpw"
    with pytest.raises(InvalidRequestError, match="no option 'authorization'"):
        first.change({"authorization": "x"})


def test_no_header_is_sent_twice() -> None:
    given_headers = {"authorization": "a", "Accept": "b", "accept": "c"}
    headers = headers_of(settings(base_url="http://u:p@h", headers=given_headers))
    lowered = [name.lower() for name in headers]
    assert len(lowered) == len(set(lowered))
    assert (headers["authorization"], headers["accept"]) == ("a", "c")


@pytest.mark.parametrize(
    ("given_url", "base_url"),
    [
        ("http://EXAMPLE.com:80/x", "http://example.com/x"),
        ("https://h:443", "https://h"),
        ("https://h:80", "https://h:80"),
        ("http://h:443", "http://h:443"),
        ("http://[2001:DB8::1]:80", "http://[2001:db8::1]"),
        ("http://u:p@H:80", "http://h"),
        ("http://例え.jp", "http://xn--r8jz45g.jp"),
        ("http://Müller.de:3000", "http://xn--mller-kva.de:3000"),
        ("http://straße.de", "http://xn--strae-oqa.de"),
        ("http://a_b.c.", "http://a_b.c."),
    ],
)
def test_the_base_url_is_written_as_a_browser_would(given_url: str, base_url: str) -> None:
    chosen = settings(base_url=given_url)
    assert chosen.base_url == base_url
    origin = headers_of(chosen)["Origin"]
    assert base_url.startswith(origin)
    assert origin.isascii()


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "a." + "b" * 64 + ".c", ".a", "ü..de"])
def test_a_host_that_is_no_name(host: str) -> None:
    with pytest.raises(InvalidRequestError, match="host that is not a name: check its spelling"):
        settings(base_url=f"http://{host}")


@pytest.mark.parametrize("character", ["\ud800", "\x7f", "\u202e", "\u00ad", "\u2028", "\x1b"])
@pytest.mark.parametrize("url", ["http://{}:x@h", "http://h/{}/x", "http://h{}:1"])
def test_characters_that_no_address_holds(url: str, character: str) -> None:
    with pytest.raises(InvalidRequestError, match="white space or a control character"):
        settings(base_url=url.format(character))


@pytest.mark.parametrize("value", [1e7, 1e10, 1e300, 10**400, 2**63])
def test_limits_that_would_overflow(value: Any) -> None:
    for limit in ("connect", "first_byte", "idle", "total"):
        with pytest.raises(InvalidRequestError, match="or None for no limit; the most is 1e\\+06"):
            Timeout(**{limit: value})
    with pytest.raises(InvalidRequestError, match="the most is 1e\\+06"):
        Timeout.of(value)
    for delay in ("initial_delay", "max_delay", "max_retry_after"):
        with pytest.raises(InvalidRequestError, match="the most is 1e\\+06"):
            RetryPolicy(**{delay: value})
    assert Timeout.of(1_000_000).total is None
    assert RetryPolicy(max_delay=1e6).max_delay == 1e6


# --- Messages and signatures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["user", "system"])
def test_merging_takes_no_more_than_linear_time(role: str) -> None:
    def seconds(count: int) -> float:
        messages = [Message(role, "x" * 500)] * count + [Message("user", "last")]
        started = time.process_time()
        (content,) = to_contents(messages)
        assert len(content.text) == 502 * count + 4
        return time.process_time() - started

    assert seconds(8000) < 16 * seconds(1000) + 0.2


def test_merging_many_parts() -> None:
    messages = [{"role": "system", "parts": ["a", "b", "c"]}, "d", {"role": "user", "parts": ["e", "f"]}, "g"]
    assert to_contents(messages) == (Content("user", ("a", "b", "c\n\nd\n\ne", "f\n\ng")),)


@pytest.mark.parametrize(("text", "secret"), [(None, ""), (b"x", ""), (1, ""), ("x", None), ("x", b"s")])
def test_only_text_is_signed(text: Any, secret: Any) -> None:
    with pytest.raises(InvalidRequestError, match="must be str"):
        generate_signature(1, text, secret)


DATES = """
import os, time
os.environ["TZ"] = "America/New_York"
time.tzset()
from aichatfree._core.wire.signing import parse_http_date as read
for date in ("Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 -0000",
             "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"):
    assert read(date) == 784111777, date
"""


def test_a_date_without_a_zone_is_utc_wherever_the_machine_stands() -> None:
    assert parse_http_date("Sun Nov  6 08:49:37 1994") == 784111777
    root = str(Path(sys.modules["aichatfree"].__file__ or "").parent.parent)
    subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{DATES}"], check=True)


# --- The password check, and text that two threads look at ----------------------------------------------------------


@pytest.mark.parametrize("body", [b'{"code":false}', b'{"code":true}'])
def test_a_boolean_is_no_code(body: bytes) -> None:
    reader = AuthReader(lambda data: APIError("HTTP 200"))
    reader.feed(body)
    with pytest.raises(APIError):
        reader.finish()
    assert not reader.accepted


def test_a_password_check_that_breaks_off_is_no_failure_of_the_server() -> None:
    reader = AuthReader(lambda data: APIError("HTTP 200"))
    reader.feed(b'{"code"')
    assert reader.flush(StreamInterruptedError("cut")) == ""


def test_no_text_is_lost_when_other_threads_ask_for_it() -> None:
    call = Bench().call
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            assert set(call.text) <= {"x"}

    asking = [threading.Thread(target=ask) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in asking:
            thread.start()
        for _ in range(100_000):
            call.emit("x")
    finally:
        sys.setswitchinterval(interval)
        done.set()
        for thread in asking:
            thread.join()
    assert len(call.text) == call.stats.pieces == 100_000
