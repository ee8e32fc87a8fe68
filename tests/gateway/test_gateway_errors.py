"""What a caller sees of a failure: its status, its words, and whether another attempt can help."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from aichatfree import RetryPolicy, Timeout
from aichatfree.gateway import LocalGateway
from aichatfree.testing import Drop, Garbage, OversizedHeaders, Pause, Repeat, Reply, ScriptedServer

from .kit import HELLO, Caller, content, error_of, events, reasons

ECHO = "ECHOED-WORDS"
"""What a server says and no caller may see."""


def echoed(status: int, message: str = "") -> Reply:
    return Reply.error(status, f"{ECHO} {message} http://inside.example/", code=ECHO)


FAILURES: dict[str, tuple[Reply, int, str, str, bool]] = {
    # what the server does; status, code and words that a caller sees; whether another attempt may help
    "bad request": (echoed(400), 400, "invalid_request", "refused the request", False),
    "upstream's bad request": (
        Reply.upstream_error(f"[GoogleGenerativeAI Error]: Error fetching from  [400 Bad Request] {ECHO} argument."),
        0,
        "",
        "",
        False,
    ),
    "wrong password": (echoed(401, "Invalid password."), 502, "upstream_password", "password", False),
    "wrong signature": (echoed(401, "Invalid signature."), 502, "upstream_secret", "secret", False),
    "other credentials": (echoed(401), 502, "upstream_credentials", "credentials", False),
    "forbidden": (echoed(403), 502, "upstream_refused", "refuses", False),
    "region": (
        Reply.upstream_error(f"[400 Bad Request] {ECHO} User location is not supported for the API use."),
        502,
        "upstream_refused",
        "region",
        False,
    ),
    "not found": (echoed(404), 502, "upstream_not_found", "no GeminiProChat server", False),
    "redirect": (Reply.redirect("http://inside.example/x"), 502, "upstream_redirect", "not sent elsewhere", False),
    "too large": (echoed(413), 400, "context_length_exceeded", "too large", False),
    "gave up waiting": (echoed(408), 504, "timeout", "waiting", True),
    "rate limit": (echoed(429), 429, "rate_limit_exceeded", "too many requests", True),
    "quota": (Reply.quota(58.8), 429, "rate_limit_exceeded", "quota", True),
    "overloaded": (Reply.overloaded(), 503, "overloaded", "overloaded", True),
    "unavailable": (echoed(503), 503, "overloaded", "overloaded or down", True),
    "server error": (echoed(500), 502, "upstream_failed", "failed", True),
    "platform's page": (Reply.html(504), 502, "upstream_failed", "failed", True),
    "not this protocol": (Reply.html(200), 502, "", "", False),
    "teapot": (echoed(418), 502, "upstream_unusable", "", False),
    "not HTTP": (Reply(fault=Garbage()), 502, "upstream_unreachable", "HTTP", True),
    "heads too large": (Reply("x", fault=OversizedHeaders()), 502, "upstream_unreachable", "", True),
    "no answer": (Reply(fault=Drop("before-answer")), 502, "", "", True),
    "empty": (Reply(""), 502, "reply_empty", "no text", False),
    "blocked prompt": (Reply.in_band_error(), 502, "reply_interrupted", "blocked", False),
    "cut before text": (Reply(fault=Drop("after-headers")), 502, "reply_interrupted", "broke off", True),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_before_the_first_piece(caller: Caller, server: ScriptedServer, name: str, stream: bool) -> None:
    reply, status, code, words, may_help = FAILURES[name]
    # A connection that was used before would be replaced once, silently.
    server.default = reply
    answer = caller.chat(stream=stream)
    error = error_of(answer, status or answer.status_code)
    assert error["code"] == code or not code
    assert error["code"] != "invalid_api_key"
    assert words in error["message"]
    kind = "invalid_request_error" if answer.status_code < 429 else "server_error"
    assert error["type"] == ("rate_limit_error" if answer.status_code == 429 else kind)
    told = answer.headers.get("x-should-retry")
    assert told == (None if may_help else "false") or not status
    port = server.url.rpartition(":")[2]
    for hidden in (ECHO, "inside.example", server.url, port, "127.0.0.1"):
        assert hidden not in answer.text
    assert answer.headers.get("retry-after") == ("59" if name == "quota" else None)


def test_nobody_there() -> None:
    with ScriptedServer() as server:
        address = server.url
    with LocalGateway(base_url=address, max_retries=0) as gateway:
        answer = Caller(gateway).chat()
    error = error_of(answer, 502)
    assert error["code"] == "upstream_unreachable"
    assert "accepts connections" in error["message"]
    assert address.rpartition(":")[2] not in answer.text
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize(
    ("timeout", "reply"),
    [
        (Timeout(first_byte=0.2), Reply(Pause(None))),
        (Timeout(total=0.2), Reply(Pause(None))),
        (Timeout(idle=0.2, first_byte=5), Reply(["x", Pause(None)])),
    ],
)
def test_limits(server: ScriptedServer, timeout: Timeout, reply: Reply) -> None:
    server.default = reply
    with LocalGateway(base_url=server.url, max_retries=0, timeout=timeout) as gateway:
        answer = Caller(gateway).chat()
    assert error_of(answer, 504)["code"] == "timeout"
    assert server.url.rpartition(":")[2] not in answer.text


def test_a_limit_that_passes_in_the_wait_for_another_attempt_repeats_nothing(server: ScriptedServer) -> None:
    server.default = echoed(500)
    policy = RetryPolicy(max_retries=9, initial_delay=9, max_delay=9)
    with LocalGateway(base_url=server.url, retry=policy, timeout=Timeout(total=0.05)) as gateway:
        answer = Caller(gateway).chat()
    error_of(answer, 504)
    assert ECHO not in answer.text
    assert answer.headers["x-should-retry"] == "false" or not server.requests[1:]


def test_a_reply_that_is_too_large(server: ScriptedServer) -> None:
    server.default = Reply(Repeat("x" * 100, 100))
    with LocalGateway(base_url=server.url, max_reply_bytes=500) as gateway:
        answer = Caller(gateway).chat()
        assert error_of(answer, 502)["code"] == "reply_too_large"
        assert answer.headers["x-should-retry"] == "false"


CUTS = {
    "in-band error": Reply.in_band_error("Hel", "lo", pause=0.05),
    "cut": Reply(["Hel", "lo", Pause(0.05)], fault=Drop()),
    "reset": Reply(["Hel", "lo", Pause(0.05)], fault=Drop(reset=True)),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_failure_after_the_first_piece(caller: Caller, server: ScriptedServer, name: str) -> None:
    server.default = CUTS[name]
    found = events(caller.chat(stream=True, stream_options={"include_usage": True}))
    failure = found.pop()
    assert set(failure) == {"error"}
    assert set(failure["error"]) == {"message", "type", "param", "code"}
    assert failure["error"]["code"] == "reply_interrupted"
    assert content(found) == "Hello"
    assert reasons(found) == []
    assert not any(event.get("usage") for event in found)
    answer = caller.chat()
    assert error_of(answer, 502)["code"] == "reply_interrupted"
    assert "Hello" not in answer.text
    assert "x-should-retry" not in answer.headers  # the caller has nothing of it, and may ask again


def test_the_gateway_tries_again_and_then_says_that_it_did(server: ScriptedServer) -> None:
    policy = RetryPolicy(max_retries=1, initial_delay=0)
    with LocalGateway(base_url=server.url, retry=policy) as gateway:
        server.enqueue(Reply.overloaded())
        assert Caller(gateway).chat().status_code == 200
        server.enqueue(Reply.overloaded(), Reply.overloaded())
        answer = Caller(gateway).chat(stream=True)
        error_of(answer, 503)
        assert answer.headers["x-should-retry"] == "false"
        assert len(server.requests) == 4


@pytest.mark.parametrize("told", [10.5, 58.8, 3600.0])
def test_a_long_wait_is_passed_on_at_once(server: ScriptedServer, told: float) -> None:
    server.default = Reply.quota(told)
    with LocalGateway(base_url=server.url, max_retries=5) as gateway:
        answer = Caller(gateway).chat()
    error_of(answer, 429)
    assert float(answer.headers["retry-after"]) >= told
    assert "x-should-retry" not in answer.headers
    assert len(server.requests) == 1


def test_a_long_wait_is_passed_on_for_an_overload_too(server: ScriptedServer) -> None:
    server.default = Reply("busy", status=503, headers={"Retry-After": "77"})
    with LocalGateway(base_url=server.url, max_retries=5) as gateway:
        answer = Caller(gateway).chat()
    error_of(answer, 503)
    assert answer.headers["retry-after"] == "77"
    assert len(server.requests) == 1


def test_a_wait_without_end_is_passed_on_as_a_year(caller: Caller, server: ScriptedServer) -> None:
    server.default = Reply("busy", status=429, headers={"Retry-After": "9" * 400})
    assert caller.chat().headers["retry-after"] == "31536000"


def test_a_short_wait_is_sat_out(server: ScriptedServer) -> None:
    server.enqueue(Reply.quota(0.3))
    with LocalGateway(base_url=server.url) as gateway:
        started = time.monotonic()
        assert Caller(gateway).chat().status_code == 200
    assert time.monotonic() - started >= 0.3  # a bound from below: it holds on any machine


def test_a_policy_of_the_callers_own_counts(server: ScriptedServer) -> None:
    class Stubborn(RetryPolicy):
        def retryable(self, error: Exception, *, restartable: bool = False) -> bool:
            return True

        def delay(self, retry: int, error: Exception, random: Any) -> float:
            return 0.0

    server.enqueue(Reply("no", status=418), Reply("no", status=418))
    with LocalGateway(base_url=server.url, retry=Stubborn()) as gateway:
        assert Caller(gateway).chat().status_code == 200
    assert len(server.requests) == 3


def test_the_password_and_the_address_are_nowhere(server: ScriptedServer) -> None:
    server.default = lambda request: Reply.error(500, f"{request.body.decode()} {dict(request.headers)}")
    with LocalGateway(base_url=server.url, password="op3n-s3same", secret="t0p-s3cret", max_retries=0) as gateway:
        answer = Caller(gateway).chat(messages=[*HELLO, {"role": "user", "content": "what-was-asked"}])
    error_of(answer, 502)
    shown = answer.text + repr(answer.headers)
    assert not re.search("op3n|t0p-|what-was-asked", shown)
