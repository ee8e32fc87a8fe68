"""One server under test in a process of its own, which this module is: LocalServer, or a bare handler.

``python -m tests.benchmarks.servers.serving CONTENDER`` prints its port; each line it reads is answered with what it
has used, as JSON; it ends with its input.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from ..canned_server import allow_many_files
from ..usage import answer_lines

PIECES = [f"piece {number:012} " for number in range(20)]


async def function(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    for piece in PIECES:
        yield piece


async def idle(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    yield "first"
    await asyncio.sleep(3600)


def replying(messages: list[dict[str, Any]]) -> Any:
    """The pieces, or, where the question says so, one and then silence."""
    return idle(messages) if messages[-1]["parts"][0]["text"] == "idle" else function(messages)


def bare_app() -> Any:
    """What one writes with aiohttp alone to stream the same pieces."""
    from aiohttp import web

    async def generate(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        if body["messages"][-1]["parts"][0]["text"] == "idle":
            await response.write(b"first")
            await asyncio.sleep(3600)
        for piece in PIECES:
            await response.write(piece.encode())
        return response

    app = web.Application()
    app.router.add_post("/api/generate", generate)
    return app


async def listen(app: Any) -> int:
    """Serve an app of aiohttp's; its port."""
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    return int(runner.addresses[0][1])


class InThread:
    """An app in a thread, as a LocalServer is."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, int]]) -> None:
        self._start = start

    def __enter__(self) -> InThread:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        port = asyncio.run_coroutine_threadsafe(self._start(), loop).result()
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def server(name: str) -> Any:
    from aichatfree.server import LocalServer

    if name == "bare":
        return InThread(lambda: listen(bare_app()))
    if name == "list":
        return LocalServer(PIECES)

    async def reply(messages: list[dict[str, Any]]) -> Any:
        return replying(messages)

    return LocalServer(reply)


def main(name: str) -> None:
    allow_many_files()
    with server(name) as running:
        print(running.url.rpartition(":")[2], flush=True)
        answer_lines()


if __name__ == "__main__":
    main(sys.argv[1])
