"""The seam: what a client needs of whatever carries its requests, and what that must keep. No I/O.

A transport makes an exchange for each attempt of a call; the exchange sends one request and reads one answer. Both
come in two colours that differ by ``await``. Whoever has another HTTP library, HTTP/2, or a fake without sockets,
writes these two small classes and passes the transport to ``Client(transport=...)`` or ``AsyncClient(transport=...)``.

What every transport promises, and ``aichatfree.testing.conformance`` tests:

- **Limits.** It owns the waiting, so it keeps the limits: ``deadline.remaining()`` before each wait, and
  ``deadline.begin(phase)`` where a phase begins: ``"connect"`` has begun when :meth:`Exchange.send` is called,
  ``"first_byte"`` begins when the request goes out, ``"idle"`` after each read. A limit that has passed is raised as
  ``deadline.error()``; a limit of 0 is never handed to a library, many of which read it as none.
- **Interruption.** :meth:`Exchange.abort`, from another thread or task, unblocks whoever waits in the exchange at
  once, with a :class:`~aichatfree.StreamInterruptedError`.
- **Truth.** The bytes of the body are those of the answer, before any decoding; a body that is not whole (a cut
  connection, invalid chunks, less than the announced length) raises a ``StreamInterruptedError`` after the last byte
  that arrived, and never just ends. Bytes past the announced length are no part of it, nor of the next answer.
- **Early answers.** A server may answer before it has read the whole request; that answer counts.
- **Headers.** Repeated fields arrive all, in order, as pairs or joined with a comma (RFC 9110, 5.3).
- **Isolation.** After a fork, or in another event loop, connections are not those of before.
- **Errors.** Only exceptions of :mod:`aichatfree.errors` leave it, each raised from its cause.
- **Ends.** ``close`` and ``aclose`` are idempotent and bounded in time, whatever the other end does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Protocol

from .deadlines import Deadline
from .wire.requests import Request


class Answer(Protocol):
    """What is known of an answer before its body."""

    request: Request
    """What it answers."""
    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The header fields, looked up in any case."""


class Exchange(Answer, Protocol):
    """One request and its answer: :meth:`send` it, iterate over the body, :meth:`close` it in any case."""

    def send(self) -> None:
        """Send the request, and wait until ``status`` and ``headers`` are there."""

    def __iter__(self) -> Iterator[bytes]:
        """The body as it arrives, not decoded; it ends only where the body is whole."""
        ...

    def abort(self) -> None:
        """Unblock whatever waits in the exchange, from any thread. It does not wait."""

    def close(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""


class Transport(Protocol):
    """Carries the requests of a client. It may be used by many threads at once."""

    def exchange(self, request: Request, deadline: Deadline) -> Exchange:
        """Prepare to send one request; no I/O yet.

        Args:
            request: What to send.
            deadline: How long it may take.
        """
        ...

    def close(self) -> None:
        """Close the connections. A client never calls this on a transport that was passed in."""


class AsyncExchange(Answer, Protocol):
    """The asynchronous twin of :class:`Exchange`."""

    async def send(self) -> None:
        """Send the request, and wait until ``status`` and ``headers`` are there."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body as it arrives, not decoded; it ends only where the body is whole."""
        ...

    def abort(self) -> None:
        """Unblock whatever waits in the exchange, from any task of its loop. It does not wait."""

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, else close it."""


class AsyncTransport(Protocol):
    """The asynchronous twin of :class:`Transport`: for many tasks, and for one event loop after another."""

    def exchange(self, request: Request, deadline: Deadline) -> AsyncExchange:
        """Prepare to send one request; no I/O yet.

        Args:
            request: What to send.
            deadline: How long it may take.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections. A client never calls this on a transport that was passed in."""


for _public in (Exchange, Transport, AsyncExchange, AsyncTransport):
    _public.__module__ = "aichatfree"
