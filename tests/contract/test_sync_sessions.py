"""Sessions of the user's, and the libraries that stand in for the network, in the synchronous client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock
import responses
import vcr
from faces import eventually
from peers import Peer, Peers, chunked, head, sized
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

import aichatfree
from aichatfree import (
    Client,
    ConnectError,
    InvalidPasswordError,
    InvalidRequestError,
    OverloadedError,
    RetryPolicy,
    StreamInterruptedError,
)
from aichatfree.testing import Pause, ProxyServer, Reply, ScriptedServer, Stall


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def raise_value_error(response: requests.Response, *args: Any, **kwargs: Any) -> None:
    if response.status_code != 200:
        raise ValueError("a hook of mine")


def raise_without_the_answer(response: requests.Response, *args: Any, **kwargs: Any) -> None:
    if not response.ok:
        raise requests.HTTPError("a hook of mine")


HOOKS: list[Callable[..., Any]] = [
    lambda response, *args, **kwargs: response.raise_for_status(),
    raise_value_error,
    raise_without_the_answer,
]


@pytest.mark.parametrize("single", [False, True], ids=["in a list", "alone"])
@pytest.mark.parametrize("hook", HOOKS, ids=["raise_for_status", "ValueError", "HTTPError"])
def test_a_hook_that_raises(session: requests.Session, hook: Any, single: bool) -> None:
    session.hooks["response"] = hook if single else [hook]
    with ScriptedServer(password="right") as server:
        client = Client(server.url, session=session, password="wrong", max_retries=1)
        with pytest.raises(InvalidPasswordError) as caught:
            client.generate("Hi")
        assert caught.value.status_code == 401
        assert "Invalid password" in caught.value.message
        assert len(server.requests) == 1
        assert client.with_options(password="right").generate("Hi")


def test_a_hook_that_fails_over_a_good_answer(session: requests.Session, server: ScriptedServer) -> None:
    """That is no answer of the server's: it is the hook's own failure."""
    session.hooks["response"].append(lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Client(server.url, session=session).generate("Hi")


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_a_hook_that_reads_the_answer(session: requests.Session, server: ScriptedServer, encoding: Any) -> None:
    read = []
    session.hooks["response"].append(lambda response, *args, **kwargs: read.append(response.text))
    server.enqueue(Reply("one two", encoding=encoding))
    assert Client(server.url, session=session).generate("Hi") == "one two"
    assert read == ["one two"]


@pytest.mark.parametrize("raises", [True, False])
def test_an_adapter_that_tries_again_by_itself(session: requests.Session, server: ScriptedServer, raises: bool) -> None:
    retry = Retry(1, status_forcelist=[503], allowed_methods=None, backoff_factor=0, raise_on_status=raises)
    session.mount("http://", HTTPAdapter(max_retries=retry))
    server.enqueue(*[Reply("busy", status=503)] * 2)
    with pytest.raises(OverloadedError) as caught:
        Client(server.url, session=session, max_retries=0).generate("Hi")
    assert caught.value.status_code == 503
    assert len(server.requests) == 2


def test_an_adapter_that_cannot_connect(session: requests.Session) -> None:
    session.mount("http://", HTTPAdapter(max_retries=Retry(1, status_forcelist=[503], backoff_factor=0)))
    with ScriptedServer() as gone:
        url = gone.url
    with pytest.raises(aichatfree.ConnectError):
        Client(url, session=session, max_retries=0).generate("Hi")


class FromElsewhere:
    """As a session of another library."""

    def request(self, *args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize("wrong", [object(), FromElsewhere(), requests.Session, "session", requests])
def test_what_is_no_session(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"session is of type .*requests\.Session"):
        Client("http://127.0.0.1:9", session=wrong)


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.usefixtures("netrc")
def test_what_takes_precedence_over_netrc(session: requests.Session) -> None:
    with Peers(lambda peer: peer.send(chunked(b"one"))) as server:
        url = server.url.replace("http://", "http://me:mine@")
        Client(url, session=session).generate("Hi")
        Client(server.url, session=session, headers={"authorization": "Bearer mine"}).generate("Hi")
        Client(server.url, session=session).generate("Hi")
        session.auth = ("session", "mine")
        Client(server.url, session=session).generate("Hi")
        Client(server.url, session=session, headers={"Authorization": "Bearer mine"}).generate("Hi")
        Client(url, session=session).generate("Hi")
        sent = [line for lines in server.heads for line in lines.decode().split("\r\n") if "uthorization" in line]
    assert [line.partition(": ")[2] for line in sent] == [
        "Basic bWU6bWluZQ==",
        "Bearer mine",
        "Basic b3RoZXI6b3RoZXI=",
        "Basic c2Vzc2lvbjptaW5l",
        "Bearer mine",  # as with a session of aiohttp's, what the client was given takes precedence
        "Basic bWU6bWluZQ==",
    ]


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("own", [True, False], ids=["own", "session"])
def test_a_proxy_password_beyond_ascii(server: ScriptedServer, own: bool, quoted: bool) -> None:
    user = "m%C3%A9:p%C3%A4ss%3A%E4%BD%A0" if quoted else "mé:päss%3A你"
    with ProxyServer(user="mé", password="päss:你") as proxy, requests.Session() as session:
        options: Any = {} if own else {"session": session}
        url = proxy.url.replace("http://", f"http://{user}@")
        assert Client(server.url, proxy=url, max_retries=0, trust_env=False, **options).generate("Hi")
        assert len(proxy.targets) == 1


@pytest.mark.parametrize("closing", [True, False])
@pytest.mark.parametrize("phase", ["idle", "total"])
def test_limits_in_a_session(session: requests.Session, phase: str, closing: bool) -> None:
    """They hold within an answer, also where the connection will be closed behind it."""

    def answer(peer: Peer) -> None:
        peer.send(head("200 OK", *["Connection: close"] * closing) + b"one")
        while phase == "total" and not peer.over.wait(0.05):
            peer.send(b".")
        peer.wait_gone()

    limits = aichatfree.Timeout(idle=0.3) if phase == "idle" else aichatfree.Timeout(total=0.5)
    with Peers(answer) as server:
        client = Client(server.url, session=session, timeout=limits, max_retries=0)
        with pytest.raises(aichatfree.RequestTimeoutError) as caught:
            client.generate("Hi")
    assert caught.value.phase == phase
    assert caught.value.partial.startswith("one")


def test_a_limit_before_the_answer_in_a_session(session: requests.Session, server: ScriptedServer) -> None:
    server.enqueue(Reply("late", fault=Stall("before-answer")))
    with pytest.raises(aichatfree.RequestTimeoutError) as caught:
        Client(server.url, session=session, timeout=aichatfree.Timeout(first_byte=0.2), max_retries=0).generate("Hi")
    assert caught.value.phase == "first_byte"


@pytest.mark.parametrize("framing", ["chunked", "content-length", "until-close"])
def test_closing_unblocks_a_reader_in_a_session(
    session: requests.Session, server: ScriptedServer, framing: Any
) -> None:
    server.enqueue(Reply(["first", Pause(None), "never"], framing=framing))
    with Client(server.url, session=session, timeout=None, max_retries=0) as client:
        stream = client.stream("hi")
        errors: list[Exception] = []

        def read() -> None:
            try:
                stream.until_done()
            except aichatfree.AIChatFreeError as error:
                errors.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert eventually(lambda: stream.text == "first")
        stream.close()
        reader.join(20)
        assert [type(error) for error in errors] == [aichatfree.StreamInterruptedError]
        assert errors[0].by_caller


@pytest.mark.parametrize("status", [200, 307, 503])
def test_a_library_that_observes_requests(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wraps ``Session.send``, as OpenTelemetry's does, and sees each request of ours."""
    known, seen = requests.Session.send, []

    def send(self: requests.Session, prepared: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        seen.append(prepared.url)
        return known(self, prepared, **kwargs)

    monkeypatch.setattr(requests.Session, "send", send)
    answer = sized(b"one", "Location: http://elsewhere.invalid/", "Set-Cookie: a=b", status=f"{status} Whatever")
    with Peers(lambda peer: peer.send(answer)) as server:
        with Client(server.url, trust_env=False, max_retries=0, timeout=5) as client:
            if status == 200:
                assert client.generate("Hi") == client.generate("Hi") == "one"
            else:
                with pytest.raises(aichatfree.APIError) as caught:
                    client.generate("Hi")
                assert caught.value.status_code == status
                assert "one" in caught.value.body
    assert set(seen) == {f"{server.url}/api/generate"}


class TestMocks:
    @pytest.mark.parametrize("own", [True, False], ids=["own", "session"])
    def test_requests_mock(self, session: requests.Session, own: bool) -> None:
        options: Any = {} if own else {"session": session}
        with requests_mock.Mocker() as mock:
            mock.post("http://mock.example/api/generate", [{"text": "你好"}, {"status_code": 503}])
            client = Client("http://mock.example", max_retries=0, trust_env=False, **options)
            assert client.generate("Hi") == "你好"
            with pytest.raises(OverloadedError):
                client.generate("Hi")

    def test_an_adapter_of_requests_mock(self, session: requests.Session) -> None:
        adapter = requests_mock.Adapter()
        adapter.register_uri("POST", "mock://site/api/generate", text="fine")
        adapter.register_uri("POST", "http://site/api/generate", exc=requests.ConnectTimeout)
        session.mount("http://", adapter)
        with pytest.raises(aichatfree.RequestTimeoutError):
            Client("http://site", session=session, max_retries=0).generate("Hi")

    @responses.activate
    def test_responses_in_a_session(self, session: requests.Session) -> None:
        responses.post("http://mock.example/api/generate", body="fine", status=200)
        responses.post("http://mock.example/api/generate", body="busy", status=503)
        client = Client("http://mock.example", session=session, max_retries=0)
        assert client.generate("Hi") == "fine"
        with pytest.raises(OverloadedError):
            client.generate("Hi")

    @pytest.mark.parametrize("own", [True, False], ids=["own", "session"])
    def test_vcr(self, session: requests.Session, tmp_path: Path, own: bool) -> None:
        """A cassette is recorded, and played when the server is gone."""
        options: Any = {} if own else {"session": session}
        cassette = vcr.VCR(match_on=["method", "uri"], cassette_library_dir=str(tmp_path))
        with Peers(lambda peer: peer.send(chunked("你".encode(), "好".encode()))) as server:
            client = Client(server.url, max_retries=0, trust_env=False, **options)
            assert client.generate("before") == "你好"
            session.close()  # vcr drops the connections that lie in a pool, and leaves them open
            with cassette.use_cassette("one.yaml"):
                assert client.generate("Hi") == "你好"
            assert client.generate("between") == "你好"
            session.close()
        with cassette.use_cassette("one.yaml", record_mode="none") as played:
            assert client.generate("Hi") == "你好"
            assert played.play_count == 1
            with pytest.raises(Exception, match=r"play back|existing cassette"):  # as its versions put it
                client.generate("Hi")
        with pytest.raises(aichatfree.ConnectError):
            client.generate("after")
        client.close()

    def test_vcr_and_a_failure(self, tmp_path: Path) -> None:
        cassette = vcr.VCR(match_on=["method", "uri"], cassette_library_dir=str(tmp_path))
        with Peers(lambda peer: peer.send(sized(b"busy", "Retry-After: 7", status="503 Busy"))) as server:
            url = server.url
            for _ in range(2):
                with cassette.use_cassette("two.yaml"), Client(url, trust_env=False, max_retries=0) as client:
                    with pytest.raises(OverloadedError) as caught:
                        client.generate("Hi")
                    assert caught.value.retry_after == 7
            assert len(server.heads) == 1


def test_retries_through_a_session(session: requests.Session, server: ScriptedServer) -> None:
    server.enqueue(Reply("no", status=503), Reply(["on", Pause(0.01), "e"]))
    retry = RetryPolicy(max_retries=1, initial_delay=0)
    began = time.monotonic()
    assert Client(server.url, session=session, retry=retry).generate("Hi") == "one"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("own", [True, False], ids=["own", "session"])
def test_a_location_in_utf8(session: requests.Session, own: bool) -> None:
    options: Any = {} if own else {"session": session}
    answer = sized(b"", "Location: http://elsewhere.invalid/größe", status="307 Temporary Redirect")
    with Peers(lambda peer: peer.send(answer)) as server:
        with pytest.raises(aichatfree.RedirectError, match=r"gr(ö|%C3%B6)(ß|%C3%9F)e"):
            Client(server.url, max_retries=0, **options).generate("Hi")


@pytest.mark.parametrize(
    "coding",
    [": chunked, identity", ": \x0bchunked", " : chunked", ": gzip, chunked", ": xchunked"],
    ids=["identity behind it", "a vertical tab", "a space before the colon", "compressed", "unknown"],
)
def test_a_framing_that_a_session_does_not_read_is_no_text(session: requests.Session, coding: str) -> None:
    def answer(peer: Peer) -> None:
        peer.send(f"HTTP/1.1 200 OK\r\nTransfer-Encoding{coding}\r\n\r\n".encode() + b"3\r\none\r\n0\r\n\r\n")
        peer.finish()

    with Peers(answer) as server:
        stream = Client(server.url, session=session, max_retries=0).stream("hi")
        with pytest.raises(StreamInterruptedError):
            next(stream)
        assert stream.text == ""


def test_a_session_knows_fewer_fields(session: requests.Session) -> None:
    """http.client's bound, which is for the whole program: it is told, and documented, and not changed here."""
    fields = [f"X-{number}: y" for number in range(150)]
    with Peers(lambda peer: peer.send(sized(b"one", *fields))) as server:
        assert Client(server.url, max_retries=0).generate("Hi") == "one"
        with pytest.raises(ConnectError, match="got more than 100 headers"):
            Client(server.url, session=session, max_retries=0).generate("Hi")
