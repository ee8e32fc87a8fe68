"""aiohttp's sessions, one for each event loop, closed without a warning when nobody closes them.

An aiohttp session belongs to the loop in which it was made. A client of this library belongs to none: it may be made
at import time, be used under one ``asyncio.run`` after another, and be forgotten. So a session is made when a loop
first needs one, and goes when the loop ends, when the client goes, or when the client is closed. A forked process has
sessions of its own: the connections of its parent's are the parent's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

import aiohttp

from .framing import LARGE_READ_SIZE
from .hooks import Connector, check_hooks, loop_of, session_options
from .outgoing import Request
from .resolver import Resolver
from .sockets import drop, generators_were_shut_down
from .waiting import is_running
from .watch import watch_of

KEEP_ALIVE_SECONDS = 4.5
"""The real server closes an idle connection after 5 seconds; one that is older is not worth trying."""

CLOSE_SECONDS = 1.0
"""For aborted connections to be gone; no other end is waited for."""

_NO_LIMITS = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)

MakeConnector = Callable[[], aiohttp.BaseConnector]


def make_connector() -> aiohttp.BaseConnector:
    """A connector for any number of connections at once, each opened within the limits of its call."""
    return Connector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, resolver=Resolver())


class LoopSession:
    """The session of one loop, in one process.

    Args:
        make: Makes its connector.
        owns_connector: Whether the connector is closed with it.
    """

    def __init__(self, make: MakeConnector, *, owns_connector: bool = True) -> None:
        check_hooks()
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._transports: set[asyncio.WriteTransport] = set()
        self._many = 64
        self.unanswered = 0
        """Requests that are about to go out, or wait for their answers."""
        self._connector = make()
        self.owns_connector = owns_connector
        self.session = aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_NO_LIMITS,  # the exchanges watch the clock
            request_class=Request,
            trust_env=False,
            read_bufsize=LARGE_READ_SIZE // 2,
            **session_options(),
        )
        self._guard: AsyncGenerator[None] | None = None
        if not generators_were_shut_down(self._loop):
            self._guard = self._until_the_loop_ends()
            with suppress(StopIteration):
                self._guard.asend(None).send(None)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        # asyncio.run() closes the asynchronous generators of its loop at the end: this one closes the session then.
        try:
            yield
        finally:
            self.dispose()

    @property
    def closed(self) -> bool:
        """Whether it was closed: by its client, or as its loop's generators were shut down."""
        return self.session.closed

    def hold(self, transport: asyncio.WriteTransport) -> bool:
        """Note a connection in use; return whether it has been used before."""
        if transport in self._transports:
            return True
        if len(self._transports) >= self._many:  # not every loop's transports can be referred to weakly
            self._transports = {each for each in self._transports if not each.is_closing()}
            self._many = max(64, 2 * len(self._transports))
        self._transports.add(transport)
        return False

    async def close(self) -> None:
        """Close every connection, and wait until that is done. A connector that was passed in stays open."""
        self._abort()
        if self.owns_connector:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._connector.close(), CLOSE_SECONDS)
        if self._guard is not None:
            await self._guard.aclose()

    def dispose(self) -> None:
        """Close every connection at once, from any thread and in whatever state the loop is."""
        if self._process != os.getpid():
            self._forget_parent()
        elif self._loop.is_closed():
            self._drop_dead_connections()
        elif is_running(self._loop):
            self._abort()
        else:
            try:
                self._loop.call_soon_threadsafe(self._abort)
            except RuntimeError:  # closed in between
                self._drop_dead_connections()

    def _abort(self) -> None:
        self.session.detach()
        watch_of(self._loop).rest()
        if self.owns_connector:
            for transport in list(self._transports):
                transport.abort()  # not as TLS would, which waits for the other end, nor after all that is unsent

    def _drop_dead_connections(self) -> None:
        """Close the sockets of a loop that was closed without closing its connections (``loop.close()`` alone)."""
        self.session.detach()
        if self.owns_connector:
            for transport in list(self._transports):
                drop(transport)

    def _forget_parent(self) -> None:
        """Let the parent's connections alone, but for this process's copies of their descriptors.

        Not through its loop: that shares its selector with the parent's. Of a loop that is used on in this process
        the descriptors stay, for it would take new ones of the same number for them.
        """
        if is_running(self._loop):
            _parents.append(self)
        else:
            self._drop_dead_connections()


_parents: list[LoopSession] = []
"""What must never be collected: that alone would close it."""


class Sessions:
    """The sessions of one client: for each process, loop and kind of connector."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[int, asyncio.AbstractEventLoop, object], LoopSession] = {}

    def get(self, kind: object, make: MakeConnector, *, owns_connector: bool = True) -> LoopSession:
        """The session of the running loop.

        Args:
            kind: Which of its sessions.
            make: Makes the connector of a new one.
            owns_connector: Whether that is closed with the session.
        """
        key = os.getpid(), asyncio.get_running_loop(), kind
        held = self._sessions.get(key)
        if held is None or held.closed:
            self._forget_dead(key[0])
            held = self._sessions[key] = LoopSession(make, owns_connector=owns_connector)
        return held

    def _forget_dead(self, process: int) -> None:
        for key in list(self._sessions):  # loops of other threads may come and go meanwhile
            if (key[0] != process or key[1].is_closed()) and (dead := self._sessions.pop(key, None)):
                dead.dispose()

    def dispose(self) -> None:
        """Close the connections of every loop at once."""
        with suppress(KeyError):  # it is empty now
            while True:
                self._sessions.popitem()[1].dispose()

    async def close(self) -> None:
        """Close the connections of every loop; wait for those of this one."""
        here = os.getpid(), asyncio.get_running_loop()
        mine = [self._sessions.pop(key) for key in list(self._sessions) if key[:2] == here]
        self.dispose()
        for held in mine:
            await held.close()


def belongs_to(thing: aiohttp.ClientSession | aiohttp.BaseConnector) -> bool:
    """Whether a session or connector of the user's is one of the running loop."""
    loop = loop_of(thing)
    return loop is None or loop is asyncio.get_running_loop()
