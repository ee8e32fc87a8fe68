"""`ProxyServer`: a small HTTP proxy on this machine, to test what goes through one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

from aichatfree.testing.loopback import LoopbackServer

__all__ = ["ProxyServer"]

_LIMIT = 1 << 16
_HOP_BY_HOP = ("proxy-authorization", "proxy-connection", "connection", "keep-alive")


class ProxyServer(LoopbackServer):
    """A forward proxy: `http` requests with an absolute URL, and CONNECT tunnels for everything else.

    It runs in one thread from `start` (or `with`) to `close`. However a server ends a connection, the client sees
    a FIN.

    Args:
        user: With `password`, what a client must send as Basic authorization; others are answered with 407.
        password: See `user`.
    """

    def __init__(self, user: str | None = None, password: str = "") -> None:
        super().__init__()
        self._targets: list[str] = []
        self._refused = 0
        self._lock = threading.Lock()
        self._authorization = None if user is None else _basic(user, password)
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def targets(self) -> list[str]:
        """What was asked for so far: `host:port` for a tunnel, the URL for a plain request."""
        with self._lock:
            return list(self._targets)

    @property
    def refused(self) -> int:
        """How many requests were answered with 407."""
        with self._lock:
            return self._refused

    def _new_connection(self) -> asyncio.Protocol:
        # A plain function as callback, and the task made there: asyncio would log it when it is cancelled.
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_LIMIT), self._begin)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _cut_connections(self) -> None:
        await asyncio.sleep(0)  # for the first step of each: see LoopbackServer._stop
        tasks = list(self._serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection: what follows a plain one might be for another host."""
        writers = [writer]
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head[:-4].split("\r\n")
            method, target, version = first.split(" ")
            if not self._authorized(lines):
                writer.write(_answer("407 Proxy Authentication Required", "Proxy-Authenticate: Basic"))
                return
            with self._lock:
                self._targets.append(target)
            url = urlsplit(f"//{target}" if method == "CONNECT" else target)
            try:
                upstream_reader, upstream = await asyncio.open_connection(url.hostname, url.port or 80)
            except OSError:
                writer.write(_answer("502 Bad Gateway"))
                return
            writers.append(upstream)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = url._replace(scheme="", netloc="").geturl() or "/"
                upstream.write(_forwarded(f"{method} {path} {version}", lines))
            await _first(_copy(reader, upstream), _copy(upstream_reader, writer))
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                await _shut(each)

    def _authorized(self, lines: list[str]) -> bool:
        fields = (line.partition(":") for line in lines)
        sent = [value.strip() for name, _, value in fields if name.lower() == "proxy-authorization"]
        right = self._authorization is None or self._authorization in sent
        if not right:
            with self._lock:
                self._refused += 1
        return right


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _answer(status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def _forwarded(first: str, lines: list[str]) -> bytes:
    """The head of a plain request as the server gets it: what was meant for the proxy left out."""
    kept = [line for line in lines if line.partition(":")[0].lower() not in _HOP_BY_HOP]
    return "\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1")


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_LIMIT):
            target.write(data)
            await target.drain()


async def _first(*works: Coroutine[Any, Any, None]) -> None:
    """Run until one of them is done, and end the others: the end of one side is the end of both."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _shut(writer: asyncio.StreamWriter) -> None:
    """Send what is left and close; a peer that reads nothing more is not waited for."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), 0.2)
    except (TimeoutError, OSError, asyncio.CancelledError):
        writer.transport.abort()
