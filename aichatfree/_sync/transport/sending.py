"""What urllib3's connections are told of the exchange that they serve, and how its request goes out."""

from __future__ import annotations

import selectors
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Protocol

from ..._core.deadlines import Deadline
from ...errors import ConnectError
from .framing import without_interim

Selector: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""One that needs no descriptor of its own: there may be none left."""

SLICE_SECONDS = 0.25
"""How long a wait takes at most where a shutdown of the socket, by which it is aborted, does not end it."""

_AT_ONCE = 64 * 1024
"""The largest request of which head and body go out as one block."""


class Interruptible(Protocol):
    """Something that another thread can make give up waiting."""

    def abort(self) -> None:
        """Make it give up, without waiting for that."""


class Body(Protocol):
    """An answer as our own connections read it."""

    @property
    def reusable(self) -> bool:
        """Whether the connection can serve another request, once the body was read."""
        ...

    def body(self) -> Any:
        """The body as it arrives."""

    def close(self) -> None:
        """Let go of the connection's socket."""


class Served(Protocol):
    """An exchange, as the connections see it."""

    deadline: Deadline
    incoming: Body | None
    """The answer as our own connections read it; None under a user's session or a mock."""
    early: bytes
    """What was received while the request went out."""
    stage: str
    """The last hook of ours that a library called: each checks that the one before it was."""

    @property
    def aborted(self) -> bool:
        """Whether the call was closed."""
        ...

    def looking_up(self, lookup: Interruptible) -> None:
        """The addresses of the server are being looked up."""

    def opening(self, sockets: Sequence[socket.socket]) -> None:
        """Connections are being made on what is now, or will be, in ``sockets``."""

    def opened(self, sock: socket.socket) -> None:
        """There is a connection on ``sock``; a proxy's tunnel and TLS may still have to follow."""

    def connected(self, sock: Any) -> None:
        """The request is about to go out on ``sock``."""


current_exchange: ContextVar[list[Served]] = ContextVar("aichatfree_exchange")
"""The exchange that this thread is sending: urllib3 has no way to hand anything to a connection. It is in a list, which
is emptied after the sending, so that nobody who keeps the context keeps the exchange."""


def sending() -> Served | None:
    """The exchange that this thread is sending."""
    slot = current_exchange.get(None)
    return slot[0] if slot else None


def check_stage(exchange: Served, stage: str, hook: str) -> None:
    """Fail if the hook before this one was not called.

    Args:
        exchange: What the hooks were called for.
        stage: What the one before has noted there.
        hook: Its name, for the error.

    Raises:
        ConnectError: It was not.
    """
    if exchange.stage != stage:
        from importlib.metadata import version

        raise ConnectError(
            f"{hook} was not called, so that limits would not hold: requests {version('requests')} with urllib3 "
            f"{version('urllib3')} is not what this aichatfree knows: install an older one, or a newer aichatfree"
        )


def transmit(connection: object, sock: Any, blocks: list[bytes], exchange: Served) -> bool:
    """Send a request, and stop as soon as it is answered: a server may refuse what it has not read (RFC 9110, 9.3.3).

    Args:
        connection: Whose audit events these are.
        sock: Where it goes.
        blocks: Its head, and its body.
        exchange: Whose ``early`` takes what is received meanwhile.

    Returns:
        Whether all of it was sent. If not, there is an answer, or the end of the connection, to read.

    Raises:
        TimeoutError: A limit of the call passed.
    """
    if sum(map(len, blocks)) <= _AT_ONCE:
        blocks = [b"".join(blocks)]
    for block in blocks:
        sys.audit("http.client.send", connection, block)
        if not _transmit_block(sock, block, exchange):
            return False
    return True


def _transmit_block(sock: Any, block: bytes, exchange: Served) -> bool:
    view = memoryview(block)
    if not isinstance(sock, socket.socket):  # urllib3's TLS in TLS, which knows neither a select nor a partial write
        sock.settimeout(seconds_left(exchange))
        sock.sendall(view)
        return True
    seconds_left(exchange)
    sock.settimeout(0)
    try:
        while view:
            try:
                view = view[sock.send(view[: 4 * _AT_ONCE]) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError) as wanted:
                writes = not isinstance(wanted, ssl.SSLWantReadError)
            else:
                continue
            if _wait(sock, writes, exchange) and _received(sock, exchange):
                return False
    except (ConnectionError, ssl.SSLError):
        return False  # the other end has closed; what it said before is still to be read
    return True


def seconds_left(exchange: Served) -> float | None:
    """How long the next step may take, None for no limit.

    Raises:
        TimeoutError: A limit of the call passed.
    """
    left = exchange.deadline.remaining()
    if left == 0:
        raise TimeoutError("the limit passed")
    return left


def _wait(sock: socket.socket, writes: bool, exchange: Served) -> bool:
    """Wait until the socket can be written to or read from; return whether it can be read from."""
    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0)
    with Selector() as selector:
        selector.register(sock, events)
        while not (ready := selector.select(min(SLICE_SECONDS, seconds_left(exchange) or SLICE_SECONDS))):
            if exchange.aborted:
                raise ConnectionAbortedError("the call was closed")
        return bool(ready[0][1] & selectors.EVENT_READ)


def _received(sock: socket.socket, exchange: Served) -> bool:
    """Take what has arrived; return whether it is the answer, or the end of the connection."""
    with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):  # it was TLS's own
        while True:
            data = sock.recv(_AT_ONCE)
            exchange.early, final = without_interim(exchange.early + data)
            if final or not data:
                return True
    return False
