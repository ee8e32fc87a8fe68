"""The connections of a pool that wait for their next request."""

from __future__ import annotations

import itertools
import os
import ssl
from contextlib import suppress
from typing import Any

POOL_SIZE = 512
"""Idle connections kept a server. More may be open at once: nothing ever waits for a place in the pool."""


class Idle:
    """The idle connections of a pool, by process and without a lock: each step is one operation on a list.

    A lock could be found taken by a signal handler, or stay taken after a KeyboardInterrupt or a fork.
    """

    stamps = itertools.count()

    def __init__(self) -> None:
        self._own: tuple[int, list[Any]] = (os.getpid(), [])
        self.used = next(self.stamps)

    def connections(self) -> list[Any]:
        """The list of this process. What the process that forked this one had is closed here, and goes on there."""
        pid, own = self._own
        if pid != os.getpid():
            inherited, own = own, []
            self._own = (os.getpid(), own)
            while inherited:
                inherited.pop().close()
        return own

    def take(self) -> Any:
        """One that is still connected, None if there is none."""
        self.used = next(self.stamps)
        own = self.connections()
        while own:
            with suppress(IndexError):
                connection = own.pop()
                if connection.is_connected:
                    return connection
                connection.close()
        return None

    def clear(self) -> None:
        """Close them all."""
        own = self.connections()
        while own:
            with suppress(IndexError):
                own.pop().close()

    def put(self, connection: Any) -> None:
        """Keep one, or close it where there are :data:`POOL_SIZE` already."""
        own = self.connections()
        if len(own) >= POOL_SIZE:
            connection.close()
        else:
            own.append(connection)


def has_decrypted(sock: Any) -> bool:
    """Whether TLS has taken more off the network than was read: polling the socket would not show it."""
    while sock is not None and not isinstance(sock, ssl.SSLSocket):
        if getattr(sock, "sslobj", None) is None:
            return False
        # urllib3's TLS in TLS, as to a server behind an https proxy
        if sock.sslobj.pending() or sock.incoming.pending:
            return True
        sock = sock.socket
    return sock is not None and sock.pending() > 0
