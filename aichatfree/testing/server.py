"""`ScriptedServer`: a server of the protocol on this machine that misbehaves on demand."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator

from aichatfree.testing.connection import Connection, Request
from aichatfree.testing.loopback import LoopbackServer
from aichatfree.testing.recorded import RecordedRequest
from aichatfree.testing.script import Answer, Script
from aichatfree.testing.wire import Step, steps

__all__ = ["Answer", "ScriptedServer"]


class ScriptedServer(Script, LoopbackServer):
    """A loopback server that answers as it is told, records what it is asked, and counts its connections.

    ```python
    with ScriptedServer() as server:
        server.enqueue(Reply.overloaded(), Reply(["Hel", "lo"]))
        assert Client(base_url=server.url).generate("Hi") == "Hello"
        assert [request.prompt for request in server.requests] == ["Hi", "Hi"]
    ```

    Replies are served in the order in which they were enqueued, one for each request, whatever its path; they
    are not judged (unless by their own `judge=True`). When there are none, the server does what the real one
    does: it checks password and signature, answers `/api/auth`, gives 404 for other paths, and serves `default`.

    It runs in one thread from `start` (or `with`) to `close`. All its methods may be called from any thread.

    Args:
        secret: The `PUBLIC_SECRET_KEY`, as of the real server.
        password: The site password: a str, which may hold several with commas between, an iterable, or None.
        time_limit_seconds: How far a request's time may be off; None: not checked, as in today's source.
        clock_offset_seconds: What the server's clock is ahead of this machine's: in the `Date` header and in
            the time check.
        idle_seconds: How long a connection may wait for its next request; the real server's 5.
        tls: Speak TLS with this context; the certificate should name 127.0.0.1.
        check: Whether requests are judged when nothing is enqueued; if not, `default` is served to all.
    """

    def __init__(
        self,
        *,
        secret: str = "",
        password: str | Iterable[str] | None = None,
        time_limit_seconds: float | None = None,
        clock_offset_seconds: float = 0.0,
        idle_seconds: float = 5.0,
        tls: ssl.SSLContext | None = None,
        check: bool = True,
    ) -> None:
        LoopbackServer.__init__(self, tls)
        Script.__init__(
            self,
            secret=secret,
            password=password,
            time_limit_seconds=time_limit_seconds,
            clock_offset_seconds=clock_offset_seconds,
            check=check,
        )
        self._idle_seconds = idle_seconds
        self._open: set[Connection] = set()
        self._answering: set[Connection] = set()
        self._accepted = 0

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        with self._changed:
            return len(self._open)

    @property
    def accepted(self) -> int:
        """How many connections there have been."""
        with self._changed:
            return self._accepted

    def reset(self) -> None:
        """Forget replies, requests and the count of connections; `default` is as at the start."""
        with self._changed:
            super().reset()
            self._accepted = 0

    def wait_requests(self, count: int, timeout: float = 5.0) -> list[RecordedRequest]:
        """Wait until `count` requests have come, at most `timeout` seconds, and return them all.

        Raises:
            AssertionError: They did not come in time.
        """
        self._wait(lambda: len(self._requests) >= count, f"{count} requests", timeout)
        return self.requests

    def wait_idle(self, timeout: float = 5.0) -> None:
        """Wait until no request is being answered, at most `timeout` seconds.

        Raises:
            AssertionError: An answer is still under way.
        """
        self._wait(lambda: not self._answering, "no answer under way", timeout)

    def wait_connections(self, count: int = 0, timeout: float = 5.0) -> None:
        """Wait until exactly `count` connections are open, at most `timeout` seconds.

        Raises:
            AssertionError: There are more, or fewer.
        """
        self._wait(lambda: len(self._open) == count, f"{count} open connections", timeout)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {len(self._requests)} requests, {len(self._open)} connections>"

    def _wait(self, done: Callable[[], bool], what: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(done, timeout):
                raise AssertionError(
                    f"waited {timeout:g} s for {what}: there are {len(self._open)} open connections, "
                    f"{len(self._answering)} answers under way, and {len(self._requests)} requests: "
                    f"{self._requests}"
                )

    # What follows runs in the server's thread.

    def _new_connection(self) -> Connection:
        return Connection(self._answer, self._idle_seconds, self._opened, self._idle, self._closed)

    async def _cut_connections(self) -> None:
        connections = list(self._open)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.gone.wait()

    def _opened(self, connection: Connection) -> None:
        with self._changed:
            self._accepted += 1
            connection.number = self._accepted
            self._open.add(connection)
            self._changed.notify_all()

    def _idle(self, connection: Connection) -> None:
        with self._changed:
            self._answering.discard(connection)
            self._changed.notify_all()

    def _closed(self, connection: Connection) -> None:
        with self._changed:
            self._open.discard(connection)
            self._answering.discard(connection)
            self._changed.notify_all()

    def _answer(self, connection: Connection, request: Request) -> Iterator[Step]:
        recorded = RecordedRequest(
            request.method, request.target, request.headers, request.body, connection.number, self._secret
        )
        with self._changed:
            self._requests.append(recorded)
            self._answering.add(connection)
            self._changed.notify_all()
        now = self.now()
        reply = self.reply(recorded, now)
        return steps(reply, now=now, keep_alive=request.keep_alive, bodiless=request.method == "HEAD")
