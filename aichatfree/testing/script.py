"""What a test double answers: replies in their order, the protocol's own judgement, and a record of what was asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from urllib.parse import urlsplit

from aichatfree import Request
from aichatfree.server import protocol
from aichatfree.testing.recorded import Headers, RecordedRequest
from aichatfree.testing.reply import Reply

__all__ = ["Answer", "Script"]

Answer = Reply | Callable[[RecordedRequest], Reply]
"""A reply, or a function that chooses one when the request is there."""

DEFAULT_REPLY = Reply(["Hello", " from", " the", " scripted", " server."])


class Script:
    """Replies to serve, whoever serves them: `ScriptedServer` over sockets, `MemoryTransport` without.

    Replies are served in the order in which they were enqueued, one for each request, whatever its path; they
    are not judged (unless by their own `judge=True`). When there are none, the double does what the real server
    does: it checks password and signature, answers `/api/auth`, gives 404 for other paths, and serves `default`.

    Args:
        secret: The `PUBLIC_SECRET_KEY`, as of the real server.
        password: The site password: a str, which may hold several with commas between, an iterable, or None.
        time_limit_seconds: How far a request's time may be off; None: not checked, as in today's source.
        clock_offset_seconds: What the server's clock is ahead of this machine's: in the `Date` header and in
            the time check.
        check: Whether requests are judged when nothing is enqueued; if not, `default` is served to all.
    """

    def __init__(
        self,
        *,
        secret: str = "",
        password: str | Iterable[str] | None = None,
        time_limit_seconds: float | None = None,
        clock_offset_seconds: float = 0.0,
        check: bool = True,
    ) -> None:
        self._default: Answer = DEFAULT_REPLY
        self.clock_offset_seconds = clock_offset_seconds
        self._secret = secret
        self._passwords = protocol.passwords_of(password)
        self._time_limit_seconds = time_limit_seconds
        self._check = check
        self._changed = threading.Condition()
        self._queue: deque[Answer] = deque()
        self._requests: list[RecordedRequest] = []

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, in the order in which they came."""
        with self._changed:
            return list(self._requests)

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
            self.default = DEFAULT_REPLY

    def now(self) -> float:
        """The time as the double knows it: seconds since the epoch."""
        return time.time() + self.clock_offset_seconds

    def record(self, request: Request) -> RecordedRequest:
        """Note a request that has come without a connection."""
        path = urlsplit(request.url)._replace(scheme="", netloc="").geturl()
        recorded = RecordedRequest(
            request.method, path, Headers(request.headers.items()), request.body, secret=self._secret
        )
        with self._changed:
            self._requests.append(recorded)
            self._changed.notify_all()
        return recorded

    def reply(self, request: RecordedRequest, now: float) -> Reply:
        """What to answer to a request that came at `now`."""
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
