"""Every answer that is no reply, and the exception it becomes."""

from __future__ import annotations

import json
import pickle

import pytest
from core_kit import RECORDED_AT, URL, fail, locations, recorded, said, upstream
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.failures import failure
from aichatfree._core.wire.headers import Headers
from aichatfree._core.wire.redaction import MAX_SHOWN
from aichatfree.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    InvalidPasswordError,
    InvalidRequestError,
    InvalidSignatureError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)

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
    assert error.headers == answer.headers
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
    (NotFoundError, 404, upstream("[404 Not Found] models/gemini-pro is not found for API version v1beta")),
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
    (500, "[418 I'm a teapot]", "the model's provider refuses the request as it stands; change the messages"),
    (500, "[502 Bad Gateway]", "the model's provider answered the server with 502"),
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
    assert type(error) is (BadRequestError if code == "Error" else ServerError)
    assert (error.message, error.code, error.body) == (message, code, body)


def test_a_body_that_is_no_utf8() -> None:
    assert fail(500, b"\xff\xfecaf\xe9").body == "\ufffd\ufffdcaf\ufffd"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.text().map(str.encode),
    json_values.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps({"error": {"message": value, "code": value}}).encode()),
    st.text(alphabet='<>/![]titlescrp \n&;#x0123456789{}":', max_size=200).map(str.encode),
    st.from_regex(r"(retry in|\[\d{3}|Quota exceeded|&#x?)[ 0-9a-z.\]]{0,20}").map(str.encode),
    st.builds(lambda head, tail: head.encode() + tail, st.sampled_from([CLOUDFLARE, NGINX, VERCEL]), st.binary()),
)
dates = st.sampled_from(
    ["Mon, 23 Nov 2026 08:50:54 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"]
)
header_values = st.one_of(st.text(max_size=30), st.integers().map(str), st.floats().map(str), dates)
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
