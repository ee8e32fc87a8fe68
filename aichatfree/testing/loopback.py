"""What the servers of this kit have in common: a port of 127.0.0.1, a thread, and a quick and complete end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from types import TracebackType
from typing import TypeVar

from aichatfree.server.loop_thread import LoopThread

__all__ = ["LoopbackServer"]

Self = TypeVar("Self", bound="LoopbackServer")


class LoopbackServer:
    """Listens on a free port of 127.0.0.1, in one thread, from `start` (or `with`) to `close`.

    Args:
        tls: Speak TLS with this context.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._tls = tls
        self._thread: LoopThread | None = None
        self._listener: socket.socket | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The server's URL, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self: Self) -> Self:
        """Start serving; `with` does it by itself. Raises RuntimeError if it runs already."""
        if self._thread is not None:
            raise RuntimeError(f"this {type(self).__name__} runs already")
        self._thread = LoopThread(f"aichatfree-{type(self).__name__}")
        self._thread.start()
        try:
            self._thread.call(self._listen())
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop at once, whatever is under way: connections are cut. A second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.call(self._stop())
            thread.close()

    def __enter__(self: Self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'at ' + self.url if self._thread else 'not running'}>"

    def _new_connection(self) -> asyncio.Protocol:
        """What serves a connection that has been accepted."""
        raise NotImplementedError

    async def _cut_connections(self) -> None:
        """End all connections, and what serves them."""
        raise NotImplementedError

    async def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        # Not asyncio's own server: it knows nothing of connections whose TLS handshake is not finished, and so
        # could not close them.
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                # Every write leaves at once, as a segment of its own.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = asyncio.get_running_loop().create_task(self._connect(sock))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    async def _connect(self, sock: socket.socket) -> None:
        # asyncio raises AttributeError where a client goes away at the very end of a TLS handshake.
        with contextlib.suppress(OSError, AttributeError):
            await asyncio.get_running_loop().connect_accepted_socket(self._new_connection, sock, ssl=self._tls)

    async def _stop(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        # A task that is cancelled before its first step never touches its socket, and would not close it either.
        await asyncio.sleep(0)
        tasks = list(self._connecting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._cut_connections()
        # Handshakes that were cancelled close their sockets in the next round of the loop.
        await asyncio.sleep(0)
