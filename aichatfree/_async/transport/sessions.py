"""aiohttp's sessions, one for each event loop, closed without a warning when nobody closes them.

An aiohttp session belongs to the loop in which it was made. A client of this library belongs to none: it may be made
at import time, be used under one ``asyncio.run`` after another, and be forgotten. So a session is made when a loop
first needs one, and goes when the loop ends, when the client goes, or when the client is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from .exchange import AiohttpExchange

KEEP_ALIVE_SECONDS = 4.5
"""The real server closes an idle connection after 5 seconds; one that is older is not worth trying."""

READ_SIZE = 64 * 1024
"""Bytes that asyncio asks a socket for at a time. Of its own 256 KiB, which malloc maps from the system and gives back
at each read, however small what comes is, the mapping alone can cost more than the rest of the read."""

current_exchange: ContextVar[list[AiohttpExchange]] = ContextVar("aichatfree_exchange")
"""The exchange that this task is sending: aiohttp has no way to hand anything to a request. It is in a list, which is
emptied after the sending: a connection that is made then keeps the context of its making for life."""


class _Request(aiohttp.ClientRequest):
    """A request that tells its exchange when, and on which connection, it goes out."""

    async def send(self, conn: Any) -> Any:
        for exchange in current_exchange.get(()):
            exchange.connected(conn)
        return await super().send(conn)


class _Connector(aiohttp.TCPConnector):
    """A connector that says nothing when it is collected: its LoopSession closes what it holds."""

    def __del__(self, _warnings: Any = None) -> None:
        pass


class LoopSession:
    """The session of one loop.

    Args:
        connector: The user's connector, which stays open, or None for one of its own.
    """

    def __init__(self, connector: aiohttp.BaseConnector | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._owns_connector = connector is None
        self._transports: set[asyncio.WriteTransport] = set()
        self._many = 64
        if connector is None:
            connector = _Connector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self.session = aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            request_class=_Request,
            trust_env=False,
        )
        self._connector = connector
        self._guard = self._until_the_loop_ends()

    async def start(self) -> None:
        """Tie the session to the end of its loop."""
        await self._guard.asend(None)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        # asyncio.run() closes the asynchronous generators of its loop at the end: this one closes the session then.
        try:
            yield
        finally:
            self.dispose()

    def hold(self, transport: asyncio.WriteTransport) -> bool:
        """Note a connection in use; return whether it has been used before."""
        if transport in self._transports:
            return True
        if len(self._transports) >= self._many:  # not every loop's transports can be referred to weakly
            self._transports = {each for each in self._transports if not each.is_closing()}
            self._many = max(64, 2 * len(self._transports))
        self._transports.add(transport)
        if hasattr(transport, "max_size"):  # asyncio's own; another make of loop has its own ways
            transport.max_size = READ_SIZE
        return False

    async def close(self) -> None:
        """Close every connection, and wait until that is done. A connector that was passed in stays open."""
        self.session.detach()
        if self._owns_connector:
            await self._connector.close()
        await self._guard.aclose()

    def dispose(self) -> None:
        """Close every connection at once, from any thread and in whatever state the loop is."""
        if self._loop.is_closed():
            self._drop_dead_connections()
        elif _running_loop() is self._loop:
            self._abort()
        else:
            try:
                self._loop.call_soon_threadsafe(self._abort)
            except RuntimeError:  # closed in between
                self._drop_dead_connections()

    def _abort(self) -> None:
        self.session.detach()
        if self._owns_connector:
            for transport in list(self._transports):
                transport.abort()

    def _drop_dead_connections(self) -> None:
        """Close the sockets of a loop that was closed without closing its connections (``loop.close()`` alone).

        asyncio can close them only through the loop, and warns of each that is left; so its own fields are set as
        closing would have set them. An event loop of another make keeps its fields elsewhere and is left alone.
        """
        self.session.detach()
        if not self._owns_connector:
            return
        for transport in list(self._transports):
            with suppress(AttributeError):
                inner: Any = transport
                if hasattr(inner, "_ssl_protocol"):
                    inner._closed = True
                    inner = inner._ssl_protocol._transport
                sock, inner._sock = inner._sock, None
                if sock is not None:
                    sock.close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
