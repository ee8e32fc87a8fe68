"""What lies under asyncio's transports: their sockets, and some of their own fields."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from .framing import READ_SIZE


def unread(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """What has arrived on a connection that is about to be given up."""
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("ssl_object") is not None or sock.fileno() < 0:
        return
    with suppress(OSError, NotImplementedError), sock.dup() as copy:
        copy.setblocking(False)
        while data := copy.recv(READ_SIZE):
            yield data


def read_before_the_end(transport: Any) -> None:
    """Let what has arrived on a TLS connection be read before it is given up, as is done without TLS."""
    tls = getattr(transport, "_ssl_protocol", None)
    if tls is None or "connection_lost" in getattr(tls, "__dict__", {"connection_lost": None}):
        return
    lost = tls.connection_lost

    def connection_lost(exc: BaseException | None) -> None:
        del tls.connection_lost
        inner = getattr(tls, "_transport", None)
        if isinstance(exc, OSError) and inner is not None:
            for data in unread(inner):
                tls.get_buffer(len(data))[: len(data)] = data
                tls.buffer_updated(len(data))
        lost(exc)

    tls.connection_lost = connection_lost


def underlying(transport: Any) -> Any:
    """What a TLS connection sends through, which can be aborted even when that has been closed twice, and waits."""
    return getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport


def has_unsent(transport: Any) -> bool:
    """Whether something that was written has not gone out yet, through TLS as well."""
    while transport is not None:
        if transport.get_write_buffer_size():
            return True
        transport = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return False


def set_read_size(transport: Any, size: int) -> None:
    """How much asyncio asks a socket for at a time."""
    if hasattr(transport, "max_size"):  # asyncio's own; another make of loop has its own ways
        transport.max_size = size


def poller(transport: asyncio.BaseTransport) -> Callable[[int], object]:
    """What tells, asked with 0, whether something has come on a connection that the loop has not read yet."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return bool  # which says no, as nothing is known
    if not hasattr(select, "poll"):  # Windows
        return lambda seconds: select.select([sock], [], [], seconds)[0]
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll.poll


def generators_were_shut_down(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop would complain of a new asynchronous generator."""
    return bool(getattr(loop, "_asyncgens_shutdown_called", False))


def drop(transport: Any) -> None:
    """Close the socket of a connection whose loop cannot do so: it is closed, or it is a parent process's.

    asyncio can close them only through the loop, and warns of each that is left; so its own fields are set as closing
    would have set them. An event loop of another make keeps its fields elsewhere and is left alone.
    """
    with suppress(AttributeError):
        inner: Any = transport
        if hasattr(inner, "_ssl_protocol"):
            inner._closed = True
            inner = inner._ssl_protocol._transport
        held: socket.socket | None = inner._sock
        inner._sock = None
        if held is not None:
            held.close()
