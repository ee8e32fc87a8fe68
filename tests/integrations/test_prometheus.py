"""Figures of a small application and of the local server's, read as Prometheus reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import requests

pytest.importorskip("prometheus_client")

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families

from aichatfree import AsyncClient
from aichatfree.errors import InvalidPasswordError, StreamInterruptedError
from aichatfree.gateway import LocalGateway
from aichatfree.integrations.prometheus import add_metrics
from aichatfree.server import LocalServer, create_app
from aichatfree.testing import Drop, Reply, ScriptedServer

Asking = Callable[[ClientSession, str], Awaitable[None]]


Figures = dict[tuple[str, ...], float]


def read(text: str) -> Figures:
    """By name and label values."""
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def serve(app: web.Application, ask: Asking, path: str = "/metrics") -> Figures:
    """The figures after ``ask`` has asked."""

    async def main() -> str:
        async with TestServer(app) as server, ClientSession() as session:
            base = str(server.make_url("")).rstrip("/")
            await ask(session, base)
            async with session.get(base + path) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                return await answer.text()

    return read(asyncio.run(main()))


def small_app() -> web.Application:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello " + request.match_info["name"])

    async def broken(_: web.Request) -> web.Response:
        raise ValueError("broken")

    async def gone(_: web.Request) -> web.Response:
        raise web.HTTPGone

    app = web.Application()
    app.add_routes([web.get("/hello/{name}", hello), web.get("/broken", broken), web.get("/gone", gone)])
    return app


REQUESTS = "aichatfree_http_requests_total"


def test_requests_are_counted_by_route_and_status() -> None:
    async def ask(session: ClientSession, base: str) -> None:
        for path in ("/hello/a", "/hello/b", "/nowhere/1", "/nowhere/2", "/gone"):
            async with session.get(base + path):
                pass
        async with session.request("PROPFIND", base + "/gone"):
            pass

    app = small_app()
    add_metrics(app)
    figures = serve(app, ask)
    assert figures[REQUESTS, "GET", "/hello/{name}", "200"] == 2
    assert figures[REQUESTS, "GET", "unmatched", "404"] == 2
    assert figures[REQUESTS, "GET", "/gone", "410"] == 1
    assert figures[REQUESTS, "other", "unmatched", "405"] == 1
    assert figures["aichatfree_http_request_duration_seconds_count", "/hello/{name}"] == 2
    assert figures["aichatfree_http_first_byte_seconds_count", "/hello/{name}"] == 2
    assert figures["aichatfree_http_requests_in_progress",] == 1  # the one that reads them
    assert any(name[0] == "process_cpu_seconds_total" for name in figures)


def test_a_handler_that_breaks(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(session: ClientSession, base: str) -> None:
        async with session.get(base + "/broken"):
            pass

    app = small_app()
    add_metrics(app)
    assert serve(app, ask)[REQUESTS, "GET", "/broken", "500"] == 1


def test_a_client_that_hangs_up() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        began.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return web.Response()

    async def main() -> Figures:
        app = web.Application()
        app.router.add_get("/slow", slow)
        registry = add_metrics(app)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with ClientSession() as session:
            task = asyncio.create_task(session.get(f"http://{host}:{port}/slow"))
            await began.wait()
            task.cancel()
            await asyncio.wait([task])
            await asyncio.wait_for(ended.wait(), 20)
        await runner.cleanup()
        return {(s.name, *s.labels.values()): s.value for family in registry.collect() for s in family.samples}

    assert asyncio.run(main())[REQUESTS, "GET", "/slow", "cancelled"] == 1


def test_the_local_server() -> None:
    async def ask(_: ClientSession, base: str) -> None:
        async with AsyncClient(base, password="open sesame") as client:
            assert await client.generate("Hi") == "Hello!"
            assert not await client.verify_password("wrong")
        async with AsyncClient(base, password="wrong") as client:
            with pytest.raises(InvalidPasswordError):
                await client.generate("Hi")

    figures = serve(create_app("Hello!", password="open sesame", prepare=add_metrics), ask)
    assert figures[REQUESTS, "POST", "/api/generate", "200"] == 1
    assert figures[REQUESTS, "POST", "/api/generate", "401"] == 1
    assert figures[REQUESTS, "POST", "/api/auth", "200"] == 1
    assert not any("sesame" in part for name in figures for part in name)


def test_another_path_and_registry() -> None:
    async def ask(session: ClientSession, base: str) -> None:
        async with session.get(base + "/metrics") as answer:
            assert answer.status == 404

    first, second = small_app(), small_app()
    registry = add_metrics(first, path="/figures")
    assert add_metrics(second) is not registry
    assert serve(first, ask, "/figures")[REQUESTS, "GET", "unmatched", "404"] == 1


def test_misuse_is_refused() -> None:
    app = small_app()
    registry = add_metrics(app)
    with pytest.raises(RuntimeError, match="has a handler already"):
        add_metrics(app)
    with pytest.raises(ValueError, match="Duplicated"):
        add_metrics(small_app(), registry=registry)
    app.freeze()
    with pytest.raises(RuntimeError, match="has been started"):
        add_metrics(app, path="/other")


def test_of_a_local_server_with_the_rules_and_the_log_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "aichatfree.server")
    with LocalServer("x", prepare=add_metrics, allow_origins=["https://dash.example"], page=False) as server:
        url = f"{server.url}/metrics"
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"x": "y" * 20_000}):
            answer = requests.get(url, headers=headers, timeout=20)
            assert answer.status_code == (431 if "x" in headers else 403)
            assert "aichatfree_http" not in answer.text
        allowed = requests.get(url, headers={"Origin": "https://dash.example"}, timeout=20)
        assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, "https://dash.example")
        head = requests.head(url, timeout=20)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Type"].startswith("text/plain; version=")
        assert requests.post(url, timeout=20).status_code == 404
        plain = requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=20)
        assert "Server" not in plain.headers
        figures = read(plain.text)
    assert figures[REQUESTS, "GET", "/metrics", "403"] == 2
    assert figures[REQUESTS, "GET", "/metrics", "431"] == 1
    assert figures[REQUESTS, "HEAD", "/metrics", "200"] == 1
    lines = [record.getMessage() for record in caplog.records if record.name == "aichatfree.server.access"]
    assert [line.split()[:3] for line in lines].count(["GET", "/metrics", "403"]) == 2
    assert ["HEAD", "/metrics", "200"] in [line.split()[:3] for line in lines]


def test_what_an_added_route_raises_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def gone(_: web.Request) -> web.Response:
        raise web.HTTPGone

    def prepare(app: web.Application) -> None:
        app.router.add_get("/gone", gone)

    caplog.set_level("INFO", "aichatfree.server")
    with LocalServer("x", prepare=prepare) as server:
        assert requests.get(f"{server.url}/gone", timeout=20).status_code == 410
    (line,) = (record.getMessage() for record in caplog.records if record.name == "aichatfree.server.access")
    assert line.startswith("GET /gone 410 ")


def test_a_reply_that_breaks_off_is_no_success() -> None:
    def half(_: object) -> Iterator[str]:
        yield "some of the"
        raise ValueError("broken")

    with LocalServer(half, prepare=add_metrics) as server, server.client() as client:
        with pytest.raises(StreamInterruptedError):
            list(client.stream("Hi"))
        figures = read(requests.get(f"{server.url}/metrics", timeout=20).text)
    assert figures[REQUESTS, "POST", "/api/generate", "cut"] == 1
    assert (REQUESTS, "POST", "/api/generate", "200") not in figures


def test_of_a_gateway_whose_key_holds() -> None:
    with (
        ScriptedServer() as server,
        LocalGateway(base_url=server.url, api_key="k", prepare=add_metrics, max_retries=0) as gateway,
        requests.Session() as session,
    ):
        server.enqueue(Reply("Hello!"), Reply(["Hel", "lo"], fault=Drop()))
        url = gateway.url.removesuffix("/v1") + "/metrics"
        assert session.get(url, timeout=20).status_code == 401
        session.headers["Authorization"] = "Bearer k"
        body = {"model": "secret-name", "messages": [{"role": "user", "content": "Hi"}]}
        for stream in (False, True):
            chat = f"{gateway.url}/chat/completions"
            assert session.post(chat, json={**body, "stream": stream}, timeout=20).status_code == 200
        session.get(f"{gateway.url}/models/secret-name", timeout=20)
        assert session.get(url, headers={"Host": "evil.example"}, timeout=20).status_code == 403
        text = session.get(url, timeout=20).text
    figures = read(text)
    assert figures[REQUESTS, "POST", "/v1/chat/completions", "200"] == 1
    assert figures[REQUESTS, "POST", "/v1/chat/completions", "cut"] == 1
    assert figures[REQUESTS, "GET", "/v1/models/{model}", "200"] == 1
    assert figures[REQUESTS, "GET", "/metrics", "401"] == 1
    assert figures[REQUESTS, "GET", "/metrics", "403"] == 1
    assert "secret-name" not in text


def test_what_is_added_must_not_be_there_already() -> None:
    with pytest.raises(RuntimeError, match="has a handler already"):
        LocalServer("x", prepare=lambda app: add_metrics(app, path="/api/generate"))
    with pytest.raises(RuntimeError, match="has a handler already"):
        LocalGateway(prepare=lambda app: add_metrics(app, path="/healthz"))


def test_both_of_a_server_with_another_application() -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def ask(session: ClientSession, base: str) -> None:
        for path in ("/sub/hello/a", "/sub/nothing", "/healthz"):
            async with session.get(base + path):
                pass

    sub = web.Application()
    sub.router.add_get("/hello/{name}", hello)
    figures = serve(create_app("Hello!", subapps={"/sub": sub}, prepare=add_metrics), ask)
    assert figures[REQUESTS, "GET", "/sub/hello/{name}", "200"] == 1
    assert figures[REQUESTS, "GET", "unmatched", "404"] == 1
    assert figures[REQUESTS, "GET", "/healthz", "200"] == 1
    assert figures["aichatfree_http_first_byte_seconds_count", "/sub/hello/{name}"] == 1
