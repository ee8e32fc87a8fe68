"""Whatever a server or a proxy sends back of what it was sent, nothing of it is shown, in whatever spelling."""

from __future__ import annotations

import base64
import html
import json
import logging
import pickle
import time
import traceback
from typing import Any
from urllib.parse import quote

import pytest
from raw_server import Peer, RawServer

from aichatfree import AIChatFreeError, APIError, InvalidPasswordError, RedirectError, RetryPolicy
from aichatfree.testing import RecordedRequest, Reply, ScriptedServer

PASSWORD = 'hünter2 "& zwei'
SECRET = "s3cret-key"
USER = "me:p4ssw0rd-of-me"


def spellings(secret: str) -> list[str]:
    encoded = secret.encode()
    return [
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        base64.b64encode(encoded).decode(),
        base64.urlsafe_b64encode(encoded).decode().rstrip("="),
        repr(encoded)[2:-1],
    ]


def everything(error: BaseException) -> str:
    """All that a person, a log, or a tool that shows local variables could see of an error."""
    texts: list[str] = []
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        texts += [str(each), repr(each), repr(vars(each)), *traceback.format_exception(each)]
        texts += traceback.TracebackException.from_exception(each, capture_locals=True).format()
        if isinstance(each, APIError):
            texts += [repr(dict(each.headers)), each.body, each.message]
        waiting += [each.__cause__, each.__context__, *getattr(each, "attempts", ())]
    try:
        texts.append(pickle.dumps(error).decode("latin-1"))
        texts.append(repr(vars(pickle.loads(pickle.dumps(error)))))
    except (pickle.PicklingError, AttributeError, TypeError) as failure:
        raise AssertionError("it cannot be pickled") from failure
    return "\n".join(texts)


def asked(face: Any, server: ScriptedServer, echo: Any, **options: Any) -> AIChatFreeError:
    server.enqueue(echo)
    base_url = server.url.replace("http://", f"http://{USER}@")
    client = face.client(base_url, password=PASSWORD, secret=SECRET, max_retries=0, trust_env=False, **options)
    outcome = face.stream(client)
    assert outcome.error is not None
    return outcome.error


def hidden(request: RecordedRequest) -> list[str]:
    values = [PASSWORD, SECRET, USER, USER.partition(":")[2], str(request.json["sign"])]
    return [form for value in values for form in spellings(value) if len(form) > 4]


MORE = [
    json.dumps(PASSWORD)[1:-1].replace("fc", "FC"),
    json.dumps(PASSWORD)[1:-1].replace("&", "\\u0026"),
    json.dumps(json.dumps(PASSWORD))[3:-3],
    quote(PASSWORD.encode("latin-1"), safe=""),
    quote(quote(PASSWORD, safe=""), safe=""),
    base64.b64encode(PASSWORD.encode("latin-1")).decode(),
    repr(PASSWORD.encode("latin-1"))[2:-1],
    ascii(PASSWORD)[1:-1],
    html.escape(PASSWORD).replace("\xfc", "&#252;").replace("&quot;", "&#34;"),
    html.escape(PASSWORD).replace("\xfc", "&uuml;"),
    PASSWORD.encode().hex().upper(),
    PASSWORD.encode("latin-1").decode("utf-8", "replace"),
]
"""Spellings that fewer use."""


@pytest.mark.parametrize("spelling", MORE)
def test_spellings_that_fewer_use(face: Any, server: ScriptedServer, spelling: str) -> None:
    error: Any = asked(face, server, Reply(f"{spelling} is wrong", status=418))
    assert error.body == "*** is wrong"
    assert "(*** is wrong)" in str(error)


@pytest.mark.parametrize("before", [b"", b"1", b"12", b"123"])
def test_base64_of_something_longer(face: Any, server: ScriptedServer, before: bytes) -> None:
    said = base64.b64encode(before + SECRET.encode() + b" and so on").decode()
    error: Any = asked(face, server, Reply(said, status=418))
    assert "***" in error.body
    assert said[4:12] not in error.body


def test_the_signature_in_capitals(face: Any, server: ScriptedServer) -> None:
    error: Any = asked(face, server, lambda request: Reply(request.json["sign"].upper(), status=418))
    assert error.body == "***"


def test_html_in_an_address(face: Any, server: ScriptedServer) -> None:
    """What follows a number sign is no part of the path, and the beginning of a secret is before it."""
    said = html.escape("it's a secret")
    server.enqueue(Reply("", status=307, headers={"Location": f"http://elsewhere.invalid/{said}"}))
    error = face.stream(face.client(server, secret="it's a secret", max_retries=0)).error
    assert isinstance(error, RedirectError)
    assert error.location == "http://elsewhere.invalid/***"
    assert "a secret" not in everything(error)


CUT = {
    "status": lambda said: b"HTTP/1.1 " + said,
    "no http": lambda said: said,
    "header": lambda said: b"HTTP/1.1 200 OK\r\nX-Echo: " + said,
    "length": lambda said: b"HTTP/1.1 200 OK\r\nContent-Length: " + said,
    "framing": lambda said: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + said,
    "chunk": lambda said: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + said,
    "trailer": lambda said: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + said,
    "page": lambda said: b"HTTP/1.1 502 Bad\r\n\r\n<html>" + said,
    "cut page": lambda said: b"HTTP/1.1 502 Bad\r\nContent-Length: 999\r\n\r\n<html>" + said,
    "error": lambda said: b'HTTP/1.1 401 No\r\nContent-Length: 999\r\n\r\n{"error":{"message":"' + said,
}


@pytest.mark.parametrize("place", CUT)
@pytest.mark.parametrize("before", [0, 64, 72])
def test_pieces_of_a_secret(
    face: Any, server: ScriptedServer, place: str, before: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What has come may end amid a secret, and what the libraries quote of it as well."""
    caplog.set_level(logging.DEBUG)
    secret = "correct-horse-battery"
    data = CUT[place](b"," * before + secret[:13].encode())
    rest = b"" if "page" in place else secret[13:].encode() + b"\0\r\n\r\n"

    def send(peer: Peer) -> None:
        peer.sock.sendall(data)
        if rest:
            time.sleep(0.05)  # so that it comes as a packet of its own, mostly
            peer.sock.sendall(rest)
        peer.sock.close()

    with RawServer(send) as raw:
        error = face.stream(face.client(raw.url, secret=secret, max_retries=0, trust_env=False)).error
    shown = everything(error) + caplog.text
    assert [part for part in ("corre", "horse", "batte") if part in shown] == []


def test_names_that_are_changed_in_case(face: Any, server: ScriptedServer) -> None:
    secret = "S3cret-Key"
    server.enqueue(Reply("x", status=418, headers={secret: "x", "Content-Encoding": secret}))
    error = face.stream(face.client(server, secret=secret, max_retries=0)).error
    assert secret.lower() not in everything(error).lower()


PLACES = {
    "body": lambda said: Reply(said, status=418),
    "json": lambda said: Reply(json.dumps({"error": {"code": said, "message": said}}), status=500),
    "header": lambda said: Reply("x", status=503, headers={"X-Echo": said}),
    "cookie": lambda said: Reply("x", status=503, headers={"Set-Cookie": f"a={said}"}),
    "location": lambda said: Reply("", status=302, headers={"Location": f"http://elsewhere.invalid/{said}"}),
    "same place": lambda said: Reply("", status=302, headers={"Location": f"/api/generate?{said}"}),
    "retry after": lambda said: Reply("x", status=429, headers={"Retry-After": said}),
    "encoding": lambda said: Reply("x", headers={"Content-Encoding": said}),
    "reason": lambda said: Reply("x", status=500, reason=said),
    "status": lambda said: Reply([f"HTTP/1.1 {said} OK\r\n\r\n".encode()], exact=True),
    "no http": lambda said: Reply([f"{said}\r\n\r\n".encode()], exact=True),
    "length": lambda said: Reply([f"HTTP/1.1 200 OK\r\nContent-Length: {said}\r\n\r\nx".encode()], exact=True),
    "chunk": lambda said: Reply(
        [f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n{said}\r\n".encode()], exact=True
    ),
    "framing": lambda said: Reply([f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {said}\r\n\r\nx".encode()], exact=True),
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_comes_back_is_shown(
    face: Any, server: ScriptedServer, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(request: RecordedRequest) -> Reply:
        flat = " ".join(form for form in hidden(request) if form.isascii() and '"' not in form)
        made: Reply = PLACES[place](flat)
        return made

    error = asked(face, server, echo)
    shown = everything(error) + caplog.text
    (request, *_) = server.requests
    assert [secret for secret in hidden(request) if secret in shown] == []


def test_the_request_itself_as_an_error_page(face: Any, server: ScriptedServer) -> None:
    error: Any = asked(face, server, lambda request: Reply(bytes(request.body), status=400))
    shown = everything(error)
    assert "***" in error.body
    assert [secret for secret in hidden(server.requests[0]) if secret in shown] == []


@pytest.mark.parametrize(
    "said", [SECRET, quote(SECRET).replace("-", "%2D"), base64.b64encode(SECRET.encode()).decode()]
)
def test_an_address_that_repeats_a_secret_is_not_followed(
    face: Any, server: ScriptedServer, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    """It would stand in the logs of whatever is on the way, those of the HTTP library among them."""
    caplog.set_level(logging.DEBUG)
    server.enqueue(Reply("", status=307, headers={"Location": f"/api/generate?{said}"}))
    error = face.stream(face.client(server, secret=SECRET, max_retries=0)).error
    assert isinstance(error, RedirectError)
    assert len(server.requests) == 1
    assert SECRET not in everything(error)
    assert said not in everything(error) + caplog.text
    assert error.next_url is None


def test_a_redirect_within_the_server_keeps_no_address(face: Any, server: ScriptedServer) -> None:
    again = Reply("", status=307, headers={"Location": "/api/generate?elsewhere"})
    server.enqueue(*[again] * 5)
    error = face.stream(face.client(server, secret=SECRET, max_retries=0)).error
    assert isinstance(error, RedirectError)
    assert len(server.requests) == 4, "it was followed three times"
    assert error.next_url is None


def test_the_signature_of_an_earlier_attempt(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("busy", status=503))
    server.enqueue(lambda request: Reply(f"before it was {server.requests[0].json['sign']}", status=418))
    retry = RetryPolicy(max_retries=1, initial_delay=0.05)
    error = face.stream(face.client(server, secret=SECRET, retry=retry)).error
    assert isinstance(error, APIError)
    first, second = (request.json["sign"] for request in server.requests)
    assert first != second
    assert error.body == "before it was ***"
    assert first not in everything(error)


def test_no_cause_keeps_the_request(face: Any) -> None:
    """Whoever looks through the attributes of a cause, or pickles it, does not find what was sent."""

    def finish(peer: Peer) -> None:
        peer.sock.close()

    with RawServer(finish) as server:
        error = face.stream(face.client(server.url, password=PASSWORD, secret=SECRET, max_retries=0)).error
    cause = error.__cause__
    assert cause is not None
    while cause is not None:
        assert getattr(cause, "request", None) is None
        assert getattr(cause, "response", None) is None
        cause = cause.__cause__ or cause.__context__


def test_the_user_of_a_proxy_alone(face: Any, server: ScriptedServer) -> None:
    proxy = server.url.replace("//", "//f%C3%B6rster:x1x2@")
    server.enqueue(Reply("f\u00f6rster is not known here", status=407))
    error = face.stream(face.client("http://server.invalid", proxy=proxy, max_retries=0)).error
    assert isinstance(error, AIChatFreeError)
    assert "f\u00f6rster" not in everything(error)

    server.enqueue(Reply("f\u00f6rster may not do that", status=403))
    error = face.stream(face.client("http://server.invalid", proxy=proxy, max_retries=0)).error
    assert isinstance(error, APIError)
    assert "may not do that" in error.body
    assert "f\u00f6rster" not in everything(error)


def test_the_headers_of_a_whole_reply(face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply("fine", headers={"X-Echo": f"{SECRET} and more"}))
    outcome = face.stream(face.client(server, secret=SECRET))
    assert outcome.text == "fine"
    assert outcome.stream.headers["x-echo"] == "*** and more"


def test_a_password_that_is_tried_is_in_no_frame(face: Any, server: ScriptedServer) -> None:
    server.enqueue(lambda request: Reply(bytes(request.body), status=500))
    client = face.client(server, max_retries=0)
    with pytest.raises(AIChatFreeError) as caught:
        face.verify_password(client, "correct horse battery")
    own = caught.value.with_traceback(caught.value.__traceback__.tb_next.tb_next)  # not the frames of the tests
    assert "correct horse" not in everything(own)


def test_a_wrong_password_is_in_no_frame_either(face: Any) -> None:
    with ScriptedServer(password="right") as server:
        error = face.stream(face.client(server, password=PASSWORD, max_retries=0)).error
    assert isinstance(error, InvalidPasswordError)
    assert PASSWORD not in everything(error)
