"""One gateway or proxy in a process of its own, so that its processor time and its memory are its own.

``python -m tests.benchmarks.servers.proxies CONTENDER UPSTREAM_URL``: it prints its port; each line on standard input
is answered with what the process has used so far, as JSON; it ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web

from aichatfree import AsyncClient
from aichatfree.gateway import create_app

from ..canned_server import allow_many_files
from ..usage import answer_lines

Make = Callable[[str], web.Application]


def gateway(upstream: str) -> web.Application:
    """Ours: the server's protocol above, the OpenAI API below."""
    return create_app(AsyncClient(upstream))


def reverse_proxy(upstream: str, path: str) -> web.Application:
    """What any proxy on aiohttp has to do at least: pass a request on, and its answer's bytes back as they come."""

    async def session_context(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
            app[SESSION] = session
            yield

    async def handle(request: web.Request) -> web.StreamResponse:
        async with request.app[SESSION].post(
            upstream + path, data=await request.read(), headers={"Content-Type": "application/json"}
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
            await response.write_eof()
            return response

    app = web.Application()
    app.cleanup_ctx.append(session_context)
    app.router.add_post("/v1/chat/completions", handle)
    return app


SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session", aiohttp.ClientSession)
CONTENDERS: dict[str, Make] = {
    "gateway": gateway,
    "aiohttp reverse proxy": lambda upstream: reverse_proxy(upstream, "/api/generate"),
    "aiohttp proxy of the OpenAI API": lambda upstream: reverse_proxy(upstream, "/v1/chat/completions"),
}


async def serve(name: str, upstream: str) -> None:
    runner = web.AppRunner(CONTENDERS[name](upstream), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def answer() -> None:
        answer_lines()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=answer, daemon=True).start()
    await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(serve(*sys.argv[1:]))
