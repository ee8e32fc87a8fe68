"""The clients themselves: settings, copies, pickles, lifecycle, and what goes on the wire."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import time
from typing import Any

import aiohttp
import pytest
import requests
from peers import Peers, chunked

import aichatfree
from aichatfree import AsyncClient, Client, InvalidRequestError, Message, StreamInterruptedError
from aichatfree._core.call import Call
from aichatfree.testing import Pause, Reply, ScriptedServer


def test_what_goes_on_the_wire(face: Any, server: ScriptedServer) -> None:
    face.generate(face.client(server.url + "/", password="pw", secret=""), "Grüß \ud800 dich")
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/generate")
    assert request.contents == [{"role": "user", "parts": [{"text": "Grüß \ufffd dich"}]}]
    assert set(request.json) == {"messages", "time", "pass", "sign"}
    assert request.json["pass"] == "pw"
    assert isinstance(request.json["time"], int)
    assert abs(request.json["time"] - time.time() * 1000) < 5000
    assert request.signature_valid
    headers = request.headers
    assert headers["User-Agent"] == f"aichatfree/{aichatfree.__version__}"
    assert headers["Content-Type"] == "text/plain;charset=UTF-8"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Origin"] == server.url
    assert headers["Referer"] == server.url + "/"
    assert headers["Accept"]
    for name in ("Content-Length", "Host", "User-Agent", "Accept-Encoding", "Content-Type"):
        assert len(headers.get_all(name)) == 1, name


def test_headers_are_overridden_in_any_case(face: Any, server: ScriptedServer) -> None:
    face.generate(face.client(server, headers={"user-agent": "mine", "ACCEPT-ENCODING": "gzip", "X-Extra": "1"}))
    headers = server.requests[0].headers
    assert headers.get_all("User-Agent") == ["mine"]
    assert headers.get_all("Accept-Encoding") == ["gzip"]
    assert headers["X-Extra"] == "1"


@pytest.mark.parametrize("name", ["Host", "host", "HOST"])
def test_a_host_of_ones_own(face: Any, server: ScriptedServer, name: str) -> None:
    face.generate(face.client(server, headers={name: "virtual.example"}))
    assert server.requests[0].headers.get_all("Host") == ["virtual.example"]


def test_headers_go_out_as_latin1(face: Any) -> None:
    every = "".join(map(chr, range(0xA1, 0x100)))
    with Peers(lambda peer: peer.send(chunked(b"ok"))) as server:
        assert face.generate(face.client(server.url, headers={"X-Extra": f"a {every} z"})) == "ok"
        assert f"X-Extra: a {every} z\r\n".encode("latin-1") in server.heads[0] + b"\r\n"


def test_a_base_url_with_a_path_and_a_user(face: Any, server: ScriptedServer) -> None:
    url = server.url.replace("http://", "http://user:p%40ss@") + "/chat/"
    client = face.client(url)
    server.enqueue(Reply("ok"))
    assert face.generate(client) == "ok"
    assert server.requests[0].path == "/chat/api/generate"
    assert server.requests[0].headers["Authorization"] == requests.auth._basic_auth_str("user", "p@ss")
    assert "p@ss" not in repr(client)
    assert "p%40ss" not in repr(client)


def test_the_environment(face: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICHATFREE_BASE_URL", server.url)
    monkeypatch.setenv("AICHATFREE_SECRET", "s")
    monkeypatch.setenv("AICHATFREE_PASSWORD", "pw")
    kind = AsyncClient if face.is_async else Client
    client = kind()
    monkeypatch.delenv("AICHATFREE_BASE_URL")  # it was read when the client was made
    server.enqueue(Reply("ok"))
    assert face.generate(client) == "ok"
    assert server.requests[0].json["pass"] == "pw"
    assert kind(server.url, password="", secret="").base_url == server.url
    server.enqueue(Reply("ok"))
    face.generate(kind(server.url, password=""))
    assert server.requests[1].json["pass"] is None


def test_the_default_address() -> None:
    assert Client().base_url == AsyncClient().base_url == "https://aichatfree.info"


def test_every_kind_of_message(face: Any, server: ScriptedServer) -> None:
    history = [
        {"role": "system", "content": "Be brief."},
        Message("user", "Hello"),
        {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "user", "parts": [{"text": "How are "}, {"text": "you?"}]},
    ]
    face.generate(face.client(server), history)
    assert server.requests[0].contents == [
        {"role": "user", "parts": [{"text": "Be brief.\n\nHello"}]},
        {"role": "model", "parts": [{"text": "Hi"}]},
        {"role": "user", "parts": [{"text": "How are "}, {"text": "you?"}]},
    ]
    assert server.requests[0].signature_valid


@pytest.mark.parametrize("call", ["stream", "generate"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"messages": ""},
        {"messages": []},
        {"messages": None},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "robot", "content": "a"}]},
        {"messages": "hi", "timeout": 0},
        {"messages": "hi", "timeout": (1, 2)},
        {"messages": "hi", "model": 5},
    ],
)
def test_bad_arguments_are_refused_before_any_io(face: Any, server: ScriptedServer, call: str, arguments: Any) -> None:
    client = face.client(server)
    with pytest.raises(InvalidRequestError):
        if call == "stream":
            client.stream(**arguments)
        else:
            face.run(lambda: client.generate(**arguments), lambda: client.generate(**arguments))
    assert server.accepted == 0


def test_large_requests(face: Any, server: ScriptedServer) -> None:
    text = "长" * 1_000_000
    face.generate(face.client(server), text)
    assert server.requests[0].prompt == text


class SlottedClient(Client):
    __slots__ = ("label", "unset")
    number: int


class SlottedAsyncClient(AsyncClient):
    __slots__ = ("label", "unset")
    number: int


class TestWithOptions:
    def test_shares_the_connections(self, face: Any, server: ScriptedServer) -> None:
        client = face.client(server)
        face.generate(client)
        other = client.with_options(timeout=5, password="pw", max_retries=7, model="m", headers={"X-A": "1"})
        face.generate(other)
        first, second = server.requests
        assert first.connection == second.connection
        assert second.json["pass"] == "pw"
        assert second.headers["X-A"] == "1"
        assert other.stream("hi").model == "m"
        assert first.json["pass"] is None

    def test_the_first_closes_them_for_all(self, face: Any, server: ScriptedServer) -> None:
        client = face.client(server)
        other = client.with_options(timeout=5)
        again = other.with_options(timeout=6)
        face.generate(other)
        face.close(other)
        assert (client.closed, other.closed, again.closed) == (False, True, False)
        server.wait_connections(1)
        assert face.generate(again)
        assert server.requests[0].connection == server.requests[1].connection
        face.close(client)
        server.wait_connections(0)
        assert again.closed
        with pytest.raises(InvalidRequestError, match="closed"):
            face.generate(again)

    def test_closing_one_interrupts_its_own_streams_only(self, face: Any, server: ScriptedServer) -> None:
        client = face.client(server)
        other = client.with_options(timeout=5)
        forever = Reply(["first", Pause(60), "never"])
        server.enqueue(forever, forever)
        kept, interrupted = client.stream("a"), other.stream("b")
        for stream in (kept, interrupted):
            assert face.run(lambda stream=stream: next(stream), lambda stream=stream: anext(stream)) == "first"
        face.close(other)
        with pytest.raises(StreamInterruptedError) as caught:
            face.run(interrupted.until_done, interrupted.until_done)
        assert caught.value.partial == "first"
        assert not kept.closed
        face.close(client)
        with pytest.raises(StreamInterruptedError):
            face.run(kept.until_done, kept.until_done)

    def test_closing_one_as_a_call_begins(
        self, face: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look whether it is closed and the call's being known to it."""
        client = face.client(server)
        start = Call.start

        def start_late(call: Call) -> Any:
            client._share.close()
            return start(call)

        monkeypatch.setattr(Call, "start", start_late)
        outcome = face.stream(client)
        assert type(outcome.error) is StreamInterruptedError
        assert outcome.error.by_caller
        assert outcome.stream.stats.attempts == 0
        assert server.accepted == 0

    def test_another_transport_is_apart(self, face: Any, server: ScriptedServer) -> None:
        client = face.client(server)
        face.generate(client)
        other = client.with_options(trust_env=False)
        face.generate(other)
        first, second = server.requests
        assert first.connection != second.connection
        face.close(other)
        server.wait_connections(1)

    def test_unknown_options(self, face: Any, server: ScriptedServer) -> None:
        with pytest.raises(InvalidRequestError, match="no option 'colour'"):
            face.client(server).with_options(colour="red")
        with pytest.raises(InvalidRequestError, match="session"):
            face.client(server).with_options(session=None)

    def test_another_secret_and_server(self, face: Any) -> None:
        with ScriptedServer(secret="s") as server:
            client = face.client("http://127.0.0.1:1", secret="wrong")
            assert face.generate(client.with_options(base_url=server.url, secret="s"))


class TestLifecycle:
    def test_closing(self, face: Any, server: ScriptedServer) -> None:
        client = face.client(server)
        waiting = client.stream("hi")
        face.generate(client)
        face.close(client)
        face.close(client)
        assert client.closed
        server.wait_connections(0)
        for refused in (
            lambda: client.stream("hi"),
            lambda: client.with_options(timeout=1),
            lambda: face.generate(client),
            lambda: face.verify_password(client),
        ):
            with pytest.raises(InvalidRequestError, match="closed"):
                refused()
        for _ in range(2):
            with pytest.raises(StreamInterruptedError, match="closed"):
                face.run(waiting.until_done, waiting.until_done)
        assert "closed" in repr(client)

    def test_context(self, face: Any, server: ScriptedServer) -> None:
        client = face.client(server)

        def use() -> None:
            with client as entered:
                assert entered is client
                assert entered.generate("hi")

        async def ause() -> None:
            async with client as entered:
                assert entered is client
                assert await entered.generate("hi")

        face.run(use, ause)
        assert client.closed
        server.wait_connections(0)

    def test_a_context_of_the_wrong_kind(self, server: ScriptedServer) -> None:
        assert not hasattr(Client, "__aenter__")
        assert not hasattr(AsyncClient, "__enter__")

    def test_a_forgotten_client(self, server: ScriptedServer) -> None:
        assert [*Client(server.url).stream("hi")]
        gc.collect()
        server.wait_connections(0)

    @pytest.mark.parametrize("copier", [lambda c: pickle.loads(pickle.dumps(c)), copy.copy, copy.deepcopy])
    def test_pickling_and_copying(self, face: Any, copier: Any) -> None:
        with ScriptedServer(secret="s", password="pw") as server:
            client = face.client(server, secret="s", password="pw", max_retries=0, headers={"X-A": "1"})
            other = copier(client)
            face.close(client)
            assert face.generate(other)
            assert server.requests[0].headers["X-A"] == "1"
            face.close(other)

    @pytest.mark.parametrize("copier", [lambda c: pickle.loads(pickle.dumps(c)), copy.copy, lambda c: c.with_options()])
    @pytest.mark.parametrize("kind", [SlottedClient, SlottedAsyncClient])
    def test_attributes_of_subclasses(self, kind: Any, copier: Any) -> None:
        client = kind("http://127.0.0.1:9", trust_env=False)
        client.label, client.number = "mine", 3
        other = copier(client)
        assert type(other) is kind
        assert (other.label, other.number) == ("mine", 3)
        assert not hasattr(other, "unset")

    def test_passwords(self, face: Any) -> None:
        with ScriptedServer(password="right") as server:
            assert face.verify_password(face.client(server, password="right")) is True
            assert face.verify_password(face.client(server, password="wrong")) is False
            assert face.verify_password(face.client(server), "right") is True
            assert face.verify_password(face.client(server)) is False
        with ScriptedServer() as server:
            assert face.verify_password(face.client(server), "any") is True

    @pytest.mark.parametrize("body", ["", "no json", "[]", '{"code": "0"}', "{}"])
    def test_an_answer_that_is_not_about_passwords(self, face: Any, server: ScriptedServer, body: str) -> None:
        server.enqueue(Reply(body))
        with pytest.raises(aichatfree.APIError, match="base_url"):
            face.verify_password(face.client(server, max_retries=0), "pw")

    def test_repr(self, face: Any, server: ScriptedServer) -> None:
        client = face.client(server, password="hunter2", secret="s3cret", proxy="http://u:hunter3@localhost:1")
        assert server.url in repr(client)
        for hidden in ("hunter2", "s3cret", "hunter3"):
            assert hidden not in repr(client)
            assert hidden not in repr(client.__dict__)


class TestSessions:
    """A session or connector of the user's."""

    def test_requests_session(self, server: ScriptedServer) -> None:
        with requests.Session() as session:
            session.headers["X-Session"] = "mine"
            session.cookies.set("who", "me")
            session.auth = ("user", "pass")
            seen: list[int] = []
            session.hooks["response"].append(lambda response, *args, **kwargs: seen.append(response.status_code))
            client = Client(server.url, session=session)
            server.enqueue(Reply(["你", "好"], encoding="gzip"))
            assert [*client.stream("hi")] == ["你", "好"]
            headers = server.requests[0].headers
            assert (headers["X-Session"], headers["Cookie"]) == ("mine", "who=me")
            assert headers["Authorization"].startswith("Basic ")
            assert headers["User-Agent"].startswith("aichatfree/")
            assert seen == [200]
            client.close()
            assert session.get(server.url).status_code == 404  # still open

    def test_requests_session_limits(self, server: ScriptedServer) -> None:
        from aichatfree.testing import Pause, Stall

        with requests.Session() as session:
            client = Client(server.url, session=session, max_retries=0, timeout=aichatfree.Timeout(idle=0.3))
            server.enqueue(Reply(["a", Pause(None)]))
            with pytest.raises(aichatfree.RequestTimeoutError) as caught:
                client.generate("hi")
            assert (caught.value.phase, caught.value.partial) == ("idle", "a")
            server.enqueue(Reply("a", fault=Stall("before-answer")))
            with pytest.raises(aichatfree.RequestTimeoutError) as caught:
                client.generate("hi", timeout=0.3)
            assert caught.value.phase == "first_byte"
            server.wait_connections(0)

    def test_aiohttp_session(self, server: ScriptedServer) -> None:
        from aichatfree.testing import Pause, Stall

        async def main() -> None:
            async with aiohttp.ClientSession(headers={"X-Session": "mine"}) as session:
                client = AsyncClient(server.url, session=session, max_retries=0, timeout=0.3)
                server.enqueue(Reply(["你", "好"], encoding="gzip"))
                assert await client.generate("hi") == "你好"
                assert server.requests[0].headers["X-Session"] == "mine"
                server.enqueue(Reply(["a", Pause(None)]))
                with pytest.raises(aichatfree.RequestTimeoutError) as caught:
                    await client.generate("hi")
                assert (caught.value.phase, caught.value.partial) == ("idle", "a")
                server.enqueue(Reply("a", fault=Stall("before-answer")))
                with pytest.raises(aichatfree.RequestTimeoutError) as caught:
                    await client.generate("hi", timeout=0.3)
                assert caught.value.phase == "first_byte"
                await asyncio.to_thread(server.wait_connections, 0)
                await client.aclose()
                assert not session.closed
            late = AsyncClient(server.url, session=session)
            with pytest.raises(InvalidRequestError, match="closed"):
                await late.generate("hi")

        asyncio.run(main())

    def test_connector(self, server: ScriptedServer) -> None:
        async def main() -> None:
            connector = aiohttp.TCPConnector(limit=1)
            async with AsyncClient(server.url, connector=connector) as client:
                assert await client.generate("hi")
            assert not connector.closed
            assert server.connections == 1  # its pool is the user's
            await connector.close()

        asyncio.run(main())

    @pytest.mark.parametrize("kind", ["session", "connector"])
    def test_cannot_be_pickled(self, server: ScriptedServer, kind: str) -> None:
        async def main() -> None:
            if kind == "session":
                async with aiohttp.ClientSession() as session:
                    with pytest.raises(TypeError, match="session="):
                        pickle.dumps(AsyncClient(server.url, session=session))
            else:
                connector = aiohttp.TCPConnector()
                with pytest.raises(TypeError, match="connector="):
                    pickle.dumps(AsyncClient(server.url, connector=connector))
                with pytest.raises(InvalidRequestError, match="verify"):
                    AsyncClient(server.url, connector=connector).with_options(verify=False)
                await connector.close()

        asyncio.run(main())
        with requests.Session() as session, pytest.raises(TypeError, match="session="):
            pickle.dumps(Client(server.url, session=session))

    def test_a_connector_of_another_loop(self, server: ScriptedServer) -> None:
        async def make() -> AsyncClient:
            return AsyncClient(server.url, connector=aiohttp.TCPConnector())

        client = asyncio.run(make())
        with pytest.raises(InvalidRequestError, match="another event loop"):
            asyncio.run(client.generate("hi"))
        with pytest.raises(InvalidRequestError, match="connector is of type str"):
            AsyncClient(server.url, connector="tcp")

    def test_both_are_too_many(self, server: ScriptedServer) -> None:
        async def main() -> None:
            async with aiohttp.ClientSession() as session:
                with pytest.raises(InvalidRequestError, match="not both"):
                    AsyncClient(server.url, session=session, connector=session.connector)

        asyncio.run(main())
