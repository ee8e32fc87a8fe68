"""From a host's name to a connection: look up, connect, and have a SOCKS proxy connect where there is one."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from urllib3.exceptions import ProxyError
from urllib3.util.connection import allowed_gai_family

from .connecting import Attempts, out_of_descriptors
from .resolver import Addresses, Lookup
from .sending import Served
from .socks import open_tunnel, proxy_address, resolves_itself


class Dial:
    """Makes one connection.

    Args:
        exchange: Whose limits hold; None for ``seconds``.
        options: Set on each socket before it connects.
        seconds: How long each step may take where there is no exchange, None for no limit.
    """

    def __init__(self, exchange: Served | None, options: Sequence[Any], seconds: float | None) -> None:
        self._exchange = exchange
        self._options = options
        self._seconds = seconds

    def connect(self, host: str, port: int, socks: str | None) -> socket.socket:
        """A connection to ``host``, through the SOCKS proxy of that URL if there is one.

        Raises:
            TimeoutError: A limit passed.
            socket.gaierror: The name cannot be resolved.
            OSError: No address can be reached.
            ProxyError: The SOCKS proxy is the trouble.
        """
        host = host.strip("[]")
        return self._direct(host, port) if socks is None else self._through(socks, host, port)

    def _remaining(self) -> float | None:
        left = self._exchange.deadline.remaining() if self._exchange else self._seconds
        if left == 0:
            raise TimeoutError("the limit passed")
        return left

    def _direct(self, host: str, port: int) -> socket.socket:
        addresses = self._look_up(host, port)
        sock = Attempts(addresses, self._options, self._exchange, self._seconds).connect()
        try:
            if self._exchange is not None:
                self._exchange.opened(sock)
            sock.settimeout(self._remaining())  # what TLS and a proxy's tunnel may still take
        except BaseException:
            sock.close()
            raise
        return sock

    def _look_up(self, host: str, port: int) -> Addresses:
        lookup = Lookup(host, port, allowed_gai_family())
        if self._exchange is not None:
            self._exchange.looking_up(lookup)
        try:
            return lookup.result(self._remaining())
        except (TimeoutError, ConnectionAbortedError):
            raise
        except (OSError, UnicodeError) as error:
            if (exhausted := out_of_descriptors()) is not None:
                raise exhausted from error
            raise (error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))) from error

    def _through(self, proxy: str, host: str, port: int) -> socket.socket:
        targets = [host]  # the proxy looks it up, or we do, as its scheme says
        if not resolves_itself(proxy):
            targets = [address[0] for *_, address in self._look_up(host, port)]
        while True:
            target = targets.pop(0)
            try:
                sock = self._direct(*proxy_address(proxy))
            except TimeoutError:
                raise
            except OSError as error:
                raise ProxyError(f"the SOCKS proxy cannot be reached: {error}", error) from error
            try:
                open_tunnel(proxy, sock, target, port, self._remaining)
                sock.settimeout(self._remaining())  # what TLS may still take
            except ProxyError:
                sock.close()
                if not targets:
                    raise
            except BaseException:
                sock.close()
                raise
            else:
                return sock
