"""How a gateway begins and ends: hang-ups, shutdown, many callers, the log, and what is left over."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import socket
import threading
import typing
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from faces import eventually

import aichatfree.gateway
from aichatfree import AsyncClient, InvalidRequestError
from aichatfree.gateway import LocalGateway, bodies, completions, create_app, service
from aichatfree.gateway.app import create_subapp
from aichatfree.gateway.service import GATEWAY
from aichatfree.testing import Pause, Reply, ScriptedServer

from .kit import CHAT, HELLO, RESPONSES, Caller, content, error_of, events

HANG = Reply(["first", Pause(None)])


def raw_post(port: int, body: Any, path: str = CHAT) -> socket.socket:
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    head = f"POST /v1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


@pytest.mark.parametrize("reply", [Reply(Pause(None)), HANG], ids=["before the first piece", "in the middle"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_hangs_up_ends_the_call_below(
    gateway: LocalGateway, server: ScriptedServer, reply: Reply, stream: bool
) -> None:
    server.default = reply
    connection = raw_post(gateway.port, {"model": "m", "messages": HELLO, "stream": stream, "n": 2})
    server.wait_requests(2)
    if stream and reply is HANG:
        assert b"200" in connection.recv(100)
    connection.close()
    server.wait_idle()
    server.wait_connections(0)


def test_a_hang_up_is_noticed_where_the_runner_does_not_cancel(server: ScriptedServer) -> None:
    async def run() -> None:
        async with AsyncClient(server.url) as client:
            runner = web.AppRunner(create_app(client), handler_cancellation=False)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            connection = raw_post(runner.addresses[0][1], {"model": "m", "messages": HELLO})
            await asyncio.to_thread(server.wait_requests, 1)
            connection.close()
            await asyncio.to_thread(server.wait_idle)
            await runner.cleanup()

    server.default = Reply(Pause(None))
    asyncio.run(run())


def cut(gateway: LocalGateway, server: ScriptedServer, path: str, body: dict[str, Any], count: int = 1) -> str:
    """What a caller gets of an answer during which the gateway is closed."""
    got: list[str] = []
    first = threading.Event()

    def read() -> None:
        caller = Caller(gateway)
        with caller.post(path, {"model": "m", **body}, stream=True) as answer:
            text = str(answer.status_code)
            for data in answer.iter_content(None):
                text += data.decode()
                first.set()
            got.append(text)

    thread = threading.Thread(target=read)
    thread.start()
    server.wait_requests(count)
    if body.get("stream"):
        assert first.wait(10)
    gateway.close()
    thread.join(10)
    return got[0]


def test_no_stream_ends_as_if_it_were_whole(server: ScriptedServer) -> None:
    server.default = HANG
    with LocalGateway(base_url=server.url) as gateway:
        text = cut(gateway, server, CHAT, {"messages": HELLO, "stream": True})
    assert "first" in text
    assert "[DONE]" not in text
    assert '"finish_reason":"stop"' not in text
    last = json.loads(text.rstrip().rpartition("data: ")[2])
    assert last["error"]["code"] == "shutting_down"
    with LocalGateway(base_url=server.url) as gateway:
        text = cut(gateway, server, RESPONSES, {"input": "x", "stream": True}, 2)
    last = json.loads(text.rstrip().rpartition("data: ")[2])
    assert last["type"] == "response.failed"
    assert "response.completed" not in text
    with LocalGateway(base_url=server.url) as gateway:
        text = cut(gateway, server, CHAT, {"messages": HELLO}, 3)
    assert text.startswith("503")
    assert "shutting_down" in text
    server.wait_idle()


def test_running_replies_may_end_by_themselves(server: ScriptedServer) -> None:
    server.default = Reply(["first ", Pause(0.3), "last"])
    gateway = LocalGateway(base_url=server.url).start()
    gateway._app[GATEWAY].grace_seconds = 10
    text = cut(gateway, server, CHAT, {"messages": HELLO, "stream": True})
    assert text.endswith("data: [DONE]\n\n")
    assert "last" in text


def test_too_many_calls_are_told_to_come_again(server: ScriptedServer) -> None:
    server.default = HANG
    with LocalGateway(base_url=server.url, max_concurrent=2) as gateway:
        caller = Caller(gateway)
        answer = caller.chat(n=3)
        assert error_of(answer, 503)["code"] == "overloaded"
        first = raw_post(gateway.port, {"model": "m", "messages": HELLO, "stream": True})
        server.wait_requests(1)
        error_of(caller.chat(n=2), 503)
        second = raw_post(gateway.port, {"model": "m", "messages": HELLO, "stream": True})
        server.wait_requests(2)
        answer = caller.chat()
        assert error_of(answer, 503)["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) > 0
        assert "x-should-retry" not in answer.headers
        assert caller.get("/models").status_code == 200
        first.close()
        server.default = Reply("again")
        assert eventually(lambda: caller.chat().status_code == 200)
        second.close()
    assert len(server.requests) < 10
    with pytest.raises(ValueError, match="max_concurrent"):
        LocalGateway(base_url=server.url, max_concurrent=0)


def test_many_streams_at_once(server: ScriptedServer) -> None:
    count = 200
    server.default = Reply([f"piece {number} " for number in range(5)], pause=0.02)

    async def ask(session: aiohttp.ClientSession, url: str) -> str:
        async with session.post(url, json={"model": "m", "messages": HELLO, "stream": True}) as answer:
            return await answer.text()

    async def ask_all(url: str) -> list[str]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return await asyncio.gather(*(ask(session, url) for _ in range(count)))

    with LocalGateway(base_url=server.url) as gateway:
        texts = asyncio.run(ask_all(gateway.url + CHAT))
    assert all(text.endswith("data: [DONE]\n\n") for text in texts)


def test_the_log_has_one_line_a_request_and_nothing_of_what_was_said(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.default = Reply(["ANSWER-TEXT ", Pause(0.05), "more"])
    with caplog.at_level(logging.INFO), LocalGateway(base_url=server.url, api_key="SECRET-KEY") as gateway:
        caller = Caller(gateway, "SECRET-KEY")
        question = [{"role": "user", "content": "QUESTION-TEXT"}]
        assert content(events(caller.chat(messages=question, stream=True, user="USER-NAME"))) == "ANSWER-TEXT more"
        server.enqueue(Reply.error(500, "SERVER-WORDS"), Reply.error(500, "SERVER-WORDS"), Reply.error(500, "x"))
        error_of(caller.chat(messages=question), 502)
        caller.get("/models/MODEL-NAME?QUERY-TEXT=1")
        caller.get("/PATH-TEXT\n")
        caller.chat(messages=[{"role": "user", "content": {"QUESTION-TEXT": 1}}])
        Caller(gateway, "WRONG-KEY").chat()
    found = [record.getMessage() for record in caplog.records if record.name.startswith("aichatfree.gateway")]
    assert [line.partition(" in ")[0] for line in found] == [
        "POST /v1/chat/completions 200",
        "POST /v1/chat/completions 502",
        "GET /v1/models/{model} 200",
        "GET (no such path) 404",
        "POST /v1/chat/completions 400",
        "POST /v1/chat/completions 401",
    ]
    assert found[0].endswith(" s, 2 pieces, server 200")
    assert found[1].endswith(", server 500")
    assert not {word for word in ("-TEXT", "-KEY", "-WORDS", "-NAME") if word in caplog.text}


def test_a_fault_of_the_gateway_is_an_error_and_tells_nothing(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("SECRET-TEXT")

    monkeypatch.setattr(service, "texts_of", broken)
    with caplog.at_level(logging.INFO):
        answer = caller.chat(stream=True)
    assert error_of(answer, 500)["code"] == "internal_error"
    assert "SECRET-TEXT" not in answer.text + caplog.text
    assert "LookupError" in caplog.text


def test_a_fault_in_the_middle_cuts_the_connection(
    gateway: LocalGateway, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise LookupError

    monkeypatch.setattr(completions.ChunkWriter, "finish", broken)
    server.default = Reply(["first", Pause(0.1), "last"])
    with raw_post(gateway.port, {"model": "m", "messages": HELLO, "stream": True}) as connection:
        got = b""
        while data := connection.recv(65536):
            got += data
    assert b"first" in got
    assert b"[DONE]" not in got
    assert not got.endswith(b"0\r\n\r\n"), "not as if it were whole"


def test_a_body_that_does_not_come_is_given_up(gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{")
        got = connection.recv(65536)
    assert b" 408 " in got
    assert b"request_timeout" in got


def test_what_is_not_http_is_not_repeated_in_the_log(gateway: LocalGateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nAuthorization : SECRET-KEY\r\n\x00\r\n\r\n")
        while peer.recv(1000):
            pass
    assert "SECRET-KEY" not in caplog.text


def test_nothing_is_left_over(server: ScriptedServer, no_leaks: None) -> None:
    for _ in range(3):
        with LocalGateway(base_url=server.url) as gateway:
            caller = Caller(gateway)
            assert caller.chat().status_code == 200
            caller.session.close()
    server.wait_connections(0)


def test_a_local_gateway_is_started_once(server: ScriptedServer) -> None:
    gateway = LocalGateway(base_url=server.url)
    assert repr(gateway) == "<LocalGateway not running>"
    for name in ("url", "port"):
        with pytest.raises(RuntimeError, match="has not been started"):
            getattr(gateway, name)
    with gateway:
        assert gateway.url == f"http://127.0.0.1:{gateway.port}/v1"
        assert gateway.url in repr(gateway)
        with pytest.raises(RuntimeError, match="make another"):
            gateway.start()
    gateway.close()
    with pytest.raises(OSError, match="cannot listen on"):
        LocalGateway(base_url=server.url, port=70000).start()


def test_options_of_the_client(server: ScriptedServer) -> None:
    with pytest.raises(InvalidRequestError, match="base_url"):
        LocalGateway(base_url="not a url")
    with pytest.raises((TypeError, InvalidRequestError)):
        LocalGateway(base_ulr=server.url)
    with LocalGateway(base_url=server.url, headers={"X-Mine": "1"}) as gateway:
        assert Caller(gateway).chat().status_code == 200
    assert server.requests[0].headers["x-mine"] == "1"


def test_password_and_secret_go_below() -> None:
    with (
        ScriptedServer(password="open sesame", secret="s3cret") as server,
        LocalGateway(base_url=server.url, password="open sesame", secret="s3cret") as gateway,
    ):
        assert Caller(gateway).chat().status_code == 200


def test_the_clients_of_an_embedded_application_stays_its_owners(server: ScriptedServer) -> None:
    async def run() -> None:
        async with AsyncClient(server.url) as client:
            runner = web.AppRunner(create_app(client), handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            async with aiohttp.ClientSession() as session:
                async with session.post(url + CHAT, json={"model": "m", "messages": HELLO}) as answer:
                    assert answer.status == 200
            await runner.cleanup()
            assert await client.generate("still open")

    asyncio.run(run())


def test_a_client_that_was_closed_is_no_fault_of_the_callers(server: ScriptedServer) -> None:
    async def run() -> None:
        client = AsyncClient(server.url)
        async with TestClient(TestServer(create_app(client))) as caller:
            await client.aclose()
            async with caller.post(f"/v1{CHAT}", json={"model": "m", "messages": HELLO}) as answer:
                assert answer.status == 503
                assert (await answer.json())["error"]["code"] == "shutting_down"

    asyncio.run(run())


def test_a_part_of_another_application(server: ScriptedServer) -> None:
    async def other(request: web.Request) -> web.Response:
        return web.Response(text="other")

    async def run() -> None:
        app = web.Application()
        part = create_subapp(api_key="k", models=["m"])
        app.add_subapp("/v1", part)
        app.router.add_route("*", "/{path:.*}", other)
        client = AsyncClient(server.url)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        part[GATEWAY].own(client)
        root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        key = {"Authorization": "Bearer k"}
        async with aiohttp.ClientSession() as session:
            body = {"model": "m", "messages": HELLO, "stream": True}
            async with session.post(f"{root}/v1{CHAT}", json=body, headers=key) as answer:
                assert (await answer.text()).endswith("data: [DONE]\n\n")
            async with session.post(f"{root}/v1{CHAT}", json=body) as answer:
                assert answer.status == 401
            async with session.get(f"{root}/v1/nope", headers=key) as answer:
                assert (await answer.json())["error"]["code"] == "unknown_url"
            async with session.get(f"{root}/x") as answer:
                assert await answer.text() == "other"
        await runner.cleanup()
        assert client.closed

    asyncio.run(run())


def test_the_names_of_the_package() -> None:
    assert aichatfree.gateway.__all__ == ["LocalGateway", "create_app"]
    assert set(aichatfree.gateway.__all__) <= set(dir(aichatfree.gateway))
    for value in (LocalGateway, create_app):
        assert value.__module__ == "aichatfree.gateway"
        assert pickle.loads(pickle.dumps(value)) is value
    assert typing.get_type_hints(create_app)["client"] is AsyncClient
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        aichatfree.gateway.nope  # noqa: B018
