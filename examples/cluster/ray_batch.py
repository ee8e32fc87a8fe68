"""Many rows over a Ray cluster, as a step of a Ray Data pipeline: each answered once, at one rate for all workers.

    python examples/cluster/ray_batch.py           # two worker processes on this machine, and a server without a model

For a real cluster: `ray.init("auto", runtime_env={"working_dir": "examples/cluster"})`, a folder that all nodes see,
`PaceServer(host=...)` with an address they reach, your server's base_url, and `workers=` as many as it can serve.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from pace import PaceServer
from rows import Worker, make_worker, read_results

from aichatfree.server import LocalServer


class Answer:
    """The step: one instance a worker process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {"id": int(number), "prompt": str(prompt)}
            for number, prompt in zip(batch["id"], batch["prompt"], strict=True)
        ]
        results = self.worker.answer(rows)
        return {name: [result[name] or "" for result in results] for name in ("text", "error")} | {"id": batch["id"]}


def run(worker: Worker, rows: Sequence[dict[str, Any]], workers: int = 2, size: int = 16) -> Any:
    """A dataset with the columns id, text and error. A worker that dies is replaced, and its batch brought again."""
    return ray.data.from_items(list(rows), override_num_blocks=workers * 4).map_batches(
        Answer,
        fn_constructor_args=(worker,),
        batch_size=size,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )


def main() -> None:
    rows = [{"id": number, "prompt": f"What is {number} squared?"} for number in range(60)]
    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}  # where pace.py and rows.py are
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalServer(reply="That I do not know.") as server,
        PaceServer(max_rate=6000) as pace,
    ):
        answered = list(run(make_worker(server.url, pace.url, folder), rows).iter_rows())
        print(f"{len(answered)} rows, {len(list(read_results(folder)))} kept, {pace.pace.slots} requests")
    ray.shutdown()


if __name__ == "__main__":
    main()
