"""What a worker does with its rows, whatever engine brings them: each is answered once, and what is answered stays so.

Results are JSON Lines in a folder that all workers see, one file a process: a row is written, to the disk, as soon as
it has its answer. A worker that dies loses the rows on their way and no other; a run that is started again, or a
partition that an engine brings a second time, skips what is there.
"""

import json
import os
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pace import pause_all, wait_for_slot

from aichatfree import Client
from aichatfree.errors import InvalidRequestError, OverloadedError, RateLimitError, ServerError, TransportError

ATTEMPTS = 5
_write = Lock()


@dataclass(frozen=True)
class Worker:
    """What every worker is given. It can be pickled, as its client can: the password travels, connections do not.

    Args:
        client: Tries nothing again by itself: each attempt takes a moment of the shared pace.
        pace: The address of the `PaceServer`.
        folder: Where results are kept.
        threads: Rows on their way at once in one process.
    """

    client: Client
    pace: str
    folder: str
    threads: int = 8

    def answer(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer rows of the form `{"id": ..., "prompt": ...}`; return the results of all of them."""
        rows = list(rows)
        found = {result["id"]: result for result in read_results(self.folder)}
        missing = [row for row in rows if row["id"] not in found]
        with ThreadPoolExecutor(self.threads) as pool:
            found |= {result["id"]: result for result in pool.map(self._answer, missing)}
        return [found[row["id"]] for row in rows]

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            result = {"id": row["id"], "text": self._ask(row["prompt"]), "error": None}
        except InvalidRequestError as error:  # it will be the same tomorrow
            result = {"id": row["id"], "text": None, "error": str(error)}
        self._keep(result)
        return result

    def _ask(self, prompt: str) -> str:
        for attempt in range(ATTEMPTS):
            wait_for_slot(self.pace)
            try:
                return self.client.generate(prompt)
            except RateLimitError as error:
                if attempt == ATTEMPTS - 1:
                    raise
                pause_all(self.pace, error.retry_after or 10.0)
            except (TransportError, OverloadedError, ServerError):
                if attempt == ATTEMPTS - 1:
                    raise
                pause_all(self.pace, 1.0)
        raise AssertionError("the last attempt returns or raises")

    def _keep(self, result: dict[str, Any]) -> None:
        path = Path(self.folder) / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        line = b"\n" + json.dumps(result, ensure_ascii=False).encode() + b"\n"  # the one before may be unfinished
        with _write, path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def read_results(folder: str) -> Iterator[dict[str, Any]]:
    """The results so far. A line that a dying worker left unfinished is passed over, and its row is asked again."""
    for path in sorted(Path(folder).glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                if line:
                    yield json.loads(line)
            except ValueError:
                continue


def make_worker(base_url: str, pace: str, folder: str, password: str | None = None) -> Worker:
    """A worker for a server; the folder is made."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Worker(Client(base_url, password=password, max_retries=0), pace, folder)
