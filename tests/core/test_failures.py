"""Every answer that is no reply, and the exception it becomes."""

from __future__ import annotations

import json
import pickle
from typing import Any
from urllib.parse import urlsplit

import pytest
from core_kit import RECORDED_AT, URL, recorded
from hypothesis import given
from hypothesis import strategies as st

from aichatfree.core.failures import (
    MAX_SHOWN,
    ConnectProblem,
    Redactor,
    closed_by_caller,
    connect_failure,
    failure,
    interrupted,
)
from aichatfree.core.headers import Headers
from aichatfree.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConnectError,
    InvalidPasswordError,
    InvalidRequestError,
    InvalidSignatureError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ServerError,
    StreamInterruptedError,
)


def fail(status: int = 500, body: bytes | str = b"", url: str = URL, secrets: Any = (), **headers: str) -> APIError:
    data = body.encode() if isinstance(body, str) else body
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return failure(status, Headers(pairs), data, url=url, now=RECORDED_AT, secrets=secrets)


def said(message: Any, **more: Any) -> str:
    return json.dumps({"error": {"message": message, **more}})


def upstream(message: str) -> str:
    """How the server words a failure of the model's provider."""
    return said(f"[GoogleGenerativeAI Error]: Error fetching from  {message}", code="Error")


# --- Every row of the protocol's table ------------------------------------------------------------------------------

QUOTA = (
    "[GoogleGenerativeAI Error]: Error fetching from  [429 Too Many Requests] Quota exceeded for quota metric "
    "'Generate Content API requests per minute' and limit 'GenerateContent request limit per minute for a region'"
)
OVERLOADED = (
    "[GoogleGenerativeAI Error]: Error fetching from  [503 Service Unavailable] The model is overloaded. "
    "Please try again later."
)
RECORDED: dict[str, tuple[type[APIError], int, str, str | None, int | None]] = {
    "wrong_password": (InvalidPasswordError, 401, "Invalid password.", None, None),
    "wrong_signature": (InvalidSignatureError, 401, "Invalid signature.", None, None),
    "last_message_from_model": (
        BadRequestError,
        400,
        "Invalid message history: The last message must be from user role.",
        None,
        None,
    ),
    "quota_exceeded": (
        RateLimitError,
        500,
        QUOTA,
        "Error",
        429,
    ),
    "location_not_supported": (
        PermissionDeniedError,
        500,
        "User location is not supported for the API use.",
        "Error",
        400,
    ),
    "upstream_key_invalid": (
        PermissionDeniedError,
        500,
        "API key not valid. Please pass a valid API key.",
        "Error",
        400,
    ),
    "upstream_overloaded": (
        OverloadedError,
        500,
        OVERLOADED,
        "Error",
        503,
    ),
    "malformed_json": (ServerError, 500, "", None, None),
    "unknown_path": (NotFoundError, 404, "Not found", None, None),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_failures(name: str) -> None:
    kind, status, message, code, upstream_status = RECORDED[name]
    answer = recorded(name)
    error = failure(answer.status, answer.headers, answer.body, url=URL, now=RECORDED_AT)
    assert type(error) is kind
    assert (error.status_code, error.message, error.code) == (status, message, code)
    assert error.upstream_status == upstream_status
    assert error.body == answer.body.decode()
    assert error.headers is answer.headers
    assert error.retry_after is None
    assert " ".join(message.split())[:200] in str(error)
    assert str(error).startswith(f"HTTP {status}")


WORDED: list[tuple[type[APIError], int | None, str]] = [
    # what it becomes, the upstream's status, the body of a 500
    (RateLimitError, 429, upstream("[429 Too Many Requests] Quota exceeded. Please retry in 58.8s.")),
    (RateLimitError, 429, said("Resource has been exhausted (e.g. check quota).", code="Error")),
    (RateLimitError, 429, said("You exceeded your current quota, please check your plan and billing details.")),
    (RateLimitError, 429, upstream("[429 ] ")),
    (RateLimitError, 429, upstream("[429]")),
    (RateLimitError, 429, "[429 Too Many Requests] in plain text"),
    (RateLimitError, 429, json.dumps({"error": "RESOURCE_EXHAUSTED"})),
    (RateLimitError, 429, json.dumps({"message": "Quota exceeded"})),
    (RateLimitError, 429, '{"error":{"message":"[429 Too Many Requests] cut off in the mid'),
    (OverloadedError, 503, upstream("[503 Service Unavailable] whatever")),
    (OverloadedError, 503, upstream("[503 ]")),
    (OverloadedError, 503, said("The model is overloaded. Please try again later.")),
    (PermissionDeniedError, 400, said("API key expired. Please renew the API key.")),
    (PermissionDeniedError, 400, upstream("[400 Bad Request] API key not valid. Please pass a valid API key.")),
    (PermissionDeniedError, 403, upstream("[403 Forbidden] Permission denied: Consumer has been suspended.")),
    (PermissionDeniedError, 401, upstream("[401 Unauthorized] ACCESS_TOKEN_TYPE_UNSUPPORTED")),
    (ServerError, 502, upstream("[502 ] ")),
    (ServerError, 404, upstream("[404 Not Found] models/gemini-pro is not found for API version v1beta")),
    (ServerError, 500, upstream("[500 Internal Server Error] An internal error has occurred.")),
    (ServerError, None, said("fetch failed", code="Error")),
    (ServerError, None, said("[GoogleGenerativeAI Error]: no status here [42] [4290 x]")),
    (ServerError, None, ""),
    (ServerError, None, "FUNCTION_INVOCATION_FAILED"),
]


@pytest.mark.parametrize(("kind", "upstream_status", "body"), WORDED)
def test_what_the_upstream_did_inside_a_500(kind: type[APIError], upstream_status: int | None, body: str) -> None:
    error = fail(500, body)
    assert type(error) is kind
    assert error.status_code == 500
    assert error.upstream_status == upstream_status


VERCEL = "An error occurred with your deployment\n\nFUNCTION_INVOCATION_TIMEOUT\n\nfra1::x-17\n"
CLOUDFLARE = (
    "<!DOCTYPE html>\n<html><head><title>h | 502: Bad   gateway &amp; more</title><style>p{}</style></head>"
    "<body><h1>Bad gateway</h1></body></html>"
)
NGINX = "<html>\r\n<body><center><h1>503 Service Temporarily Unavailable</h1></center></body>\r\n</html>\r\n"
SCRIPTED = "<script>alert('x')</script ><style media=all>p{color:red}</style><p>Blocked\n by   policy</p>"

BY_STATUS: list[tuple[int, str, type[APIError], str]] = [
    (400, said("no"), BadRequestError, "no"),
    (401, said("Invalid password."), InvalidPasswordError, "Invalid password."),
    (401, "invalid signature", InvalidSignatureError, "invalid signature"),
    (401, "", AuthenticationError, ""),
    (401, "<h1>Authorization required</h1>", AuthenticationError, "Authorization required"),
    (403, SCRIPTED, PermissionDeniedError, "Blocked by policy"),
    (404, "", NotFoundError, ""),
    (405, "", NotFoundError, ""),
    (408, "", APIError, ""),
    (413, "Request Entity Too Large", APIError, "Request Entity Too Large"),
    (429, "Too many requests", RateLimitError, "Too many requests"),
    (500, VERCEL, ServerError, " ".join(VERCEL.split())),
    (501, "", ServerError, ""),
    (502, CLOUDFLARE, ServerError, "h | 502: Bad gateway & more"),
    (503, NGINX, OverloadedError, "503 Service Temporarily Unavailable"),
    (504, VERCEL, ServerError, " ".join(VERCEL.split())),
    (520, "error code: 520", ServerError, "error code: 520"),
    (599, "", ServerError, ""),
    (200, "a web page", APIError, "a web page"),
    (201, "", APIError, ""),
    (304, "", APIError, ""),
    (402, "Payment Required", APIError, "Payment Required"),
    (418, "", APIError, ""),
]


@pytest.mark.parametrize(("status", "body", "kind", "message"), BY_STATUS)
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "text/html", ""])
def test_by_status_and_never_by_content_type(
    status: int, body: str, kind: type[APIError], message: str, content_type: str
) -> None:
    error = fail(status, body, content_type=content_type)
    assert type(error) is kind
    assert (error.status_code, error.message, error.body) == (status, message, body)
    assert error.upstream_status is None


def test_an_empty_title_says_nothing() -> None:
    assert fail(502, "<html><title> </title><p>down</p></html>").message == "down"


def test_a_status_in_a_bracket_counts_only_inside_a_500() -> None:
    assert type(fail(502, upstream("[429 Too Many Requests]"))) is ServerError
    assert type(fail(403, upstream("[503 Service Unavailable]"))) is PermissionDeniedError


REMEDIES: list[tuple[int, str, str]] = [
    (400, "", "the history must end with a user message"),
    (401, "password", "password=..., or AICHATFREE_PASSWORD"),
    (401, "signature", "secret=..., or AICHATFREE_SECRET"),
    (401, "signature", "clock is wrong"),
    (401, "", "see password=, secret= and headers="),
    (403, "", "refuses this client or its region"),
    (404, "", f"there is no GeminiProChat server at {URL}; base_url should be the server's root, such as http://127"),
    (405, "", "base_url should be the server's root"),
    (408, "", "try again"),
    (413, "", "send fewer or shorter messages"),
    (429, "", "wait, or lower the rate"),
    (500, "", "try again, or use another server (base_url=...)"),
    (500, "[429 ]", "wait, or use another server"),
    (500, "[503 ]", "try again later"),
    (500, "[403 ]", "use another server (base_url=...)"),
    (500, "[418 I'm a teapot]", "the model's provider answered the server with 418"),
    (503, "", "try again later"),
    (418, "", f"is base_url right ({URL})?"),
    (302, "", "the request bears the password and is not sent elsewhere"),
]


@pytest.mark.parametrize(("status", "body", "remedy"), REMEDIES)
def test_the_text_says_what_to_do(status: int, body: str, remedy: str) -> None:
    assert remedy in str(fail(status, body))


def test_braces_in_what_the_server_said_are_no_format() -> None:
    assert "{url} {0} %s" in str(fail(404, "{url} {0} %s"))
    assert "http://h/{x}/api" in str(fail(404, url="http://h/{x}/api"))


def test_long_words_are_shortened_in_the_text_alone() -> None:
    error = fail(500, said("x" * 5000))
    assert error.message == "x" * 5000
    assert "x" * MAX_SHOWN in str(error)
    assert "x" * (MAX_SHOWN + 1) not in str(error)
    assert len(str(error)) < MAX_SHOWN + 200


def test_a_bad_request_is_an_invalid_request() -> None:
    assert isinstance(fail(400), InvalidRequestError)
    assert isinstance(fail(400), ValueError)


# --- What the body may be -------------------------------------------------------------------------------------------

SHAPES: list[tuple[str, str, str | None]] = [
    (said("m", code="Error"), "m", "Error"),
    (said("m", code=None), "m", None),
    (said("m", code=7), "m", "7"),
    (said("m", code={"a": [1]}), "m", '{"a": [1]}'),
    (said("m", code="x" * 500), "m", "x" * 500),
    (said("m", code=["x" * 500]), "m", '["' + "x" * 500 + '"]'),
    (said(5), '{"error": {"message": 5}}', None),
    (said(None, code="c"), '{"error": {"message": null, "code": "c"}}', "c"),
    ('{"error": "words"}', "words", None),
    ('{"message": "m", "code": "c"}', "m", "c"),
    ('{"error": []}', '{"error": []}', None),
    ('{"error": null}', '{"error": null}', None),
    ("{}", "{}", None),
    ("[]", "[]", None),
    ('["error"]', '["error"]', None),
    ("null", "null", None),
    ("7", "7", None),
    ('"words"', '"words"', None),
    ('{"error": {"message": "cut', '{"error": {"message": "cut', None),
    ("NaN", "NaN", None),
    ("1" * 5000, "1" * 5000, None),
    (said("m", code=float("inf")), "m", "Infinity"),
    ("[" * 60000, "[" * 60000, None),
    ("&lt;tag&gt; &amp; more", "<tag> & more", None),
    ("a\n  b\t", "a b", None),
    ("", "", None),
]


@pytest.mark.parametrize(("body", "message", "code"), SHAPES)
def test_whatever_shape_the_body_has(body: str, message: str, code: str | None) -> None:
    error = fail(500, body)
    assert type(error) is ServerError
    assert (error.message, error.code, error.body) == (message, code, body)


def test_a_body_that_is_no_utf8() -> None:
    assert fail(500, b"\xff\xfecaf\xe9").body == "\ufffd\ufffdcaf\ufffd"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["error", "message", "code", "x"]), inner, max_size=3),
    max_leaves=10,
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.text().map(str.encode),
    json_values.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps({"error": {"message": value, "code": value}}).encode()),
    st.text(alphabet="<>/![]titlescrp \n&;#x0123456789{}\":", max_size=200).map(str.encode),
    st.from_regex(r"(retry in|\[\d{3}|Quota exceeded|&#x?)[ 0-9a-z.\]]{0,20}").map(str.encode),
    st.builds(lambda head, tail: head.encode() + tail, st.sampled_from([CLOUDFLARE, NGINX, VERCEL]), st.binary()),
)
dates = st.sampled_from(
    ["Mon, 23 Nov 2026 08:50:54 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]
)
header_values = st.one_of(st.text(max_size=30), st.integers().map(str), st.floats().map(str), dates)
locations = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="htps:/\\@#?[]%.0123456789", max_size=30),
    st.sampled_from(
        [URL, "/x", "///evil", "http://", "//h:3000/x", "https://h/x", "http://[::1", "http://h:port/", "x:y"]
    ),
)
header_sets = st.fixed_dictionaries(
    {}, optional={"Retry-After": header_values, "date": header_values, "LOCATION": locations, "x": header_values}
)


@given(st.integers(0, 999) | st.sampled_from([200, 301, 307, 401, 500]), header_sets, bodies)
def test_nothing_makes_it_crash(status: int, headers: dict[str, str], body: bytes) -> None:
    error = failure(status, Headers(headers.items()), body, url=URL, now=RECORDED_AT)
    assert isinstance(error, APIError)
    assert error.status_code == status
    assert error.body == body.decode("utf-8", "replace")
    assert isinstance(error.message, str)
    assert error.code is None or isinstance(error.code, str)
    assert error.retry_after is None or error.retry_after >= 0
    assert str(error).startswith(f"HTTP {status}")
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is type(error)
    assert (str(restored), vars(restored)) == (str(error), vars(error))


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
        ("1000000000", None),
        ("-5", None),
        ("+5", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("5, 5", None),
        ("5 seconds", None),
        ("soon", None),
        ("", None),
        ("9" * 10000, None),
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
