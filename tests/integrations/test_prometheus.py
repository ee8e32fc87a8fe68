"""Figures of a small application and of the local server's, read as Prometheus reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("prometheus_client")

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families

from aichatfree import AsyncClient
from aichatfree.errors import InvalidPasswordError
from aichatfree.integrations.prometheus import add_metrics
from aichatfree.server import create_app

Asking = Callable[[ClientSession, str], Awaitable[None]]


def serve(app: web.Application, ask: Asking, path: str = "/metrics") -> dict[tuple[str, ...], float]:
    """The figures after ``ask`` has asked: by name and label values."""

    async def main() -> str:
        async with TestServer(app) as server, ClientSession() as session:
            base = str(server.make_url("")).rstrip("/")
            await ask(session, base)
            async with session.get(base + path) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/plain; version=")
                return await answer.text()

    families = list(text_string_to_metric_families(asyncio.run(main())))
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


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

    async def main() -> dict[tuple[str, ...], float]:
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

    app = create_app("Hello!", password="open sesame")
    add_metrics(app)
    figures = serve(app, ask)
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
