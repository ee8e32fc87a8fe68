"""Connections through a SOCKS proxy, by python-socks over sockets of ours."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from urllib3.exceptions import ProxyError

DEFAULT_PORT = 1080


class _Text(str):
    """Text that goes out as UTF-8: python-socks sends ASCII alone, and RFC 1929 says nothing of it.

    A character of it is a byte, since python-socks announces its length in characters.
    """

    __slots__ = ()

    def encode(self, encoding: str = "", errors: str = "strict") -> bytes:
        return super().encode("latin-1")


def _credential(text: str) -> _Text:
    return _Text(unquote(text).encode().decode("latin-1"))


class _Limited:
    """The socket as python-socks sees it: each wait ends with the limit of the call."""

    def __init__(self, sock: socket.socket, remaining: Callable[[], float | None]) -> None:
        self._sock = sock
        self._remaining = remaining

    def _arm(self) -> None:
        self._sock.settimeout(self._remaining())

    def sendall(self, data: bytes) -> None:
        self._arm()
        self._sock.sendall(data)

    def recv(self, size: int) -> bytes:
        self._arm()
        return self._sock.recv(size)

    def close(self) -> None:
        self._sock.close()


class _Connected:
    """Stands where python-socks looks for a proxy before the proxy: it is there already."""

    def __init__(self, sock: _Limited) -> None:
        self._sock = sock

    def connect(self, *args: Any, **kwargs: Any) -> _Limited:
        return self._sock


def is_socks(proxy: str | None) -> bool:
    """Whether a proxy's URL is one of SOCKS."""
    return proxy is not None and proxy.startswith("socks")


def resolves_itself(proxy: str) -> bool:
    """Whether the proxy looks up the names, as ``socks5h://`` says."""
    return proxy.startswith("socks5h:")


def proxy_address(proxy: str) -> tuple[str, int]:
    """The host and the port of a proxy."""
    parts = urlsplit(proxy)
    return parts.hostname or "", parts.port or DEFAULT_PORT


def open_tunnel(proxy: str, sock: socket.socket, host: str, port: int, remaining: Callable[[], float | None]) -> None:
    """Have the proxy at the other end of ``sock`` connect to ``host``.

    Raises:
        TimeoutError: A limit of the call passed.
        ProxyError: The proxy refuses, or speaks something else.
    """
    from python_socks import ProxyConnectionError, ProxyTimeoutError, ProxyType
    from python_socks import ProxyError as SocksError
    from python_socks.sync import Proxy

    parts = urlsplit(proxy)
    user = None if parts.username is None else _credential(parts.username)
    password = None if user is None else _credential(parts.password or "")
    gate: Any = _Connected(_Limited(sock, remaining))
    try:
        Proxy(ProxyType.SOCKS5, *proxy_address(proxy), user, password, rdns=True, forward=gate).connect(host, port)
    except ProxyTimeoutError as error:
        raise TimeoutError("the SOCKS proxy did not answer in time") from error
    except (SocksError, ProxyConnectionError, OSError, UnicodeError, ValueError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise ProxyError(f"the SOCKS proxy let nothing through: {error or type(error).__name__}", error) from error
