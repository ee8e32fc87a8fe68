"""aiohttp's sessions, one for each event loop in which an upstream is asked, closed with the loop if nobody does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
import certifi

from ..._core.wire.chunks import MAX_HEAD_BYTES

__all__ = ["CLOSE_SECONDS", "Sessions", "new_sockets"]

KEEP_ALIVE_SECONDS = 4.5
"""Many of these servers (llama.cpp, whatever runs on uvicorn) close a connection that was idle for 5 seconds."""
CLOSE_SECONDS = 1.0
"""For so long at most closing waits for connections to say that they are closed."""


new_sockets: ContextVar[tuple[list[socket.socket], ...]] = ContextVar("aichatfree_upstream_sockets")
"""Where the sockets go that are made for the request of this task."""


class _Connector(aiohttp.TCPConnector):
    """A connector that says nothing when it is collected: its session closes what it holds."""

    def __del__(self, _warnings: Any = None) -> None:
        pass


class Sessions:
    """The sessions of one upstream. An upstream may be made outside a loop, and outlive one.

    Args:
        secure: Whether anything is reached over TLS.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._context: ssl.SSLContext | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, _Held] = {}
        self._lock = threading.Lock()

    async def get(self) -> aiohttp.ClientSession:
        """The session of the running loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            held = self._by_loop.get(loop)
            if held is not None and not held.session.closed:
                return held.session
            if self._secure and self._context is None:
                self._context = _trust()
            for old in [each for each in self._by_loop if each.is_closed()]:
                del self._by_loop[old]
            held = self._by_loop[loop] = _Held(self._context)
        await held.start()
        return held.session

    async def aclose(self) -> None:
        """Close every connection, those of other loops too; what is being read ends with an error."""
        with self._lock:
            sessions, self._by_loop = self._by_loop, {}
        for loop, held in sessions.items():
            if loop is asyncio.get_running_loop():
                await held.aclose()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(held.abandon)


class _Held:
    """A session, and what ends it with its loop."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        connector = _Connector(
            limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=context or True, socket_factory=_new_socket
        )
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_connected)
        trace.on_connection_reuseconn.append(_reused)
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trust_env=False,
            trace_configs=[trace],
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
        )
        self._closing: asyncio.Future[None] | None = None
        self._guard = _until_the_loop_ends(self.session)

    async def start(self) -> None:
        """Tie the session to the end of its loop."""
        await self._guard.asend(None)

    async def aclose(self) -> None:
        """Close the session, without waiting long for the other ends."""
        await self._guard.aclose()

    def abandon(self) -> None:
        """The same from a callback of its loop."""
        self._closing = asyncio.ensure_future(self.aclose())


async def _until_the_loop_ends(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    # asyncio.run() closes the asynchronous generators of its loop at the end: this one closes the session then. It
    # does so as well when it is collected, together with the upstream.
    try:
        yield
    finally:
        closing = asyncio.ensure_future(session.close())
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)


def _new_socket(info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol = info[:3]
    sock = socket.socket(family, kind, protocol)
    for sockets in new_sockets.get(()):
        sockets.append(sock)
    return sock


def _trust() -> ssl.SSLContext:
    """What the system trusts, and the authorities of certifi: some installations of Python have none of their own."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    context.trace_request_ctx.connected(reused=False)


async def _reused(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    context.trace_request_ctx.connected(reused=True)
