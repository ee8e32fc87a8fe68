"""Run a recipe: `python drive.py ENGINE BASE_URL PACE_URL FOLDER ROWS`. A process of its own, as engines are."""

from __future__ import annotations

import sys

from rows import make_worker


def main(engine: str, base_url: str, pace_url: str, folder: str, count: int) -> None:
    worker = make_worker(base_url, pace_url, folder)
    rows = [{"id": number, "prompt": f"row {number}"} for number in range(count)]
    if engine == "dask":
        from dask_batch import run as run_dask
        from distributed import Client, LocalCluster

        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**options) as local, Client(local) as cluster:
            run_dask(cluster, worker, rows, size=10)
    elif engine == "ray":
        import ray
        from ray_batch import run as run_ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
        answered = {row["id"]: row["text"] for row in run_ray(worker, rows, size=10).iter_rows()}
        assert answered == {row["id"]: f"to {row['prompt']}" for row in rows}
        ray.shutdown()
    else:
        import daft
        from daft_batch import run as run_daft

        frame = daft.from_pydict({name: [row[name] for row in rows] for name in ("id", "prompt")})
        assert run_daft(worker, frame).to_pydict()["text"] == [f"to {row['prompt']}" for row in rows]


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
