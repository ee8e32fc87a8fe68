"""One call from its arguments to its end: everything that both clients decide alike. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from functools import partial
from typing import NamedTuple

from ..errors import AIChatFreeError, APIError, EmptyReplyError
from .deadlines import Deadline
from .failures import connect_failure, failure
from .log import logger as _log
from .retry import Attempt, attempts
from .settings import Settings
from .timeouts import Timeout
from .transport import Answer
from .wire.headers import Headers
from .wire.inflate import Inflater, is_supported
from .wire.interruption import interrupted
from .wire.redaction import Redactor
from .wire.replies import AnswerReader, AuthReader, FailureReader, ReplyReader
from .wire.requests import Request
from .wire.signing import Signer

_MANY = 1024
"""Pieces that are joined to one block of text."""
_SMALL = 1024
"""Characters of a piece, up to which that saves memory worth mentioning."""


def _is_known(framing: str) -> bool:
    *before, last = [coding.strip(" \t").lower() for coding in framing.split(",")]
    return last in ("chunked", "identity") and not set(before) - {"identity"}


class Clocks(NamedTuple):
    """The core's only view of time and chance.

    Args:
        monotonic: Seconds that never go back, for limits.
        wall: Seconds since the epoch, for signatures.
        random: A number in [0, 1), for the waits between attempts.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    random: Callable[[], float]


class Stats(NamedTuple):
    """What one call took so far.

    Args:
        attempts: Requests sent, 1 if nothing was tried again, 0 if none went out yet.
        first_text_seconds: From the start of the call to the first text; None if there was none.
        total_seconds: From the start of the call to its end, or until now.
        bytes_received: Decoded bytes of the reply.
        pieces: Texts emitted to the caller.
    """

    attempts: int
    first_text_seconds: float | None
    total_seconds: float
    bytes_received: int
    pieces: int


Stats.__module__ = "aichatfree"


class Call:
    """The state of one call, and its decisions. A driver sends what :meth:`start` yields and feeds what comes back.

    Args:
        settings: The client's settings.
        signer: Shared by the calls of a client, so that what it learns of the server's clock serves them all.
        clocks: Time and chance.
        make_request: Builds and signs the request, for a URL or (None) for the client's own.
        timeout: The limits of this call, if they are not the client's.
        model: The label to record, if it is not the client's.
        restartable: Nobody sees the text before the call ends, so that a reply that broke off may start over.
        auth: The call asks ``/api/auth``.
    """

    def __init__(
        self,
        settings: Settings,
        signer: Signer,
        clocks: Clocks,
        make_request: Callable[[str | None], Request],
        *,
        timeout: Timeout | None = None,
        model: str | None = None,
        restartable: bool = False,
        auth: bool = False,
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._clocks = clocks
        self._make_request = make_request
        self._restartable = restartable
        self._auth = auth
        self.deadline = Deadline(timeout or settings.timeout, clocks.monotonic)
        self.model = settings.model if model is None else model
        self.status_code: int | None = None
        self._answer: Answer | None = None
        self.accepted = False
        self.complete = False
        """Whether the whole reply was emitted to the caller."""
        self._reader: AnswerReader | None = None
        self._text: tuple[list[str], list[str]] = ([], [])
        self._count = 0
        self.attempts = 0
        """Requests sent."""
        self._secrets: tuple[str, ...] = ()
        self._first_text: float | None = None
        self._total: float | None = None

    def start(self) -> Generator[Attempt, AIChatFreeError, None]:
        """Begin the call: its limits count from here. Yields its attempts, see :func:`~.retry.attempts`."""
        self.deadline.start()
        return attempts(
            self._make_request,
            policy=self._settings.retry,
            deadline=self.deadline,
            signer=self._signer,
            random=self._clocks.random,
            restartable=self._restartable,
        )

    def sending(self, attempt: Attempt) -> Request:
        """The request of ``attempt``, signed now."""
        self.attempts = attempt.number
        self._reader = None
        request = attempt.request
        if self._secrets:
            # What was sent in an earlier attempt, and differs only by its signature, may come back now.
            request = request._replace(secrets=tuple(dict.fromkeys((*self._secrets, *request.secrets))))
        self._secrets = request.secrets
        self.deadline.begin("connect")
        _log.debug("attempt %d: %r", attempt.number, request)
        return request

    def answered(self, answer: Answer) -> AnswerReader:
        """The reader for the body of an answer.

        Raises:
            EmptyReplyError: The status says that there is no body.
        """
        self.status_code = answer.status
        self._answer = answer
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("answer: HTTP %d after %.3f s", answer.status, self.deadline.elapsed())
        if answer.status == 407:
            request = answer.request
            words = "HTTP 407, proxy authentication required"
            raise connect_failure("proxy", request.url, words, secrets=request.secrets)
        framing = answer.headers.get("transfer-encoding", "chunked")
        if framing != "chunked" and not _is_known(framing):
            # The HTTP libraries would take the framing for text.
            raise interrupted(f"transfer-encoding {framing!r} is not known here", answer.request.secrets)
        if answer.status in (204, 205):
            raise EmptyReplyError(f"the server answered with HTTP {answer.status}, which has no text: ask again")
        self._reader = self._make_reader(answer)
        return self._reader

    def _make_reader(self, answer: Answer) -> AnswerReader:
        make_error = partial(self._failure, answer)
        inflater = None
        named = answer.headers.get("content-encoding", "").strip()
        encoding = named.lower()
        if encoding not in ("", "identity"):
            if not is_supported(encoding):
                raise make_error(f"content-encoding {named}, which was not asked for".encode())
            inflater = Inflater(encoding)
        if answer.status != 200:
            return FailureReader(make_error, inflater)
        if self._auth:
            return AuthReader(make_error, inflater)
        is_html = answer.headers.get("content-type", "").lower().startswith("text/html")
        web_page = make_error if is_html else None
        return ReplyReader(self._settings.max_reply_bytes, self._settings.in_band_errors, web_page, inflater)

    def _failure(self, answer: Answer, body: bytes) -> APIError:
        request = answer.request
        now = self._clocks.wall()
        return failure(
            answer.status, Headers(answer.headers.items()), body, url=request.url, now=now, secrets=request.secrets
        )

    def emit(self, text: str) -> str:
        """Record that ``text`` is emitted to the caller."""
        if not self._count:
            self._first_text = self.deadline.elapsed()
        self._count += 1
        blocks, pieces = self._text
        pieces.append(text)
        if len(pieces) == _MANY:
            # A small str costs some fifty bytes more than its text. To join large ones would hold them twice meanwhile.
            block = ["".join(pieces)] if sum(map(len, pieces)) < _MANY * _SMALL else pieces
            self._text = ([*blocks, *block], [])
        return text

    def failed(self, error: AIChatFreeError) -> AIChatFreeError:
        """Complete the error of an attempt with the text that had been emitted before it."""
        error.partial = self.text
        _log.debug("attempt %d failed: %s: %s", self.attempts, type(error).__name__, error)
        return error

    def restart(self) -> None:
        """Forget the text of an attempt that is started over."""
        self._text, self._count = ([], []), 0
        self._first_text = None

    def finish(self) -> None:
        """The answer is whole."""
        self.complete = True
        self.accepted = isinstance(self._reader, AuthReader) and self._reader.accepted

    def end(self) -> None:
        """The call is over, in whatever way: its time stands."""
        if self._total is None:
            self._total = self.deadline.elapsed()
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("%s: %s", "whole reply" if self.complete else "no whole reply", self.stats)

    @property
    def headers(self) -> Headers:
        """The headers of the last answer, without our secrets."""
        if self._answer is None:
            return Headers()
        return Redactor(self._answer.request.secrets).headers(self._answer.headers.items())

    @property
    def text(self) -> str:
        """All text emitted to the caller so far. Another thread may ask while the call goes on."""
        blocks, pieces = self._text
        return "".join([*blocks, *pieces])

    @property
    def stats(self) -> Stats:
        """What the call took so far."""
        return Stats(
            attempts=self.attempts,
            first_text_seconds=self._first_text,
            total_seconds=self.deadline.elapsed() if self._total is None else self._total,
            bytes_received=self._reader.bytes_received if isinstance(self._reader, ReplyReader) else 0,
            pieces=self._count,
        )
