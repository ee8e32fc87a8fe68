"""client.check() against servers with something wrong, each case with both clients."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import Any

import pytest
from peers import Peer, Peers, sized

from aichatfree import InvalidRequestError, Timeout
from aichatfree._core.diagnosis import CheckReport, Observation
from aichatfree.testing import Drop, Garbage, Reply, ScriptedServer, Stall

AUTH_OK = Reply('{"code":0}')
NAMES = ["reachable", "protocol", "password", "signature", "upstream", "reply"]
SECRET = "PUBLIC_SECRET_KEY as secret=... or AICHATFREE_SECRET"


def check(face: Any, client: Any, **options: Any) -> CheckReport:
    report = face.run(lambda: client.check(**options), lambda: client.check(**options))
    assert isinstance(report, CheckReport)
    assert [result.name for result in report] == NAMES
    for result in report:
        assert result.status in ("ok", "failed", "skipped")
        assert result.explanation
        assert bool(result.remedy) or result.status != "failed"
    assert report.ok is all(result.status != "failed" for result in report)
    statuses = [result.status for result in report]
    first_failure = statuses.index("failed") if "failed" in statuses else len(statuses)
    assert "ok" not in statuses[first_failure:]  # what comes after a failure was not reached
    return report


def failed(report: CheckReport) -> list[str]:
    return [result.name for result in report if result.status == "failed"]


def test_all_is_well_in_two_requests(face: Any, server: ScriptedServer) -> None:
    report = check(face, face.client(server))
    assert report.ok
    assert [result.status for result in report] == ["ok"] * 6
    assert [request.path for request in server.requests] == ["/api/auth", "/api/generate"]
    assert "needs no password" in report["password"].explanation
    first = report["reply"].seconds
    assert first is not None
    assert first > 0
    assert report["reachable"].seconds is not None
    assert [result.name for result in report if result.remedy] == []


@pytest.mark.parametrize(
    ("given", "found"), [("right", None), ("wrong", "refuses the password"), (None, "wants a password")]
)
def test_the_password(face: Any, given: str | None, found: str | None) -> None:
    with ScriptedServer(password="right") as server:
        report = check(face, face.client(server, password=given))
        if found is None:
            assert report.ok
        else:
            assert failed(report) == ["password"]
            assert found in report["password"].explanation
            assert "password=... or AICHATFREE_PASSWORD" in report["password"].remedy
            assert len(server.requests) == 1
        assert "right" not in str(report)
        assert "wrong" not in str(report).removeprefix(f"{server.url}: something is wrong")


def test_a_password_that_only_the_second_request_finds_wrong(face: Any, server: ScriptedServer) -> None:
    server.enqueue(AUTH_OK, Reply.wrong_password())
    assert failed(check(face, face.client(server, password="x"))) == ["password"]


@pytest.mark.parametrize("offset", [0, 400, -400])
def test_the_secret(face: Any, offset: int) -> None:
    with ScriptedServer(secret="right", clock_offset_seconds=offset, time_limit_seconds=300) as server:
        assert check(face, face.client(server, secret="right")).ok
        report = check(face, face.client(server, secret="other"))
        assert failed(report) == ["signature"]
        result = report["signature"]
        assert "the secret is wrong" in result.explanation
        assert SECRET in result.remedy
        if offset:
            assert_clock(result.explanation, offset)
            assert "set this machine's clock" in result.remedy


def assert_clock(explanation: str, offset: int) -> None:
    told = re.search(r"its clock is (\d+) s (ahead of|behind) this machine's", explanation)
    assert told is not None
    assert abs(int(told[1]) - abs(offset)) < 30
    assert told[2] == ("ahead of" if offset > 0 else "behind")


@pytest.mark.parametrize("offset", [400, -400])
def test_a_clock_that_is_off_and_matters(face: Any, offset: int) -> None:
    with ScriptedServer(clock_offset_seconds=offset, time_limit_seconds=300) as server:
        report = check(face, face.client(server))
        assert report.ok
        assert "accepts the signature, but only with its own time" in report["signature"].explanation
        assert_clock(report["signature"].explanation, offset)
        assert "set this machine's clock" in report["signature"].remedy


def test_a_clock_that_is_off_and_does_not_matter(face: Any) -> None:
    with ScriptedServer(clock_offset_seconds=400) as server:
        report = check(face, face.client(server))
        assert report.ok
        assert "only with" not in report["signature"].explanation
        assert_clock(report["signature"].explanation, 400)


def test_a_server_that_tells_no_time(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply('{"code":0}', headers={"Date": None}), Reply.error(401, "Invalid signature."))
    report = check(face, face.client(server))
    assert failed(report) == ["signature"]
    assert "tells no time: the secret is wrong, or the clock" in report["signature"].explanation


@pytest.mark.parametrize(
    ("reply", "words", "remedy"),
    [
        (Reply.quota(retry_in=58.8), "quota", "wait 59 s, or use another server"),
        (Reply.upstream_error("Resource has been exhausted (e.g. check quota)."), "quota", "wait a while, or use ano"),
        (Reply.upstream_error("User location is not supported for the API use."), "region", "tell this one's operator"),
        (Reply.upstream_error("API key not valid. Please pass a valid API key."), "key", "tell this one's operator"),
        (Reply.overloaded(), "overloaded", "try again later"),
        (Reply.in_band_error("some text"), "broke off or blocked", "try again later"),
        (Reply.in_band_error(), "blocked the prompt", "try again later"),
    ],
)
def test_trouble_upstream(face: Any, server: ScriptedServer, reply: Reply, words: str, remedy: str) -> None:
    server.enqueue(AUTH_OK, reply)
    report = check(face, face.client(server))
    assert failed(report) == ["upstream"]
    assert words in report["upstream"].explanation
    assert remedy in report["upstream"].remedy
    assert report["signature"].status == "ok"
    assert len(server.requests) == 2  # not a third: quota is what is scarce


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(""), "no text"),
        (Reply("half", fault=Drop("in-body")), "broke off"),
        (Reply("x", fault=Drop("before-answer")), "before an answer came"),
        (Reply.html(504, "cloudflare"), "HTTP 504"),
        (Reply.error(413, "Payload too large"), "HTTP 413"),
        (Reply.html(429, "vercel"), "HTTP 429"),
        (Reply.error(401, "Log in first"), "HTTP 401"),
    ],
)
def test_no_reply(face: Any, server: ScriptedServer, reply: Reply, words: str) -> None:
    server.enqueue(AUTH_OK, reply, reply)  # twice, for a pooled connection that turns out dead is replaced once
    report = check(face, face.client(server))
    assert failed(report) == ["reply"]
    assert words in report["reply"].explanation
    assert report["password"].status == "ok"


def test_a_reply_that_does_not_come_in_time(face: Any, server: ScriptedServer) -> None:
    server.enqueue(AUTH_OK, Reply("x", fault=Stall("before-answer")))
    report = check(face, face.client(server), timeout=Timeout(first_byte=0.2))
    assert failed(report) == ["reply"]
    assert "no reply began within 0.2 s" in report["reply"].explanation


def test_the_clients_own_limits_hold_where_none_are_given(face: Any, server: ScriptedServer) -> None:
    server.enqueue(AUTH_OK, Reply(["x"], fault=Stall("in-body")))
    report = check(face, face.client(server, timeout=0.2, max_retries=5))
    assert failed(report) == ["reply"]
    assert "stalled for 0.2 s" in report["reply"].explanation
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "words", "remedy"),
    [
        (Reply.html(404, "vercel"), "HTTP 404", "the server's root as base_url"),
        (Reply.html(403, "cloudflare"), "HTTP 403", "something before the server refuses you"),
        (Reply.html(401, "nginx"), "HTTP 401", "something before the server wants credentials"),
        (Reply.html(502, "nginx"), "HTTP 502", "try again later"),
        (Reply.html(429, "vercel"), "HTTP 429", "try again later"),
        (Reply.error(418, "teapot"), "HTTP 418", "give the address of a GeminiProChat server"),
        (Reply.html(200, "nginx"), "HTTP 200", "give the address of a GeminiProChat server"),
    ],
)
def test_what_speaks_another_protocol(face: Any, server: ScriptedServer, reply: Reply, words: str, remedy: str) -> None:
    server.enqueue(reply, reply)
    report = check(face, face.client(server))
    assert failed(report) == ["protocol"]
    assert words in report["protocol"].explanation
    assert remedy in report["protocol"].remedy


def test_another_server_is_named_and_not_asked(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply.redirect("https://user:pw@example.com/login"))
    report = check(face, face.client(server))
    assert failed(report) == ["protocol"]
    assert "https://***@example.com/login" in report["protocol"].remedy
    assert "pw" not in str(report)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer", [Reply.html(404, "vercel"), Reply("not found", status=404), Reply('{"code"', fault=Stall("in-body"))]
)
def test_a_server_without_api_auth_that_works(face: Any, server: ScriptedServer, answer: Reply) -> None:
    server.enqueue(answer)
    report = check(face, face.client(server), timeout=0.5)
    assert report.ok
    assert "/api/auth does not" in report["protocol"].explanation


@pytest.mark.parametrize(
    ("refusal", "found"), [(Reply.wrong_password(), "password"), (Reply.wrong_signature(), "signature")]
)
def test_a_server_without_api_auth_that_refuses(face: Any, server: ScriptedServer, refusal: Reply, found: str) -> None:
    server.enqueue(Reply.html(404, "vercel"), refusal)
    assert failed(check(face, face.client(server))) == [found]


@pytest.mark.parametrize("fault", [Drop("before-answer"), Drop("in-headers"), Garbage(b"SSH-2.0-OpenSSH_9.9\r\n")])
def test_no_answer(face: Any, server: ScriptedServer, fault: Any) -> None:
    server.enqueue(Reply("x", fault=fault))
    report = check(face, face.client(server))
    assert failed(report) == ["reachable"]
    assert "base_url=... or AICHATFREE_BASE_URL" in report["reachable"].remedy
    assert len(server.requests) == 1


def test_a_closed_port(face: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        report = check(face, face.client(url))
    assert failed(report) == ["reachable"]
    assert "nothing accepts connections there" in report["reachable"].explanation
    assert report.base_url == url


def test_a_server_that_never_answers(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("x", fault=Stall("before-answer")))
    report = check(face, face.client(server), timeout=0.2)
    assert failed(report) == ["reachable"]
    assert [result.status for result in report][1:] == ["skipped"] * 5


def test_misuse_is_raised(face: Any, server: ScriptedServer) -> None:
    client = face.client(server)
    with pytest.raises(InvalidRequestError, match="timeout is -1"):
        face.run(lambda: client.check(timeout=-1), lambda: client.check(timeout=-1))
    face.close(client)
    with pytest.raises(InvalidRequestError, match="client is closed"):
        face.run(client.check, client.check)


def test_the_client_goes_on_as_before(face: Any, server: ScriptedServer) -> None:
    client = face.client(server, max_retries=1, timeout=7)
    check(face, client, timeout=3)
    server.enqueue(Reply.overloaded())
    assert face.generate(client)
    assert len(server.requests) == 4


def test_no_secret_is_shown(face: Any) -> None:
    with ScriptedServer(password="hunter2", secret="s3cr3t") as server:
        client = face.client(server, password="hunter2", secret="wr0ng", headers={"Authorization": "Basic abcdef"})
        server.enqueue(AUTH_OK, Reply.error(418, "you sent hunter2, wr0ng and Basic abcdef"))
        report = check(face, client)
        shown = f"{report} {report!r} {json.dumps(report.to_dict())}"
        assert "HTTP 418" in shown
        assert not re.search("hunter2|s3cr3t|wr0ng|abcdef", shown)


def close_from_elsewhere(face: Any, client: Any) -> None:
    """Close a client while its thread or loop is waiting for something else."""
    if face.is_async:
        asyncio.run_coroutine_threadsafe(client.aclose(), face.loop).result(20)
    else:
        client.close()


@pytest.mark.parametrize("during", [1, 2])
def test_a_client_closed_meanwhile(face: Any, during: int) -> None:
    """It is found and reported; only a client that was closed before is refused."""

    def answer(peer: Peer) -> None:
        if len(server.heads) == during:
            close_from_elsewhere(face, client)
            peer.wait_gone()
        else:
            peer.send(sized(b'{"code":0}'))

    with Peers(answer) as server:
        client = face.client(server.url)
        report = check(face, client)
        (found,) = failed(report)
        assert found == ("reachable" if during == 1 else "reply")
        assert report[found].explanation == "the client was closed during the check"
        assert report[found].remedy == "check again with a client that nobody closes meanwhile"
        with pytest.raises(InvalidRequestError, match="client is closed"):
            check(face, client)


def test_a_client_closed_between_the_two_requests(
    face: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = face.client(server)
    observed = Observation.of

    def closing(*args: Any) -> Observation:
        client._share.close()
        return observed(*args)

    monkeypatch.setattr(Observation, "of", closing)
    report = check(face, client)
    assert failed(report) == ["reply"]
    assert report["reply"].explanation == "the client was closed during the check"
    assert [request.path for request in server.requests] == ["/api/auth"]
