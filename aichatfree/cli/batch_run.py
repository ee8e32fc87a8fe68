"""The work of a batch: lines are asked, some at once, and what comes of them goes to the output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ..errors import (
    AIChatFreeError,
    AuthenticationError,
    ConnectError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
)
from .batch_line import Ask, BadLineError, Line
from .batch_lines import Source, read_line
from .batch_openai import answer
from .batch_output import Output

if TYPE_CHECKING:
    from .. import Client
    from .._core.pacing import MapResult

TROUBLE = (
    AuthenticationError,
    ConnectError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
)
"""Failures that are not the prompt's fault: the next one would most likely meet them too."""


class Batch:
    """The work on one file.

    Args:
        client: Whom it asks.
        lines: What to ask.
        results: Where results go; what it has already is not asked again.
        system: The system message's text for lines that bring none, if there is to be one.
        doubts: After as many failures in a row that look like the server's own, it stops.
    """

    def __init__(self, client: Client, lines: Source, results: Output, *, system: str | None, doubts: int) -> None:
        self._client = client
        self._lines = lines
        self._results = results
        self._system = system
        self._doubts = doubts
        self._asked: list[tuple[Line, Ask] | None] = []
        self._doubtful: list[tuple[int, Line, Ask, MapResult]] = []

    def run(self, *, concurrency: int, max_rate: float | None) -> Iterator[None]:
        """Ask; yields whenever there may be something new in the results.

        Raises:
            AIChatFreeError: The server is in trouble. Lines that met it are not finished.
        """
        answered = 0
        trouble: AIChatFreeError | None = None
        with closing(
            self._client.map(self._prompts(), concurrency=concurrency, ordered=False, max_rate=max_rate)
        ) as replies:
            for reply in replies:
                asked, self._asked[reply.index] = self._asked[reply.index], None
                assert asked is not None
                line, ask = asked
                if isinstance(reply.error, TROUBLE):
                    trouble = reply.error
                    self._doubtful.append((reply.index, line, ask, reply))
                    if len(self._doubtful) >= self._doubts:
                        raise trouble
                    continue
                if reply.ok:
                    answered += 1
                    self._settle(reply.index)
                self._add(line, ask, reply)
                yield
        if trouble is not None and not answered:
            raise trouble
        self._settle(len(self._asked))
        yield

    def _settle(self, answered: int) -> None:
        """The server answered this prompt, so that those before it which it refused failed for what they are."""
        for index, line, ask, reply in self._doubtful:
            if index < answered:
                self._add(line, ask, reply)
        self._doubtful = [doubt for doubt in self._doubtful if doubt[0] >= answered]

    def _prompts(self) -> Iterator[list[Any]]:
        for line in self._lines:
            if line.number in self._results.digests:
                continue
            try:
                ask = read_line(line, self._system)
            except BadLineError as error:
                self._write(line, error.ask, None, error, 0, 0.0)
                continue
            self._asked.append((line, ask))
            yield ask.messages

    def _add(self, line: Line, ask: Ask, reply: MapResult) -> None:
        self._write(line, ask, reply.text, reply.error, reply.attempts, reply.seconds)

    def _write(
        self, line: Line, ask: Ask, text: str | None, error: AIChatFreeError | None, attempts: int, seconds: float
    ) -> None:
        digest = line.digest(ask.system)
        if ask.body is not None:
            result = answer(ask, line.number, digest, text, error)
        else:
            content = {"text": text} if error is None else _failure(error)
            spent = {"attempts": attempts, "seconds": round(seconds, 3)}
            result = {"line": line.number, "id": ask.name, **content, **spent, "input": digest}
        self._results.add(line.number, digest, result, failed=error is not None)


def _failure(error: AIChatFreeError) -> dict[str, Any]:
    kind = InvalidRequestError if isinstance(error, BadLineError) else type(error)
    failure: dict[str, Any] = {"error": {"type": kind.__name__, "message": str(error)}}
    if error.partial:
        failure["partial"] = error.partial
    return failure
