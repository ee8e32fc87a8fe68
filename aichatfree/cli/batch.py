"""``aichatfree batch``: many prompts from a file, and a file of results that outlives any interruption."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
from . import INTERRUPTED
from .batch_files import Line, Results, Source, read_id, read_prompt
from .options import Settings, connection_options, examples
from .progress import Progress
from .report import FAILED, Refusal, as_options
from .terminal import complain

if TYPE_CHECKING:
    from .. import Client, MapResult

_OF_THE_SERVER = (
    AuthenticationError,
    ConnectError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
)
"""Failures that are not the prompt's fault: the next one would most likely meet them too."""


@click.command(
    epilog=examples(
        "aichatfree batch prompts.jsonl -o replies.jsonl",
        "aichatfree batch prompts.jsonl -o replies.jsonl --concurrency 2 --max-rate 30",
        """jq -c '{id: .nr, prompt: .title}' books.jsonl | aichatfree batch - -o replies.jsonl""",
    )
)
@click.argument("source", metavar="IN.jsonl")
@click.option("-o", "--output", metavar="OUT.jsonl", required=True, help="Where the results go.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=4, show_default=True, help="Requests at once.")
@click.option("--max-rate", type=float, metavar="N", help="Requests a minute, at most.")
@click.option("--retries", type=click.IntRange(0), default=5, show_default=True, help="Tries after the first one.")
@click.option("--as-completed", is_flag=True, help="Leave the results in the order in which they came.")
@click.option("--retry-failed", is_flag=True, help="Ask the lines again that failed in an earlier run.")
@connection_options
def batch(
    source: str,
    output: str,
    concurrency: int,
    max_rate: float | None,
    retries: int,
    as_completed: bool,
    retry_failed: bool,
    settings: Settings,
) -> int:
    """Ask every prompt of a file, some at once.

    Each line of IN.jsonl is a JSON text, {"prompt": "...", "id": ..., "system": "..."}, {"messages": [...]} or a list
    of messages; - is stdin. Each line of OUT.jsonl has the line's number and id, its text or error, the attempts and
    the seconds it took. A line that cannot be read becomes an error there.

    A result is on the disk as soon as it is known. After an interruption of any kind the same command goes on where
    it was. When all is done, the results are put into the order of the input. Where the server itself is in trouble
    (away, quota used up, wrong password), the batch stops, to be gone on with later. The exit status is 1 if a line
    failed.
    """
    _check_apart(source, output)
    with settings.client(max_retries=retries) as client, closing(Source(source)) as lines:
        with closing(Results(Path(output))) as results:
            if retry_failed:
                results.forget_failed()
            total = _check_same(lines, results)
            try:
                with Progress(total, results) as progress:
                    job = Batch(client, lines, results, system=settings.system, doubts=max(3, concurrency))
                    for _ in job.run(concurrency=concurrency, max_rate=max_rate):
                        progress.update()
            except KeyboardInterrupt:
                complain(f"stopped with {len(results.digests)} of {total} done: the same command goes on")
                return INTERRUPTED
            except _OF_THE_SERVER as error:
                done = f"{len(results.digests)} of {total} done"
                complain(f"stopped with {done}: {as_options(str(error))}; the same command goes on")
                return FAILED
            if not as_completed:
                results.sort()
            failed = len(results.failed)
            complain(f"all {total} lines are done, {failed} of them failed: {output}")
            return FAILED if failed else 0


def _check_apart(source: str, output: str) -> None:
    if source != "-" and Path(output).exists() and Path(source).exists() and Path(source).samefile(output):
        raise Refusal("the input and -o are the same file: give -o another")


def _check_same(lines: Source, results: Results) -> int:
    """Count the lines; refuse results that belong to other ones."""
    total = 0
    unseen = set(results.digests)
    for line in lines:
        total += 1
        unseen.discard(line.number)
        if results.digests.get(line.number, line.digest) != line.digest:
            raise Refusal(
                f"line {line.number} of {lines.name} is not the one that {results.path} answers: give another -o"
            )
    if unseen:
        raise Refusal(f"{results.path} answers line {min(unseen)}, which {lines.name} has not: give another -o")
    return total


class Batch:
    """The work on one file.

    Args:
        client: Whom it asks.
        lines: What to ask.
        results: Where results go; what it has already is not asked again.
        system: The system message's text for lines that bring none, if there is to be one.
        doubts: After as many failures in a row that look like the server's own, it stops.
    """

    def __init__(self, client: Client, lines: Source, results: Results, *, system: str | None, doubts: int) -> None:
        self._client = client
        self._lines = lines
        self._results = results
        self._system = system
        self._doubts = doubts
        self._asked: list[tuple[Line, object] | None] = []
        self._doubtful: list[tuple[int, Line, dict[str, Any]]] = []

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
                line, name = asked
                if isinstance(reply.error, _OF_THE_SERVER):
                    trouble = reply.error
                    self._doubtful.append((reply.index, line, _result(name, reply)))
                    if len(self._doubtful) >= self._doubts:
                        raise trouble
                    continue
                if reply.ok:
                    answered += 1
                    self._settle(reply.index)
                self._results.add(line, _result(name, reply))
                yield
        if trouble is not None and not answered:
            raise trouble
        self._settle(len(self._asked))
        yield

    def _settle(self, answered: int) -> None:
        """The server answered this prompt, so that those before it which it refused failed for what they are."""
        for index, line, result in self._doubtful:
            if index < answered:
                self._results.add(line, result)
        self._doubtful = [doubt for doubt in self._doubtful if doubt[0] >= answered]

    def _prompts(self) -> Iterator[list[Any]]:
        for line in self._lines:
            if line.number in self._results.digests:
                continue
            try:
                name, messages = read_prompt(line, self._system)
            except InvalidRequestError as error:
                self._results.add(line, {"id": read_id(line), **_failure(error), "attempts": 0, "seconds": 0.0})
                continue
            self._asked.append((line, name))
            yield messages


def _result(name: object, reply: MapResult) -> dict[str, Any]:
    content = {"text": reply.text} if reply.error is None else _failure(reply.error)
    return {"id": name, **content, "attempts": reply.attempts, "seconds": round(reply.seconds, 3)}


def _failure(error: AIChatFreeError) -> dict[str, Any]:
    failure: dict[str, Any] = {"error": {"type": type(error).__name__, "message": str(error)}}
    if error.partial:
        failure["partial"] = error.partial
    return failure
