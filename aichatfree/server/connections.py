"""Connections of the server: how they are listened for, what a malformed request gets, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import HttpVersion11, http_exceptions, web

from .access_log import Call
from .protocol import Verdict

__all__ = ["Bare", "address_of", "bare", "cut", "listen", "stop_accepting"]

KEEP_ALIVE_SECONDS = 5.0
"""How long an idle connection stays open: the real server's (Node's) value. So long may a head take as well."""
LINGERING_SECONDS = 5.0
"""How long what remains of a refused request is read and thrown away, so that the client sees the answer."""
HANG_SECONDS = 5.0
"""How long a client that reads nothing holds up the end of its connection."""

_PARSER_BYTES = 64 << 10
"""What aiohttp's parser takes; the limits of the real server are looked at afterwards, with its answers."""


class Bare(web.Response):
    """A response without a content type, and without the name of a server where no application adds it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)


def bare(verdict: Verdict, *, close: bool = False) -> web.Response:
    """The response for a verdict.

    Args:
        verdict: What to answer.
        close: Whether the connection ends with it.
    """
    kind = Bare if verdict.content_type is None else web.Response
    response = kind(status=verdict.status, reason=verdict.reason, body=verdict.body, headers=verdict.headers)
    if verdict.content_type is not None:
        response.headers["Content-Type"] = verdict.content_type
    if close:
        response.force_close()
    return response


async def tidy_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Take back what aiohttp adds: the real server names itself nowhere, and some answers have no content type."""
    headers = response.headers
    if "Server" in headers:
        del headers["Server"]
    if isinstance(response, Bare) and "Content-Type" in headers:
        del headers["Content-Type"]


async def cut(request: web.BaseRequest) -> None:
    """End the connection so that no client can take what it got for a whole answer."""
    transport = request.transport
    if transport is None:
        return
    loop = asyncio.get_running_loop()
    if request.version < HttpVersion11:
        # Here the end of the connection is the end of the body, so that only a reset tells them apart. What has been
        # written must be on its way before.
        for _ in range(20):
            if not transport.get_write_buffer_size():
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        return
    # Closed before the last chunk; what has been written is sent.
    transport.close()
    loop.call_later(HANG_SECONDS, transport.abort)


class _Connection(web.RequestHandler):
    """aiohttp's connection, which answers a malformed request as Node does: briefly, and without a page."""

    __slots__ = ("_open", "_socket")

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._open = server.open
        self._socket: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport
        self._open.add(transport)
        super().connection_made(transport)
        # Since 3.14, aiohttp itself gives up a connection that brings no request.
        if getattr(self, "_keepalive_handle", None) is None:
            asyncio.get_running_loop().call_later(self.keepalive_timeout, self._give_up)

    def _give_up(self) -> None:
        if not getattr(self, "_request_count", 1):
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._open.discard(self._socket)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:  # a fault of this package: aiohttp logs it, and answers
            response = super().handle_error(request, status, exc, message)
            return response if request.writer.output_size else bare(Verdict(500, "Server error"), close=True)
        too_large = isinstance(exc, http_exceptions.LineTooLong) or "Too many" in str(message)
        verdict = Verdict(431, "Request Header Fields Too Large") if too_large else Verdict(400, "Bad Request")
        call = Call("-", "-")
        call.status = verdict.status
        call.note("malformed request")
        call.log()
        return bare(verdict, close=True)


class _Server(web.Server):
    def __init__(self, server: web.Server, **options: Any) -> None:
        super().__init__(
            server.request_handler,
            request_factory=server.request_factory,
            handler_cancellation=True,  # a client that goes away ends its reply
        )
        self._options = options
        self.open: set[asyncio.BaseTransport | None] = set()
        """The connections that have not ended, those among them that wait for a client that reads nothing."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)


class Runner(web.AppRunner):
    """aiohttp's runner of an application, with connections of our own kind."""

    async def _make_server(self) -> web.Server:
        return _Server(
            await super()._make_server(),
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            access_log=None,
            auto_decompress=False,
            max_line_size=_PARSER_BYTES,
            max_field_size=_PARSER_BYTES,
            max_headers=2000,
        )


async def listen(app: web.Application, host: str, port: int, *, shutdown_timeout: float) -> Runner:
    """Serve an application.

    Raises:
        OSError: The address cannot be listened on.
        ValueError: `host` is empty, which would be every address.
    """
    runner = Runner(app, handle_signals=False, shutdown_timeout=shutdown_timeout)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except (OSError, OverflowError, UnicodeError) as exc:
        await runner.cleanup()
        raise cannot_listen(host, port, exc) from exc
    return runner


def cannot_listen(host: str, port: int, exc: Exception) -> OSError:
    """The error for an address that cannot be listened on, in words for whoever chose it."""
    number = getattr(exc, "errno", None) or 0
    # What asyncio says instead repeats the address.
    why = os.strerror(number) if number > 0 else getattr(exc, "strerror", None) or str(exc)
    text = f"cannot listen on {host}, port {port}: {why}; choose another port, or 0 for any that is free"
    return OSError(number, text) if number else OSError(text)


async def stop_accepting(runner: web.AppRunner) -> None:
    """Take no more connections, and let those that were taken begin.

    The asyncio of Python 3.11 breaks off amid their beginning if the server is closed in that moment: it leaves their
    sockets open, and in its debug mode prints a traceback for each.
    """
    loop = asyncio.get_running_loop()
    for site in runner.sites:
        server = getattr(site, "_server", None)
        for sock in server.sockets if server is not None else ():
            with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, uvloop
                loop.remove_reader(sock.fileno())
    for _ in range(3):  # one each for the task that begins it, for its transport, and for its protocol
        await asyncio.sleep(0)


async def stop(runner: Runner, wait: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Stop serving: no new requests, then `wait` for those that run, then end all connections."""
    await stop_accepting(runner)
    for site in runner.sites:
        await site.stop()
    if runner.server is not None:
        runner.server.pre_shutdown()  # idle connections end now, others after their answer
    await wait()
    server = runner.server
    await runner.cleanup()
    if isinstance(server, _Server):
        for transport in list(server.open):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        await asyncio.sleep(0)  # in which they are told


def address_of(runner: web.AppRunner) -> str:
    """The URL at which a client on this machine reaches the server, also if it listens on every address."""
    host, port = runner.addresses[0][:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one, as Node does when it starts."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
