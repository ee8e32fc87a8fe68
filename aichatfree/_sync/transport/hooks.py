"""urllib3's connections, taught the limits of a call, and the requests adapter that uses them.

urllib3 limits each wait on a socket, so that a server that sends one byte now and then is waited for without end.
Here every read asks the deadline of the call how long it may still take; no extra thread is needed for that.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
from collections.abc import Iterator
from contextvars import ContextVar
from email.errors import MissingHeaderBodySeparatorDefect
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from ..._core.network import Network
from .resolver import Lookup

if TYPE_CHECKING:
    from .exchange import RequestsExchange

POOL_SIZE = 512
"""Idle connections kept a server. More may be open at once: nothing ever waits for a place in the pool."""

BUFFER_SIZE = 64 * 1024
"""As much as one read from a socket brings at most; http.client's own 8 KiB cut a large chunk into small pieces."""

current_exchange: ContextVar[list[RequestsExchange]] = ContextVar("aichatfree_exchange")
"""The exchange that this thread is sending: urllib3 has no way to hand anything to a connection. It is in a list, which
is emptied after the sending, so that nobody who keeps the context keeps the exchange."""

_SLACK_SECONDS = 0.05
_MAX_LINE = 8 * 1024
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")


def _sending() -> RequestsExchange | None:
    slot = current_exchange.get(None)
    return slot[0] if slot else None


class _LimitedReader(io.RawIOBase):
    """The receiving side of a socket; each read takes no longer than the call it serves still may."""

    def __init__(self, sock: socket.socket, file: io.RawIOBase, exchange: RequestsExchange) -> None:
        self._sock = sock
        self._file = file  # holds the socket open, as http.client expects of its file
        self._deadline = exchange.deadline
        self._set = sock.gettimeout()
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline.remaining()
        if left is None:
            if self._set is not None:
                self._arm(None)
        elif left == 0:
            raise TimeoutError("the limit passed")
        elif self._set is None or not left <= self._set <= left + _SLACK_SECONDS:
            self._arm(left)
        size = self._sock.recv_into(buffer)
        if not size:
            self.ended = True
        return size

    def _arm(self, seconds: float | None) -> None:
        # Each settimeout is a system call, so it is spared while what was set is right within the slack.
        self._set = None if seconds is None else seconds + _SLACK_SECONDS / 2
        self._sock.settimeout(self._set)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            super().close()


class LimitedResponse(http.client.HTTPResponse):
    """An HTTP answer that is read within the limits of its call, and skips every interim (1xx) answer."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader: _LimitedReader | None = None
        exchange = _sending()
        if exchange is not None:
            self._reader = _LimitedReader(sock, self.fp.detach(), exchange)
            self.fp = io.BufferedReader(self._reader, BUFFER_SIZE)
            exchange.incoming = self

    def begin(self) -> None:
        """Read the status and the headers."""
        super().begin()
        if self._reader is not None and self._reader.ended:
            # http.client takes the end of the connection for the end of the headers.
            raise http.client.RemoteDisconnected("the connection was closed amid the headers")
        while 102 <= self.status < 200:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first begin()
            super().begin()
        if self._reader is not None:
            self._settle_framing()

    def _settle_framing(self) -> None:
        """Read strictly where the body ends: what http.client cannot read, it takes for a body without a length.

        Raises:
            http.client.HTTPException: The headers do not say it, or in two ways.
        """
        if any(isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in self.headers.defects):
            raise http.client.HTTPException("a line of the headers is no header, and what follows it is lost")
        codings, lengths = (
            [value.strip().lower() for value in ",".join(self.headers.get_all(name, ())).split(",") if value.strip()]
            for name in ("transfer-encoding", "content-length")
        )
        if codings and codings[-1] == "chunked" and not self.chunked:
            self.chunked, self.chunk_left, self.length = True, None, None
            self.will_close = self._check_close()  # type: ignore[attr-defined]
        elif lengths and not self.chunked:
            if len(set(lengths)) > 1 or not re.fullmatch(r"[0-9]{1,18}", lengths[0]):
                raise http.client.HTTPException(f"the Content-Length is {', '.join(lengths)[:80]!r}")
            if self.length is None:  # the same one twice in one line
                self.length = int(lengths[0])
                self.will_close = self._check_close()  # type: ignore[attr-defined]

    def chunks(self) -> Iterator[bytes]:
        """A chunked body as it arrives, read strictly: http.client passes over what does not belong between chunks.

        Raises:
            http.client.HTTPException: The chunks are invalid, or end too soon.
        """
        file = self.fp
        while left := _chunk_size(file.readline(_MAX_LINE)):
            while left:
                data = file.read1(min(left, BUFFER_SIZE))
                if not data:
                    raise http.client.IncompleteRead(b"", left)
                yield data
                left -= len(data)
            if (line := file.read(2)) != b"\r\n":
                raise _invalid_chunk(line, 2)
        while (line := file.readline(_MAX_LINE)) != b"\r\n":  # trailers
            if not line.endswith(b"\r\n"):
                raise _invalid_chunk(line, _MAX_LINE)


@lru_cache(maxsize=64)  # few sizes come again and again, and to parse one anew takes as long as all the rest
def _chunk_size(line: bytes) -> int:
    found = _CHUNK_SIZE.fullmatch(line)
    if found is None:
        raise _invalid_chunk(line, _MAX_LINE)
    return int(found[1], 16)


def _invalid_chunk(line: bytes, asked: int) -> http.client.HTTPException:
    if len(line) < asked and not line.endswith(b"\n"):
        return http.client.IncompleteRead(line)
    return http.client.HTTPException(f"the chunks of the body are invalid where it says {line[:80]!r}")


class _Connection(HTTPConnection):
    """A connection that connects, sends and reads within the limits of the exchange it serves."""

    response_class = LimitedResponse

    def _new_conn(self) -> socket.socket:
        """Try the addresses of the host in turn, all of them within the one limit."""
        exchange = _sending()
        lookup = Lookup(self.host, self.port, allowed_gai_family())
        if exchange:
            exchange.looking_up(lookup)
        try:
            addresses = lookup.result(exchange.deadline.remaining() if exchange else self.timeout)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        except (OSError, UnicodeError) as error:
            gai_error = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
            raise NameResolutionError(self.host, self, gai_error) from error
        last: OSError = OSError(f"{self.host} has no address")
        for family, kind, protocol, _, address in addresses:
            left = exchange.deadline.remaining() if exchange else self.timeout
            sock = socket.socket(family, kind, protocol)
            try:
                if left == 0:
                    raise TimeoutError("the limit passed")
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(left)
                if exchange:
                    exchange.opened(sock)
                sock.connect(address)
            except TimeoutError as error:
                sock.close()
                raise ConnectTimeoutError(self, f"no connection to {self.host} in time") from error
            except OSError as error:
                sock.close()
                last = error
                continue
            except BaseException:
                sock.close()
                raise
            if exchange:
                sock.settimeout(exchange.deadline.remaining())  # what TLS and a proxy's tunnel may still take
            return sock
        raise NewConnectionError(self, str(last)) from last

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = _sending()
        if exchange is not None:
            if self.sock is None:
                self.connect()
            exchange.connected(self.sock)
            self.sock.settimeout(exchange.deadline.remaining())
        super().request(*args, **kwargs)


class _TLSConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        # Without verification urllib3 warns at every request, of what the user asked for (verify=False).
        self.is_verified = True

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again: what TLS has decrypted beyond an answer would be taken for the next one."""
        return super().is_connected and not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class LimitedAdapter(HTTPAdapter):
    """requests' adapter over limited connections, without the work that need not be repeated on every call.

    ``send`` itself stays requests' own, so that libraries which replace it (``responses``) keep working.

    Args:
        network: The proxies and certificates, which are settled when the client is made.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._routes: dict[str, tuple[HTTPConnectionPool, str]] = {}
        self._pools: dict[str, HTTPConnectionPool] = {}  # by origin, so that every path shares its connections
        super().__init__(pool_maxsize=POOL_SIZE)

    def _route(self, url: str) -> tuple[HTTPConnectionPool, str]:
        """The pool for a URL, and the target that the request line names."""
        route = self._routes.get(url)
        if route is None:
            parts = urlsplit(url)
            proxy = self._network.proxy_for(url)
            origin = f"{parts.scheme}://{parts.netloc}"
            pool = self._pools.get(origin) or self._pools.setdefault(origin, self._new_pool(url, proxy))
            forwarded = proxy is not None and parts.scheme == "http"
            target = url if forwarded else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            route = self._routes[url] = (pool, target)
        return route

    def _new_pool(self, url: str, proxy: str | None) -> HTTPConnectionPool:
        options: dict[str, Any] = {"maxsize": POOL_SIZE}
        if url.startswith("https:"):
            options["ssl_context"] = self._network.ssl_context
        manager = self._proxy_manager(proxy, options) if proxy else PoolManager(**options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        return manager.connection_from_url(url)

    def _proxy_manager(self, proxy: str, options: dict[str, Any]) -> ProxyManager:
        if proxy.startswith("https:"):
            options["proxy_ssl_context"] = self._network.ssl_context
        return ProxyManager(proxy, proxy_headers=self.proxy_headers(proxy), **options)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: each pool is made when it is first used."""

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """The pool for a request."""
        return self._route(str(request.url))[0]

    def request_url(self, request: requests.PreparedRequest, *args: Any) -> str:
        """What the request line names: the whole URL for a proxy that forwards, else the path."""
        return self._route(str(request.url))[1]

    def cert_verify(self, *args: Any) -> None:
        """Nothing: the pools have the SSLContext."""

    def close(self) -> None:
        """Close every idle connection."""
        self._routes.clear()
        while self._pools:
            self._pools.popitem()[1].close()
