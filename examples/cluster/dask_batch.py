"""Many rows over a Dask cluster: each answered once, at one rate for all workers; started again, it goes on.

    python examples/cluster/dask_batch.py          # two worker processes on this machine, and a server without a model

For a real cluster: `Client("tcp://scheduler:8786")`, a folder that all workers see, `PaceServer(host=...)` with an
address they reach, `pace.py` and `rows.py` on every worker (`cluster.upload_file`), and your server's base_url.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

from distributed import Client, LocalCluster, as_completed
from pace import PaceServer
from rows import Worker, make_worker, read_results

from aichatfree.server import LocalServer


def run(cluster: Client, worker: Worker, rows: Sequence[dict[str, Any]], size: int = 16) -> None:
    """Answer the rows in partitions of `size`; the results are in the worker's folder."""
    done = {result["id"] for result in read_results(worker.folder)}
    missing = [row for row in rows if row["id"] not in done]
    partitions = [missing[at : at + size] for at in range(0, len(missing), size)]
    futures = cluster.map(_answer, partitions, worker=worker, retries=3, pure=False)
    for future in as_completed(futures):
        future.result()


def _answer(rows: list[dict[str, Any]], worker: Worker) -> int:
    return len(worker.answer(rows))  # the texts are in the folder: none of them travels through the scheduler


def main() -> None:
    rows = [{"id": number, "prompt": f"What is {number} squared?"} for number in range(60)]
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalServer(reply="That I do not know.") as server,
        PaceServer(max_rate=6000) as pace,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as cluster,
    ):
        run(cluster, make_worker(server.url, pace.url, folder), rows)
        print(f"{len(list(read_results(folder)))} rows, {pace.pace.slots} requests")


if __name__ == "__main__":
    main()
