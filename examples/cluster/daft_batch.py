"""Many rows of a Daft dataframe, in processes of their own: each answered once, at one rate for all of them.

    python examples/cluster/daft_batch.py          # two worker processes on this machine, and a server without a model

For a real cluster: `daft.set_runner_ray("ray://head:10001")` (see ray_batch.py for what its workers need), a folder
that all nodes see, `PaceServer(host=...)` with an address they reach, and your server's base_url.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import daft
from pace import PaceServer
from rows import Worker, make_worker, read_results

from aichatfree.server import LocalServer


@daft.cls(max_concurrency=2, use_process=True)
class Answer:
    """A column of replies: one instance a process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    @daft.method.batch(return_dtype=daft.DataType.string(), batch_size=16)
    def text(self, ids: daft.Series, prompts: daft.Series) -> list[str | None]:
        rows = [
            {"id": number, "prompt": prompt}
            for number, prompt in zip(ids.to_pylist(), prompts.to_pylist(), strict=True)
        ]
        return [result["text"] for result in self.worker.answer(rows)]


def run(worker: Worker, frame: daft.DataFrame) -> daft.DataFrame:
    """The frame, which has the columns id and prompt, with a column text; why one is null stands in the folder."""
    answer: Any = Answer(worker)
    return frame.with_column("text", answer.text(frame["id"], frame["prompt"]))


def main() -> None:
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the processes find pace.py and rows.py
    frame = daft.from_pydict({"id": list(range(60)), "prompt": [f"What is {n} squared?" for n in range(60)]})
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalServer(reply="That I do not know.") as server,
        PaceServer(max_rate=6000) as pace,
    ):
        answered = run(make_worker(server.url, pace.url, folder), frame).to_pydict()["text"]
        print(f"{len(answered)} rows, {len(list(read_results(folder)))} kept, {pace.pace.slots} requests")


if __name__ == "__main__":
    main()
