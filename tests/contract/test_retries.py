"""What is tried again, what is not, and what the server sees of it."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest

import aichatfree
from aichatfree import RetryPolicy, Timeout
from aichatfree.testing import Drop, Reply, ScriptedServer, Stall, WrongLength

AT_ONCE = RetryPolicy(max_retries=2, initial_delay=0.0)

PASSING = {
    "closed before the answer": Reply("", fault=Drop("before-answer")),
    "reset before the answer": Reply("", fault=Drop("before-answer", reset=True)),
    "closed before the first byte": Reply("x", fault=Drop("after-headers")),
    "408": Reply.error(408, "Request timeout"),
    "429": Reply.error(429, "Too many requests", headers={"Retry-After": "0"}),
    "quota": Reply.quota(retry_in=0),
    "overloaded upstream": Reply.overloaded(),
    "500": Reply.error(500, "fetch failed"),
    "500 without a body": Reply("", status=500),
    "502": Reply.html(502, "nginx"),
    "503": Reply.html(503, "nginx"),
    "504": Reply.html(504, "vercel"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again(face: Any, server: ScriptedServer, name: str) -> None:
    server.enqueue(PASSING[name], PASSING[name], Reply("at last"))
    outcome = face.stream(face.client(server, retry=AT_ONCE))
    assert outcome.error is None
    assert outcome.text == "at last"
    assert outcome.stream.stats.attempts == 3
    assert len(server.requests) == 3


def test_a_timeout_before_the_first_byte_is_tried_again(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("x", fault=Stall("before-answer")), Reply("at last"))
    client = face.client(server, retry=AT_ONCE, timeout=Timeout(first_byte=0.2))
    assert face.stream(client).text == "at last"


NEVER_PASSING = {
    "wrong password": Reply.wrong_password(),
    "wrong signature": Reply.wrong_signature(),
    "bad request": Reply.error(400, "Invalid message history: The last message must be from user role."),
    "refused region": Reply.upstream_error("User location is not supported for the API use."),
    "refused key": Reply.upstream_error("API key not valid. Please pass a valid API key."),
    "refused by the upstream": Reply.error(500, "Error fetching from [404 Not Found] models/x is not found"),
    "not found": Reply.error(404, "Not found"),
    "forbidden": Reply.html(403, "cloudflare"),
    "not implemented": Reply.error(501, "no"),
    "blocked prompt": Reply.in_band_error(),
    "empty reply": Reply(""),
}


@pytest.mark.parametrize("name", NEVER_PASSING)
def test_what_cannot_pass_is_asked_once(face: Any, server: ScriptedServer, name: str) -> None:
    server.enqueue(NEVER_PASSING[name])
    outcome = face.stream(face.client(server, retry=AT_ONCE))
    assert outcome.error is not None
    assert outcome.error.attempts == ()
    assert len(server.requests) == 1


BROKEN_OFF = {
    "cut": Reply(["some ", "text"], fault=Drop("in-body")),
    "short": Reply(["some ", "text"], framing="content-length", fault=WrongLength(5)),
    "in band": Reply.in_band_error("some ", "text"),
}


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_a_stream_is_never_started_over_once_text_came(face: Any, server: ScriptedServer, name: str) -> None:
    server.enqueue(BROKEN_OFF[name])
    outcome = face.stream(face.client(server, retry=AT_ONCE))
    assert type(outcome.error) is aichatfree.StreamInterruptedError
    assert outcome.text == outcome.error.partial == "some text"
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_generate_starts_over(face: Any, server: ScriptedServer, name: str) -> None:
    server.enqueue(BROKEN_OFF[name], Reply("the whole text"))
    assert face.generate(face.client(server, retry=AT_ONCE)) == "the whole text"


def test_generate_gives_up_with_the_last_partial_text(face: Any, server: ScriptedServer) -> None:
    server.enqueue(*(Reply(f"try {n}", fault=Drop("in-body")) for n in (1, 2, 3)))
    with pytest.raises(aichatfree.StreamInterruptedError) as caught:
        face.generate(face.client(server, retry=AT_ONCE))
    assert caught.value.partial == "try 3"
    assert [error.partial for error in caught.value.attempts] == ["try 1", "try 2"]


def test_a_stalled_reply_is_not_asked_for_again(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("some text", fault=Stall("in-body")))
    with pytest.raises(aichatfree.RequestTimeoutError) as caught:
        face.generate(face.client(server, retry=AT_ONCE, timeout=Timeout(idle=0.2)))
    assert caught.value.partial == "some text"
    assert len(server.requests) == 1


def test_giving_up_keeps_every_error(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.error(502, "one"), Reply.html(429, "vercel"), Reply.overloaded())
    outcome = face.stream(face.client(server, retry=AT_ONCE))
    assert type(outcome.error) is aichatfree.OverloadedError
    assert [type(error) for error in outcome.error.attempts] == [aichatfree.ServerError, aichatfree.RateLimitError]


def test_no_retries(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.overloaded())
    assert type(face.stream(face.client(server, max_retries=0)).error) is aichatfree.OverloadedError
    assert len(server.requests) == 1


def test_each_try_is_signed_afresh(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.overloaded(), lambda request: Reply(str(request.signature_valid)))
    client = face.client(server, retry=RetryPolicy(max_retries=1, initial_delay=0.0, max_retry_after=0.05))
    server.enqueue()
    assert face.generate(client) == "True"
    first, second = server.requests
    assert first.signature_valid
    assert second.signature_valid
    assert second.json["time"] >= first.json["time"]
    assert abs(second.json["time"] / 1000 - time.time()) < 5


def test_the_time_signed_is_that_of_the_sending(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.error(429, "wait", headers={"Retry-After": "0.3"}), Reply("ok"))
    face.generate(face.client(server, max_retries=1))
    first, second = server.requests
    assert second.json["time"] - first.json["time"] >= 290


@pytest.mark.parametrize("form", ["seconds", "date", "message"])
def test_the_wait_the_server_asks_for(face: Any, server: ScriptedServer, form: str) -> None:
    now = time.time()
    asks = {
        "seconds": Reply.error(503, "later", headers={"Retry-After": "0.4"}),
        "date": Reply.error(
            503,
            "later",
            headers={"Retry-After": formatdate(now + 1, usegmt=True), "Date": formatdate(now, usegmt=True)},
        ),
        "message": Reply.quota(retry_in=0.4),
    }
    server.enqueue(asks[form], Reply("ok"))
    outcome = face.stream(face.client(server, max_retries=1))
    assert outcome.text == "ok"
    assert outcome.seconds >= (0.95 if form == "date" else 0.39)


def test_the_wait_the_server_asks_for_is_capped(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.error(429, "later", headers={"Retry-After": "86400"}), Reply("ok"))
    outcome = face.stream(face.client(server, retry=RetryPolicy(max_retries=1, max_retry_after=0.1)))
    assert outcome.text == "ok"
    assert 0.09 <= outcome.seconds < 5


def test_a_dead_pooled_connection_costs_nothing(face: Any, server: ScriptedServer) -> None:
    client = face.client(server, max_retries=0)
    assert face.generate(client)
    # The server takes the next request on the old connection and closes it without a word, as it does when the
    # request crosses its own closing of an idle connection.
    server.enqueue(Reply("", fault=Drop("before-answer")), Reply("on a new connection"))
    outcome = face.stream(client)
    assert outcome.text == "on a new connection"
    assert len({request.connection for request in server.requests}) == 2


def test_a_dead_connection_is_replaced_once(face: Any, server: ScriptedServer) -> None:
    client = face.client(server, max_retries=0)
    assert face.generate(client)
    server.enqueue(*[Reply("", fault=Drop("before-answer"))] * 2)
    outcome = face.stream(client)
    assert type(outcome.error) is aichatfree.ConnectError
    assert len(outcome.error.attempts) == 1


def test_only_a_pooled_connection_is_replaced_for_nothing(face: Any) -> None:
    with ScriptedServer() as server:
        url = server.url
    outcome = face.stream(face.client(url, max_retries=0))
    assert type(outcome.error) is aichatfree.ConnectError
    assert outcome.error.attempts == ()
    assert not outcome.error.reused_connection


def test_an_idle_connection_that_the_server_closed(face: Any) -> None:
    with ScriptedServer(idle_seconds=0.1) as server:
        client = face.client(server, max_retries=0)
        assert face.generate(client)
        server.wait_connections(0)
        assert face.generate(client)


class TestClock:
    """A server that checks the time, on another clock."""

    @pytest.fixture(params=[3600, -3600, 120], ids=["ahead", "behind", "a little"])
    def skewed(self, request: Any) -> Any:
        with ScriptedServer(secret="s", time_limit_seconds=60, clock_offset_seconds=request.param) as server:
            yield server

    def test_is_learnt_once(self, face: Any, skewed: ScriptedServer) -> None:
        client = face.client(skewed, secret="s", max_retries=0)
        assert face.generate(client)
        assert len(skewed.requests) == 2
        assert face.generate(client)
        assert len(skewed.requests) == 3  # it is remembered
        assert face.generate(client.with_options(max_retries=1))
        assert len(skewed.requests) == 4  # by those made from it, too

    def test_does_not_mend_a_wrong_secret(self, face: Any, skewed: ScriptedServer) -> None:
        outcome = face.stream(face.client(skewed, secret="wrong"))
        assert type(outcome.error) is aichatfree.InvalidSignatureError
        assert len(outcome.error.attempts) == 1
        assert len(skewed.requests) == 2

    def test_that_agrees_is_not_blamed(self, face: Any) -> None:
        with ScriptedServer(secret="s", time_limit_seconds=60) as server:
            outcome = face.stream(face.client(server, secret="wrong"))
            assert type(outcome.error) is aichatfree.InvalidSignatureError
            assert len(server.requests) == 1


class TestRedirects:
    """The request bears the password: it goes nowhere else, and never as a GET."""

    @pytest.mark.parametrize("status", [307, 308])
    def test_on_the_same_origin_are_followed(self, face: Any, server: ScriptedServer, status: int) -> None:
        server.enqueue(Reply.redirect("/v2/api/generate", status), Reply("there"))
        outcome = face.stream(face.client(server, password="pw", max_retries=0))
        assert outcome.text == "there"
        first, second = server.requests
        assert (second.method, second.path) == ("POST", "/v2/api/generate")
        assert second.contents == first.contents
        assert second.json["pass"] == "pw"

    @pytest.mark.parametrize("status", [301, 302, 303])
    def test_that_turn_a_post_into_a_get_are_not(self, face: Any, server: ScriptedServer, status: int) -> None:
        server.enqueue(Reply.redirect("/api/generate/", status))
        outcome = face.stream(face.client(server, max_retries=3))
        assert type(outcome.error) is aichatfree.RedirectError
        assert outcome.error.location == f"{server.url}/api/generate/"
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_to_another_port_are_not(self, face: Any, server: ScriptedServer, status: int) -> None:
        with ScriptedServer() as other:
            server.enqueue(Reply.redirect(f"{other.url}/api/generate", status))
            outcome = face.stream(face.client(server, password="pw"))
            assert type(outcome.error) is aichatfree.RedirectError
            assert outcome.error.status_code == status
            assert other.accepted == 0

    @pytest.mark.parametrize(
        "location", ["http://localhost:{port}/api/generate", "//127.0.0.2:{port}/", "http://u@127.0.0.1:{port}/"]
    )
    def test_to_another_host_are_not(self, face: Any, server: ScriptedServer, location: str) -> None:
        server.enqueue(Reply.redirect(location.format(port=server.port), 307))
        outcome = face.stream(face.client(server))
        assert type(outcome.error) is aichatfree.RedirectError
        assert len(server.requests) == 1

    def test_that_go_round_are_left(self, face: Any, server: ScriptedServer) -> None:
        server.enqueue(*[Reply.redirect("/api/generate", 307)] * 10)
        outcome = face.stream(face.client(server))
        assert type(outcome.error) is aichatfree.RedirectError
        assert len(server.requests) == 4

    @pytest.mark.parametrize("location", [None, "", "http://[", "mailto:a@b"])
    def test_to_nowhere(self, face: Any, server: ScriptedServer, location: Any) -> None:
        server.enqueue(Reply("", status=307, headers={"Location": location}))
        outcome = face.stream(face.client(server))
        assert type(outcome.error) is aichatfree.RedirectError
