"""One server under test in a process of its own, which this module is.

``python -m tests.benchmarks.serving CONTENDER`` prints its port; for each line it reads, it prints what it has used, as
JSON; it ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from .canned_server import allow_many_files
from .streams import memory

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


class BareServer:
    """`bare_app` in a thread, as a LocalServer is."""

    async def _start(self) -> int:
        from aiohttp import web

        runner = web.AppRunner(bare_app(), access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        return int(runner.addresses[0][1])

    def __enter__(self) -> BareServer:
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
        return BareServer()
    if name == "list":
        return LocalServer(PIECES)

    async def reply(messages: list[dict[str, Any]]) -> Any:
        return replying(messages)

    return LocalServer(reply)


def main(name: str) -> None:
    allow_many_files()
    with server(name) as running:
        print(running.url.rpartition(":")[2], flush=True)
        for _ in sys.stdin:
            print(json.dumps({"cpu": time.process_time(), "memory": memory()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
