"""What TLS through a proxy may take: as long as the call has left, however many reads and writes it is made of."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

from .sending import seconds_left, sending


class PunctualSocket(ssl.SSLSocket):
    """TLS to a proxy, over which urllib3 speaks TLS once more: it reads as often as a record or a handshake needs.

    Its timeout is therefore not one for each read and write, but the time from when it was set until all must be done.
    """

    _ends: float | None = None

    def settimeout(self, value: float | None) -> None:
        """Let everything until the next call of this take so long."""
        self._ends = time.monotonic() + value if value else None
        super().settimeout(value)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive what there is in the time that is left."""
        self._wait_no_longer()
        return super().recv(buflen, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send what can be sent in the time that is left."""
        self._wait_no_longer()
        return super().send(data, flags)

    def _wait_no_longer(self) -> None:
        if self._ends is not None:
            left = self._ends - time.monotonic()
            if left <= 0:
                raise TimeoutError("the limit passed")
            super().settimeout(left)


def limit_handshake(sock: socket.socket) -> None:
    """Prepare a connection to a proxy, which has opened the tunnel, for TLS with the server behind it."""
    if type(sock) is ssl.SSLSocket:
        sock.__class__ = PunctualSocket  # urllib3 has made it, and goes on with it
    if (exchange := sending()) is not None:
        sock.settimeout(seconds_left(exchange))
