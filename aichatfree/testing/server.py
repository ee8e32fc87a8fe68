"""`ScriptedServer`: a server of the protocol on this machine that misbehaves on demand."""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from inspect import iscoroutinefunction

from aichatfree.server import protocol
from aichatfree.testing.connection import Connection, Request
from aichatfree.testing.loopback import LoopbackServer
from aichatfree.testing.recorded import RecordedRequest
from aichatfree.testing.reply import Reply
from aichatfree.testing.wire import Step, steps

__all__ = ["Answer", "ScriptedServer"]

Answer = Reply | Callable[[RecordedRequest], Reply]
"""A reply, or a function that chooses one when the request is there."""

DEFAULT_REPLY = Reply(["Hello", " from", " the", " scripted", " server."])


class ScriptedServer(LoopbackServer):
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
        super().__init__(tls)
        self._default: Answer = DEFAULT_REPLY
        self.clock_offset_seconds = clock_offset_seconds
        self._secret = secret
        self._passwords = protocol.passwords_of(password)
        self._time_limit_seconds = time_limit_seconds
        self._idle_seconds = idle_seconds
        self._check = check
        self._changed = threading.Condition()
        self._queue: deque[Answer] = deque()
        self._requests: list[RecordedRequest] = []
        self._open: set[Connection] = set()
        self._answering: set[Connection] = set()
        self._accepted = 0

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, in the order in which they came."""
        with self._changed:
            return list(self._requests)

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

    @property
    def pending(self) -> int:
        """How many of the enqueued replies have not been served."""
        with self._changed:
            return len(self._queue)

    @property
    def default(self) -> Answer:
        """What is served while nothing is enqueued.

        Raises:
            TypeError: It is set to neither a Reply nor a function.
        """
        return self._default

    @default.setter
    def default(self, answer: Answer) -> None:
        self._default = _checked(answer)

    def enqueue(self, *replies: Answer) -> None:
        """Serve these to the next requests, one each, in this order.

        Raises:
            TypeError: One is neither a Reply nor a function.
        """
        checked = [_checked(reply) for reply in replies]
        with self._changed:
            self._queue.extend(checked)

    def reset(self) -> None:
        """Forget replies, requests and the count of connections; `default` is as at the start."""
        with self._changed:
            self._queue.clear()
            self._requests.clear()
            self._accepted = 0
            self.default = DEFAULT_REPLY

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
        now = time.time() + self.clock_offset_seconds
        reply = self._reply(recorded, now)
        return steps(reply, now=now, keep_alive=request.keep_alive, bodiless=request.method == "HEAD")

    def _reply(self, request: RecordedRequest, now: float) -> Reply:
        with self._changed:
            answer = self._queue.popleft() if self._queue else None
        if answer is None:
            refusal = self._verdict(request, now) if self._check else None
            return refusal or self._chosen(self.default, request)
        reply = self._chosen(answer, request)
        refusal = self._verdict(request, now) if reply.judge else None
        if refusal is not None:
            with self._changed:
                self._queue.appendleft(answer)
        return refusal or reply

    @staticmethod
    def _chosen(answer: Answer, request: RecordedRequest) -> Reply:
        if isinstance(answer, Reply):
            return answer
        try:
            reply = answer(request)
            if not isinstance(reply, Reply):
                raise TypeError(f"it returned {reply!r}, which is no Reply")
            return reply
        except Exception as exc:
            return Reply.error(500, f"The function that should choose a reply failed: {exc!r}")

    def _verdict(self, request: RecordedRequest, now: float) -> Reply | None:
        """What the real server would answer; None if it would pass the request on to the model."""
        path = request.path.partition("?")[0]
        verdict = protocol.NOT_FOUND
        if request.method == "POST" and path.endswith(protocol.GENERATE_PATH):
            verdict = protocol.judge(
                request.body,
                secret=self._secret,
                passwords=self._passwords,
                time_limit_seconds=self._time_limit_seconds,
                now_ms=now * 1000,
            )
        elif request.method == "POST" and path.endswith(protocol.AUTH_PATH):
            verdict = protocol.judge_auth(request.body, self._passwords)
        if verdict.messages is not None:
            return None
        headers = {"content-type": verdict.content_type}
        return Reply(verdict.body, status=verdict.status, reason=verdict.reason, headers=headers)


def _checked(answer: Answer) -> Answer:
    if isinstance(answer, Reply) or (callable(answer) and not isinstance(answer, type)):
        if iscoroutinefunction(answer):
            raise TypeError(f"{answer!r} is asynchronous: give a plain function, which runs in the server's thread")
        return answer
    hint = f": write Reply({answer!r})" if isinstance(answer, (str, bytes)) else ""
    raise TypeError(f"an answer is a Reply or a function that returns one, not {answer!r}{hint}")
