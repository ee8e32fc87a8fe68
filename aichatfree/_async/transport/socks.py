"""Connections through a SOCKS proxy; python-socks speaks to it (the extra ``socks``)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs
import aiohttp

from ...errors import InvalidRequestError
from .hooks import Noticed, new_protocol
from .resolver import look_up

if TYPE_CHECKING:
    from python_socks.async_.asyncio import Proxy

_DEFAULT_PORT = 1080
_ATTEMPT_DELAY = 0.25
"""Seconds after which the next address is tried beside one that does not answer (RFC 8305, 5)."""


class _Utf8(str):
    """A user or password as bytes of UTF-8: python-socks would have ASCII only."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return super().encode("utf-8", errors)

    def __len__(self) -> int:
        return len(self.encode())


class _Direct:
    """How the proxy itself is reached: all of its addresses are tried, and its name is looked up by our resolver."""

    async def connect(self, dest_host: str, dest_port: int, timeout: float | None = None) -> socket.socket:
        try:
            found = await look_up(dest_host, dest_port)
        except socket.gaierror as error:  # not to be taken for one about the server's name
            raise OSError(error.errno, f"the name of the proxy cannot be resolved: {error.strerror}") from error
        return await aiohappyeyeballs.start_connection(
            [(*each[:3], "", each[4]) for each in found], happy_eyeballs_delay=_ATTEMPT_DELAY
        )


class SocksConnector(Noticed, aiohttp.BaseConnector):
    """A connector whose connections all go through one SOCKS proxy.

    It makes every connection itself, and is not a TCPConnector: nothing can go past the proxy unnoticed.

    Args:
        url: ``socks5://`` (names are looked up here) or ``socks5h://`` (by the proxy), with user and password or not.
        **options: Those of aiohttp's connectors.

    Raises:
        InvalidRequestError: python-socks is not installed.
    """

    def __init__(self, url: str, **options: Any) -> None:
        try:
            from python_socks import ProxyType
            from python_socks.async_.asyncio import Proxy
        except ImportError as error:
            raise InvalidRequestError(
                "a SOCKS proxy needs python-socks: pip install 'aichatfree[socks]', or give another proxy"
            ) from error
        super().__init__(**options)
        parts = urlsplit(url)
        self._by_proxy = parts.scheme.lower() == "socks5h"
        self._proxy: Proxy = Proxy(
            ProxyType.SOCKS5,
            parts.hostname or "",
            parts.port or _DEFAULT_PORT,
            username=None if parts.username is None else _Utf8(unquote(parts.username)),
            password=None if parts.username is None else _Utf8(unquote(parts.password or "")),
            rdns=True,
            forward=_Direct(),  # type: ignore[arg-type]
        )

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        from python_socks import ProxyError

        host, port = req.url.raw_host, req.url.port
        try:
            if self._by_proxy:
                sock = await self._connect(host, port)
            else:
                sock = await self._connect_to_any(host, port)
        except (ProxyError, OSError) as error:
            if isinstance(error, socket.gaierror) and not self._by_proxy:
                raise aiohttp.ClientConnectorDNSError(req.connection_key, error) from error
            reason = error if isinstance(error, OSError) else OSError(getattr(error, "error_code", None), str(error))
            raise aiohttp.ClientProxyConnectionError(req.connection_key, reason) from error
        tls = req.ssl if isinstance(req.ssl, ssl.SSLContext) else ssl.create_default_context()
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                partial(new_protocol, asyncio.get_running_loop()),
                sock=sock,
                ssl=tls if req.is_ssl() else None,
                server_hostname=host.rstrip(".") if req.is_ssl() else None,
            )
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except BaseException:
            sock.close()
            raise
        return protocol

    async def _connect(self, host: str, port: int) -> socket.socket:
        # The limits of the call are watched elsewhere; without this one, python-socks has a limit of its own.
        return await self._proxy.connect(host, port, timeout=1e6)

    async def _connect_to_any(self, host: str, port: int) -> socket.socket:
        """Let the proxy connect to the addresses of a host, one after the other, until one answers."""
        from python_socks import ProxyError

        last: ProxyError | None = None
        for address in dict.fromkeys(each[4][0] for each in await look_up(host, port)):
            try:
                return await self._connect(address, port)
            except ProxyError as error:
                last = error
        raise last or socket.gaierror(socket.EAI_NONAME, f"{host} has no address")
