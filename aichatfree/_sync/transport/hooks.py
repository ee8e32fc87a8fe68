"""urllib3's connections, taught the limits of a call, and the requests adapter that uses them.

Every hook of requests, urllib3 and http.client on which a limit hangs stands in this file: ``send`` of requests'
adapter with ``get_connection_with_tls_context``, ``request_url`` and ``cert_verify``; ``_get_conn``, ``_put_conn`` and
``_new_conn`` of urllib3's pools; ``_new_conn``, ``_tunnel``, ``request`` and ``send`` of its connections;
``response_class`` of http.client's, with ``begin``. Each notes on the exchange that it was called (but ``_tunnel``,
without which there is none), and checks that the one before it was: where a newer library calls one of them no longer,
a call fails with a ConnectError that names the library, instead of waiting without limit.
"""

from __future__ import annotations

import http.client
import io
import socket
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from ..._core.network import Network
from ..._core.wire.addresses import split_userinfo
from .dialing import Dial
from .framing import Framing, framing_of
from .idle import Idle, has_decrypted
from .inbox import Inbox
from .punctual import limit_handshake
from .sending import check_stage, sending, transmit
from .socks import is_socks

MAX_POOLS = 64
"""Servers of which idle connections are kept."""


class LimitedResponse(http.client.HTTPResponse):
    """An HTTP answer that is read strictly, and within the limits of its call; interim (1xx) answers are skipped."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._inbox: Inbox | None = None
        self._framing = Framing(False, 0, False)
        self._exchange = exchange = sending()
        self._whole = False
        if exchange is None:
            return
        early, exchange.early = exchange.early, b""
        file: Any = self.fp
        raw: io.RawIOBase = file.detach()
        inbox: Any = Inbox(sock, raw, exchange.deadline, early)
        self.fp = self._inbox = inbox

    def begin(self) -> None:
        """Read the status and the headers."""
        exchange, self._exchange = self._exchange, None
        if self._inbox is None or exchange is None:
            super().begin()
            return
        if self.headers is not None:
            return
        check_stage(exchange, "request", "HTTPConnection.request")
        head = self._inbox.read_final_head()
        self._framing = framing = framing_of(head)
        self.code = self.status = head.status
        self.reason = head.reason
        self.version = head.version
        self.headers = self.msg = http.client.HTTPMessage()
        for name, value in head.fields:
            self.headers[name] = value
        self.chunked, self.length = framing.chunked, framing.length
        self.chunk_left = None
        self.will_close = not framing.keeps
        exchange.incoming = self
        exchange.stage = "answer"

    def _read_status(self) -> tuple[Any, ...]:
        """The status of the answer to a CONNECT, with the fields that follow: http.client takes few of them."""
        if self._inbox is None:
            status: tuple[Any, ...] = super()._read_status()  # type: ignore[misc]
            return status
        head = self._inbox.read_final_head()
        self._inbox.unread(b"\r\n")  # the fields have ended
        return head.version, head.status, head.reason

    def body(self) -> Iterator[bytes]:
        """The body as it arrives, see :meth:`Inbox.body`."""
        assert self._inbox is not None
        if self._framing.unknown is not None:
            raise http.client.HTTPException(f"the transfer coding {self._framing.unknown[:80]!r} is not known here")
        yield from self._inbox.body(self._framing)
        self._whole = True

    @property
    def reusable(self) -> bool:
        """Whether the connection can serve another request: the answer was read to its end, and nothing follows it."""
        return self._whole and self._framing.keeps and self._inbox is not None and not self._inbox.pending


class _Connection(HTTPConnection):
    """A connection that connects, sends and reads within the limits of the exchange it serves."""

    response_class = LimitedResponse
    socks: str | None = None
    """The SOCKS proxy, if there is one."""
    complete = True
    """Whether the last request was taken whole."""
    _outgoing: list[bytes] | None = None
    _fresh = False

    def _new_conn(self) -> socket.socket:
        """A connection to the host, its addresses tried within the one limit, or to the SOCKS proxy before it."""
        exchange = sending()
        # Its own dot at the end of a name, which urllib3's ``host`` has not, says that no search domain is to be tried.
        host: str = getattr(self, "_dns_host", self.host)
        try:
            sock = Dial(exchange, self.socket_options or (), self.timeout).connect(host, self.port, self.socks)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host} in time: {error}") from error
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        sys.audit("http.client.connect", self, self.host, self.port)
        self._fresh = True
        return sock

    def _tunnel(self) -> None:
        super()._tunnel()
        limit_handshake(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, or as much of it as the server reads."""
        exchange = sending()
        if exchange is None:
            super().request(*args, **kwargs)
            return
        check_stage(exchange, "pool", "HTTPConnectionPool._get_conn")
        if self.sock is None:
            self.connect()
        if not self._fresh:
            check_stage(exchange, "", "HTTPConnection._new_conn")
        exchange.connected(self.sock)
        exchange.stage = "request"
        self._outgoing = blocks = list[bytes]()
        try:
            super().request(*args, **kwargs)
        finally:
            self._outgoing = None
        if not blocks:
            exchange.stage = ""
            check_stage(exchange, "sent", "HTTPConnection.send")
        self.complete = transmit(self, self.sock, blocks, exchange)

    def send(self, data: Any) -> None:
        """Send something, or keep it until the request is complete."""
        if self._outgoing is None:
            super().send(data)
        else:
            self._outgoing.append(data)

    def close(self) -> None:
        """Close it, without a word to the other end, whose connection it may be after a fork."""
        self._fresh, self.complete = False, True
        super().close()


class _TLSConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        # Without verification urllib3 warns at every request, of what the user asked for (verify=False).
        self.is_verified = True
        sock: Any = self.sock
        sock.suppress_ragged_eofs = False  # a connection that was cut has not ended

    @property
    def is_connected(self) -> bool:
        """Whether it can be used again: what TLS has decrypted beyond an answer would be taken for the next one."""
        return super().is_connected and not has_decrypted(self.sock)


class _PoolHooks(HTTPConnectionPool):
    """What both pools have in common."""

    socks: str | None = None
    _base: type[HTTPConnectionPool]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idle = Idle()
        weakref.finalize(self, self.idle.clear)

    def _replaced(self) -> bool:
        """Whether a library such as vcrpy has put connections of its own in the place of urllib3's."""
        return self._base.ConnectionCls is not _KNOWN[self._base]

    def _new_conn(self) -> Any:
        self.ConnectionCls = self._base.ConnectionCls if self._replaced() else type(self).ConnectionCls
        connection: Any = super()._new_conn()
        if self.socks is not None:
            connection.socks = self.socks
        return connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        if (exchange := sending()) is not None:
            exchange.stage = "pool"
        if self._replaced():
            return super()._get_conn(timeout)
        return self.idle.take() or self._new_conn()

    def _put_conn(self, conn: Any) -> None:
        if conn is None:
            return
        if not isinstance(conn, _Connection):
            super()._put_conn(conn)
            return
        if conn.sock is None or not conn.complete:
            conn.close()
            return
        self.idle.put(conn)
        if self.pool is None:  # closed meanwhile
            self.idle.clear()

    def close(self) -> None:
        """Close the idle connections."""
        super().close()
        self.idle.clear()


class _Pool(_PoolHooks):
    ConnectionCls = _Connection
    _base = HTTPConnectionPool


class _TLSPool(_PoolHooks, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
    _base = HTTPSConnectionPool


_KNOWN: dict[Any, Any] = {HTTPConnectionPool: HTTPConnection, HTTPSConnectionPool: HTTPSConnection}


class LimitedAdapter(HTTPAdapter):
    """requests' adapter over limited connections, without the work that need not be repeated on every call.

    Args:
        network: The proxies and certificates, which are settled when the client is made.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._pools: dict[str, _PoolHooks] = {}  # by origin, so that every path shares its connections
        super().__init__(pool_maxsize=1)

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request by requests' own ``send``, which libraries that mock answers replace."""
        response = super().send(*args, **kwargs)
        exchange = sending()
        original = getattr(response.raw, "_original_response", None)
        if exchange is not None and type(original) in (http.client.HTTPResponse, LimitedResponse):
            # It came by http.client, and not by a mock.
            check_stage(exchange, "answer", "HTTPConnection.response_class")
        return response

    def _pool(self, url: str) -> _PoolHooks:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools.setdefault(origin, self._new_pool(url, self._network.proxy_for(url)))
            while len(self._pools) > MAX_POOLS:
                oldest = min(tuple(self._pools.items()), key=lambda item: item[1].idle.used)[0]
                if (left := self._pools.pop(oldest, None)) is not None:
                    left.close()
        return pool

    def _new_pool(self, url: str, proxy: str | None) -> Any:
        options: dict[str, Any] = {"maxsize": 1}
        if url.startswith("https:"):
            options["ssl_context"] = self._network.ssl_context
        manager: PoolManager
        if proxy is None or is_socks(proxy):
            manager = PoolManager(**options)
        else:
            if proxy.startswith("https:"):
                options["proxy_ssl_context"] = self._network.ssl_context
            manager = ProxyManager(proxy, proxy_headers=self.proxy_headers(proxy), **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        pool: Any = manager.connection_from_url(url)
        if is_socks(proxy):
            pool.socks = proxy
        return pool

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """The credentials for a proxy, in UTF-8 (RFC 7617); requests' own knows Latin-1 alone."""
        credentials = split_userinfo(proxy)[1]
        return {} if credentials is None else {"Proxy-Authorization": credentials}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: each pool is made when it is first used."""

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """The pool for a request."""
        return self._pool(str(request.url))

    def request_url(self, request: requests.PreparedRequest, proxies: Any = None) -> str:
        """What the request line names: the whole URL for a proxy that forwards, else the path."""
        parts = urlsplit(str(request.url))
        if parts.scheme == "http" and self._pool(str(request.url)).proxy is not None:
            return str(request.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the pools have the SSLContext."""

    def close(self) -> None:
        """Close every idle connection."""
        while self._pools:
            with suppress(KeyError):
                self._pools.popitem()[1].close()
