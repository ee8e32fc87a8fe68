"""The local server as an aiohttp application: it does on the wire what GeminiProChat's server does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from aichatfree.server import protocol
from aichatfree.server.replies import ReplySource, Threads, default_reply, pieces_of, reusable

__all__ = ["create_app"]

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 << 20
DEFAULT_DELAY_SECONDS = 0.02
"""Between pieces of the default reply, so that one sees it stream."""

THREADS: web.AppKey[Threads] = web.AppKey("threads")


def create_app(
    reply: ReplySource | None = None,
    *,
    secret: str = "",
    password: str | Iterable[str] | None = None,
    time_limit_seconds: float | None = None,
    delay: float | None = None,
) -> web.Application:
    """An application that serves `POST /api/generate` and `POST /api/auth` as the real server does.

    Args:
        reply: What to answer: a text, its pieces, or a sync or async function of the messages (as on the
            wire: `[{"role": "user", "parts": [{"text": "Hello"}]}]`) that returns a text, pieces, or an async
            iterable of pieces. Each piece is sent as a chunk of its own. A function that raises before its first
            piece makes a 500, as a failing model does; later, the text `Internal server error` ends the reply. Sync
            functions run in threads. None: a text that says what this server is and repeats what was asked.
        secret: The server's `PUBLIC_SECRET_KEY`, with which requests must be signed.
        password: The site password: a str, which may hold several with commas between, an iterable, or None.
        time_limit_seconds: How far a request's time may be from this machine's; None (as in today's source): any.
        delay: Seconds between pieces; None: a little for the default reply, otherwise none.

    Raises:
        TypeError: `reply` is none of these.
    """
    if delay is None:
        delay = DEFAULT_DELAY_SECONDS if reply is None else 0.0
    source = default_reply if reply is None else reusable(reply)
    handler = _Handler(source, secret, protocol.passwords_of(password), time_limit_seconds, delay)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[THREADS] = handler.threads
    app.router.add_route("*", "/{path:.*}", handler.handle)
    app.on_response_prepare.append(_mend_headers)
    return app


class _Handler:
    def __init__(
        self,
        source: ReplySource,
        secret: str,
        passwords: frozenset[str],
        time_limit_seconds: float | None,
        delay: float,
    ) -> None:
        self._source = source
        self._secret = secret
        self._passwords = passwords
        self._time_limit_seconds = time_limit_seconds
        self._delay = delay
        self.threads: Threads = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and request.path == protocol.GENERATE_PATH:
            return await self._generate(request)
        if request.method == "POST" and request.path == protocol.AUTH_PATH:
            return _answer(protocol.judge_auth(await request.read(), self._passwords))
        return _answer(protocol.NOT_FOUND)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        verdict = protocol.judge(
            await request.read(),
            secret=self._secret,
            passwords=self._passwords,
            time_limit_seconds=self._time_limit_seconds,
            now_ms=time.time() * 1000,
        )
        if verdict.messages is None:
            return _answer(verdict)
        async with contextlib.aclosing(pieces_of(self._source, verdict.messages, self.threads)) as pieces:
            try:
                first = await anext(pieces, None)
            except Exception as exc:
                logger.warning("the reply failed before its first piece", exc_info=True)
                return _answer(protocol.upstream_error(str(exc)))
            response = web.StreamResponse(headers={"Content-Type": protocol.REPLY_TYPE})
            with contextlib.suppress(ConnectionError):  # the client is gone: nobody to tell
                await response.prepare(request)
                await self._send(response, first, pieces)
            return response

    async def _send(self, response: web.StreamResponse, piece: str | None, pieces: AsyncIterator[str]) -> None:
        while piece is not None:
            await response.write(protocol.to_utf8(piece))
            try:
                piece = await anext(pieces, None)
            except Exception:
                logger.warning("the reply failed after its first piece", exc_info=True)
                await response.write(protocol.IN_BAND_ERROR.encode())
                return
            if piece is not None:
                await asyncio.sleep(self._delay)


def _answer(verdict: protocol.Verdict) -> web.Response:
    headers = {"Content-Type": verdict.content_type} if verdict.content_type else None
    return web.Response(status=verdict.status, reason=verdict.reason, body=verdict.body, headers=headers)


async def _mend_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Take back what aiohttp adds: the real server names itself nowhere, and its 404 has no content type."""
    response.headers.pop("Server", None)
    if response.status == protocol.NOT_FOUND.status:
        response.headers.pop("Content-Type", None)
