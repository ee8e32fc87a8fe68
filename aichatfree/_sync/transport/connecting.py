"""TCP connections to a host: all its addresses within one limit, the next one before the last has failed."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .resolver import Addresses
from .sending import SLICE_SECONDS, Selector, Served

STAGGER_SECONDS = 0.25
"""How long an address has to itself before the next one is tried as well (RFC 8305, 5)."""

_WRITABLE = 2  # selectors.EVENT_WRITE
_UNREACHABLE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


class Attempts:
    """Attempts to connect to the addresses of a host, of which the first that succeeds stays.

    Args:
        addresses: Where to connect to.
        options: Set on each socket before it connects.
        exchange: Whose limits hold; None for ``seconds``.
        seconds: How long to try, None for no limit.
    """

    def __init__(
        self, addresses: Addresses, options: Sequence[Any], exchange: Served | None, seconds: float | None
    ) -> None:
        self._addresses = interleaved(addresses)
        self._options = options
        self._exchange = exchange
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._trying: list[socket.socket] = []
        self._error: OSError = OSError("the host has no address")

    def connect(self) -> socket.socket:
        """The connection, on a blocking socket.

        Raises:
            TimeoutError: None of the addresses answered in time.
            OSError: Each of them failed; this is what the first said that could be reached at all.
        """
        if self._exchange is not None:
            self._exchange.opening(self._trying)
        winner: socket.socket | None = None
        try:
            with Selector() as selector:
                winner = self._first(selector)
                self._trying.remove(winner)
        finally:
            while self._trying:
                self._trying.pop().close()
        return winner

    def _first(self, selector: Any) -> socket.socket:
        following = 0.0
        more = True
        while True:
            now = time.monotonic()
            if more and (now >= following or not self._trying):
                more = self._try_next(selector)
                following = now + STAGGER_SECONDS
            if not self._trying:
                if more:
                    continue
                raise self._error
            for key, _ in selector.select(self._wait(following if more else None)):
                sock = key.fileobj
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                selector.unregister(sock)
                if not code:
                    return sock  # type: ignore[no-any-return]
                self._failed(OSError(code, os.strerror(code)), sock)
                following = 0.0
            if self._exchange is not None and self._exchange.aborted:
                raise ConnectionAbortedError("the call was closed")

    def _try_next(self, selector: Any) -> bool:
        """Begin with the next address; return False if there is none."""
        for family, kind, protocol, _, address in self._addresses:
            sock: socket.socket | None = None
            try:
                sock = socket.socket(family, kind, protocol)
                self._trying.append(sock)
                for option in self._options:
                    sock.setsockopt(*option)
                sock.settimeout(0)
                try:
                    sock.connect(address)
                except BlockingIOError:
                    pass
            except OSError as error:
                self._failed(error, sock)
                if error.errno in _NO_DESCRIPTOR and not self._trying:
                    raise
                continue
            selector.register(sock, _WRITABLE)
            return True
        return False

    def _failed(self, error: OSError, sock: socket.socket | None) -> None:
        if self._error.errno is None or self._error.errno in _UNREACHABLE:
            self._error = error
        if sock is not None:
            self._trying.remove(sock)
            sock.close()

    def _wait(self, following: float | None) -> float:
        """How long to wait for the attempts that are on their way."""
        left = self._ends - time.monotonic() if self._ends is not None else SLICE_SECONDS
        if self._exchange is not None and (limit := self._exchange.deadline.remaining()) is not None:
            left = limit
        if left <= 0:
            raise TimeoutError("none of the addresses answered in time")
        wait = min(left, SLICE_SECONDS)
        return wait if following is None else max(0.0, min(wait, following - time.monotonic()))


def interleaved(addresses: Addresses) -> Iterator[tuple[Any, ...]]:
    """Addresses in their order, the families taking turns (RFC 8305, 4)."""
    families: dict[Any, list[tuple[Any, ...]]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    lists = list(families.values())
    for turn in range(max(map(len, lists), default=0)):
        yield from (each[turn] for each in lists if turn < len(each))


def out_of_descriptors() -> OSError | None:
    """The error that says that this process may open nothing more, None if it may; resolvers put it otherwise."""
    try:
        socket.socket().close()
    except OSError as error:
        return error if error.errno in _NO_DESCRIPTOR else None
    return None
