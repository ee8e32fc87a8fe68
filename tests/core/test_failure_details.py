"""What an error shows and hides, how long it says to wait, where it points; and requests that got no answer."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

import pytest
from core_kit import URL, fail, locations, said, upstream
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.failures import ConnectProblem, connect_failure, failure
from aichatfree._core.wire.headers import Headers
from aichatfree._core.wire.interruption import closed_by_caller, interrupted
from aichatfree._core.wire.redaction import MAX_SHOWN, Redactor
from aichatfree.errors import APIError, ConnectError, RedirectError, StreamInterruptedError

# --- Secrets --------------------------------------------------------------------------------------------------------

echoed = st.text(alphabet="abcXYZ019.*+?^$(){}[]|\\/\"'-_:äß你🎉", min_size=3, max_size=12).map("S3".__add__)


def shown(error: APIError) -> str:
    return "\n".join([str(error), repr(error), error.message, error.body, error.code or ""])


@given(
    st.lists(echoed, min_size=1, max_size=3),
    st.sampled_from(["{}", "you sent {} and", "{0}{0}", "[429 {}]", "<title>{}</title>", "<p>{}"]),
    st.sampled_from([200, 400, 401, 403, 404, 429, 500, 502, 307]),
    st.booleans(),
)
def test_an_echoed_secret_is_not_shown(secrets: list[str], words: str, status: int, ascii_only: bool) -> None:
    message = " ".join(words.replace("{0}", secret).replace("{}", secret) for secret in secrets)
    plain = fail(status, message, secrets=secrets)
    in_json = fail(status, said(message, code=message), secrets=secrets)
    for error in (plain, in_json):
        for secret in secrets:
            assert secret not in shown(error)
            assert json.dumps(secret)[1:-1] not in shown(error)


def test_the_longest_secret_is_replaced_first() -> None:
    assert Redactor(["pass", "password1", ""])("password1 pass") == "*** ***"
    assert Redactor([])("text") == Redactor([""])("text") == "text"


@pytest.mark.parametrize(
    ("excerpt", "shown"),
    [
        ("cannot read 2abcd", "cannot read 2abcd"),
        ("2abcd is what it said", "*** is what it said"),
        ("2abcdxabcd is what it said", "***xabcd is what it said"),  # what follows only looks like it
        ("it said hunt", "it said ***"),
        ("it said huntxhunter2", "it said huntx***"),
        ("it said huntxhunt", "it said huntx***"),
        ("it said 'ter2ab' and '2abcd...'", "it said '***' and '***...'"),
        ("abc", "abc"),
    ],
)
def test_pieces_of_a_secret_at_the_edges_of_an_excerpt(excerpt: str, shown: str) -> None:
    assert Redactor(["hunter2abcd"]).of_an_excerpt(excerpt) == shown
    assert Redactor(['a"\n\u00e9'])(json.dumps({"pass": 'a"\n\u00e9'})) == '{"pass": "***"}'


def test_what_an_error_says_for_itself_stays() -> None:
    error = fail(500, "you sent server", secrets=["server", "HTTP"])
    assert error.message == "you sent ***"
    assert str(error) == "HTTP 500 (you sent ***): the server failed; try again, or use another server (base_url=...)"


# --- Retry-After ----------------------------------------------------------------------------------------------------

SERVER_TIME = "Mon, 23 Nov 2026 08:50:54 GMT"
IN_A_MINUTE = "Mon, 23 Nov 2026 08:51:54 GMT"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("5", 5),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("999999999", 999999999),
        ("1000000000", 1e9),
        ("999999999999", 999999999999),
        ("-5", None),
        ("+5", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("5, 5", 5),
        ("5, 7", 7),
        ("5, soon", 5),
        ("5 seconds", None),
        ("soon", None),
        ("", None),
        ("9" * 10000, sys.float_info.max),
        ("\uff15", None),
        ("Fri, 31 Feb 2026 00:00:00 GMT", None),
        ("Fri, 31 Dec 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_in_seconds(header: str, seconds: float | None) -> None:
    assert fail(429, retry_after=header).retry_after == seconds


def test_retry_after_as_a_date_counts_from_the_servers_clock() -> None:
    assert fail(429, retry_after=IN_A_MINUTE, date=SERVER_TIME).retry_after == 60
    assert fail(429, retry_after=SERVER_TIME, date=IN_A_MINUTE).retry_after == 0
    ours = failure(503, Headers([("Retry-After", IN_A_MINUTE)]), b"", url=URL, now=1795423914.0 - 7)
    assert ours.retry_after == 7
    assert fail(429, retry_after="Fri, 31 Dec 9999 23:59:59 GMT", date=SERVER_TIME).retry_after == 251606876945


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Please retry in 58.8s.", 58.8),
        ("please RETRY IN 58.804511s.", 58.804511),
        ("retry in 5", 5),
        ("retry in 5 s", 5),
        ("retry in 5 seconds", 5),
        ("retry in 1 second", 1),
        ("retry in 250ms", 0.25),
        ("retry in 2m", 120),
        ("retry in 2 minutes", 120),
        ("retry in 1 Minute", 60),
        ("retry in 5 sheep", 5),
        ("retry in 1m2.5s", 62.5),
        ("retry in 1h1m", 3660),
        ("retry in " + "9" * 400 + "s", sys.float_info.max),
        ('[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"26s"}]', 26),
        ('"retryDelay": "1.2.3s"', 0),
        ("retry in a while", None),
        ("retry in -5s", None),
        ("try again in 5s", None),
    ],
)
def test_retry_in_words(words: str, seconds: float | None) -> None:
    assert fail(500, upstream(f"[429 Too Many Requests] Quota exceeded. {words}")).retry_after == pytest.approx(seconds)


def test_the_header_goes_before_the_words() -> None:
    assert fail(429, "retry in 7s", retry_after="5").retry_after == 5
    assert fail(429, "retry in 7s", retry_after="soon").retry_after == 7


# --- Redirects ------------------------------------------------------------------------------------------------------

GENERATE = "/api/generate"
FOLLOWED: list[tuple[int, str, str, str]] = [
    # status, from, Location, where the request may follow
    (307, "http://h", "/chat/api/generate", "http://h/chat/api/generate"),
    (308, "http://h", "http://h/x", "http://h/x"),
    (307, "http://h", "http://H:80/x", "http://H:80/x"),
    (307, "http://h:3000", "//h:3000/x", "http://h:3000/x"),
    (308, "http://h:3000", "generate/", "http://h:3000/api/generate/"),
    (307, "https://h", "https://h:443/x", "https://h:443/x"),
    (307, "http://[::1]:3000", "http://[::1]:3000/x", "http://[::1]:3000/x"),
    (307, "http://h", "?a=b", "http://h/api/generate?a=b"),
    (301, "http://h", "https://h/api/generate", "https://h/api/generate"),
    (302, "http://h", "https://h:443/api/generate", "https://h:443/api/generate"),
    (307, "http://h", "https://h/api/generate", "https://h/api/generate"),
    (308, "http://h:3000", "https://h:3000/api/generate", "https://h:3000/api/generate"),
]


@pytest.mark.parametrize(("status", "base", "location", "target"), FOLLOWED)
def test_a_redirect_that_may_be_followed(status: int, base: str, location: str, target: str) -> None:
    error = fail(status, url=base + GENERATE, location=location)
    assert isinstance(error, RedirectError)
    assert error.next_url == error.location == target


REFUSED: list[tuple[int, str, str]] = [
    (307, "http://h", "http://evil/api/generate"),
    (307, "http://h", "//evil/api/generate"),
    (307, "http://h", "//evil"),
    (307, "http://h", "http://h.evil/"),
    (307, "http://h", "http://evil.h/"),
    (307, "http://h", "http://h@evil/"),
    (307, "http://h", "http://evil@h/"),
    (307, "http://h", "http://u:p@h/"),
    (307, "http://h", "http://h\\@evil/"),
    (307, "http://h", "http://h\\.evil/"),
    (307, "http://h", "http://evil\\@h/"),
    (307, "http://h", "http://h;@evil/"),
    (307, "http://h", "http://h\t.evil/"),
    (307, "http://h", "http://h%2eevil/"),
    (307, "http://h", "http://h./"),
    (307, "http://h", "http://h:3000/"),
    (307, "http://h:3000", "http://h/"),
    (307, "http://h:3000", "http://h:3001/"),
    (307, "http://h", "http://h:99999/"),
    (307, "http://h", "http://h:evil/"),
    (307, "http://h", "http://[::1/"),
    (307, "http://h", "https://evil/"),
    (307, "http://h", "https://h:3000/"),
    (307, "http://h:3000", "https://h/"),
    (307, "https://h", "http://h/api/generate"),
    (307, "https://h", "http://h:443/api/generate"),
    (307, "http://[::1]", "http://[::2]/"),
    (307, "http://127.0.0.1", "http://localhost/"),
    (307, "http://h", "ftp://h/"),
    (307, "http://h", "javascript:alert(1)"),
    (307, "http://h", "file:///etc/passwd"),
    (307, "http://h", ""),
    (301, "http://h", "/x"),
    (302, "http://h", "/x"),
    (303, "http://h", "/x"),
    (303, "http://h", "https://h/api/generate"),
    (302, "https://h", "https://h/x"),
]


@pytest.mark.parametrize(("status", "base", "location"), REFUSED)
def test_a_redirect_that_is_never_followed(status: int, base: str, location: str) -> None:
    error = fail(status, url=base + GENERATE, location=location)
    assert type(error) is RedirectError
    assert error.next_url is None
    assert "not sent elsewhere" in str(error)


def test_a_redirect_without_a_location() -> None:
    error = fail(307)
    assert isinstance(error, RedirectError)
    assert (error.location, error.next_url) == ("", None)


def test_the_text_says_where_it_points_without_its_password() -> None:
    error = fail(302, url="http://h/api/generate", location="https://u:hunter2@new.example/login?token=hunter2#hunter2")
    assert "pointed to https://new.example/login; if you trust that server, set base_url to it" in str(error)
    assert "hunter2" not in str(error) + repr(error)


@given(st.sampled_from([301, 302, 303, 307, 308]), locations)
def test_no_location_leads_to_another_host(status: int, location: str) -> None:
    error = fail(status, url="http://h:3000/api/generate", location=location)
    assert isinstance(error, RedirectError)
    if error.next_url is not None:
        target = urlsplit(error.next_url)
        assert target.netloc.lower() == "h:3000"
        assert target.scheme == "https" or (target.scheme == "http" and status in (307, 308))


# --- No answer at all -----------------------------------------------------------------------------------------------

PROBLEMS: dict[ConnectProblem, str] = {
    "dns": "check base_url and the network",
    "refused": "is the server up, and base_url right?",
    "tls": "verify=...",
    "proxy": "check proxy=...",
    "reset": "try again",
    "no_http": "is base_url right?",
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("reused", [False, True])
def test_no_answer(problem: ConnectProblem, reused: bool) -> None:
    error = connect_failure(problem, URL, OSError(111, "Connection refused"), reused=reused)
    assert type(error) is ConnectError
    assert str(error).startswith("no answer from http://h:3000: ")
    assert PROBLEMS[problem] in str(error)
    assert str(error).endswith("([Errno 111] Connection refused)")
    assert error.reused_connection is reused


def test_no_answer_shows_no_password_and_no_wall_of_words() -> None:
    error = connect_failure("reset", "http://u:hunter2@h/api", "x\n" * 5000)
    assert "hunter2" not in str(error)
    assert len(str(error)) < MAX_SHOWN + 150
    assert "\n" not in str(error)


def test_an_error_without_words_is_named() -> None:
    assert str(connect_failure("reset", URL, ConnectionResetError())).endswith("(ConnectionResetError)")
    assert str(interrupted(EOFError())) == "the reply broke off before its end: ask again (EOFError)"


def test_a_reply_that_broke_off() -> None:
    for error in (interrupted("incomplete read"), closed_by_caller()):
        assert type(error) is StreamInterruptedError
        assert not error.in_band
    assert "ask again (incomplete read)" in str(interrupted("incomplete read"))
    assert ".partial" in str(closed_by_caller())
