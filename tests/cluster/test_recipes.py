"""The recipes for clusters: what a worker does, alone; then each engine with two workers, one of which is killed."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from aichatfree.errors import InvalidPasswordError
from aichatfree.server import LocalServer
from aichatfree.testing import Drop, Reply, ScriptedServer

RECIPES = Path(__file__).parents[2] / "examples" / "cluster"


@pytest.fixture(autouse=True)
def _recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPES))


@pytest.fixture
def pace() -> Iterator[Any]:
    from pace import PaceServer

    with PaceServer(max_rate=1_000_000) as running:
        yield running


def kept(folder: Path) -> dict[int, str]:
    from rows import read_results

    results = list(read_results(str(folder)))
    assert len({result["id"] for result in results}) == len(results), "a row was kept twice"
    return {result["id"]: result["text"] for result in results}


class TestPace:
    def test_moments_are_spaced_evenly_and_a_pause_holds_for_all(self) -> None:
        from pace import Pace

        now = 100.0
        shared = Pace(60, now=lambda: now)
        assert [shared.slot() for _ in range(3)] == [0, 1, 2]
        now = 110.0
        assert shared.slot() == 0  # what was not used is not made up for
        shared.pause(30)
        shared.pause(5)
        assert [shared.slot(), shared.slot()] == [30, 31]

    def test_over_http(self, pace: Any) -> None:
        from pace import pause_all, wait_for_slot

        wait_for_slot(pace.url)
        wait_for_slot(pace.url)
        assert pace.pace.slots == 2
        pause_all(pace.url, 1000)
        assert 999 < pace.pace.slot() <= 1000


class TestRows:
    ROWS = [{"id": number, "prompt": f"row {number}"} for number in range(3)]

    def test_each_is_kept_at_once_and_asked_once(self, tmp_path: Path, pace: Any) -> None:
        from rows import make_worker

        asked: Counter[str] = Counter()

        def reply(messages: Any) -> str:
            asked[messages[-1]["parts"][0]["text"]] += 1
            return "to " + messages[-1]["parts"][0]["text"]

        with LocalServer(reply=reply) as server:
            worker = pickle.loads(pickle.dumps(make_worker(server.url, pace.url, str(tmp_path))))
            first = worker.answer(self.ROWS)
            assert worker.answer(self.ROWS) == first
        assert [result["text"] for result in first] == ["to row 0", "to row 1", "to row 2"]
        assert set(asked.values()) == {1}
        assert pace.pace.slots == 3
        assert kept(tmp_path) == {0: "to row 0", 1: "to row 1", 2: "to row 2"}

    def test_an_unfinished_line_is_asked_again_and_harms_no_other(self, tmp_path: Path, pace: Any) -> None:
        import socket

        from rows import make_worker

        line = json.dumps({"id": 0, "text": "kept", "error": None})
        mine = tmp_path / f"{socket.gethostname()}-{os.getpid()}.jsonl"
        mine.write_text(f'{line}\n{{"id": 1, "te')
        with LocalServer(reply="new") as server:
            worker = make_worker(server.url, pace.url, str(tmp_path))
            assert [result["text"] for result in worker.answer(self.ROWS)] == ["kept", "new", "new"]
        assert kept(tmp_path) == {0: "kept", 1: "new", 2: "new"}

    def test_a_failure_that_can_pass_takes_another_moment(
        self, tmp_path: Path, pace: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import rows

        pauses: list[float] = []
        monkeypatch.setattr(rows, "pause_all", lambda _, seconds: pauses.append(seconds))
        with ScriptedServer() as server:
            server.enqueue(Reply.quota(retry_in=58.8), Reply("half", fault=Drop("in-body")), Reply("whole"))
            worker = rows.make_worker(server.url, pace.url, str(tmp_path))
            (result,) = worker.answer(self.ROWS[:1])
        assert result["text"] == "whole"
        assert pauses == [58.8, 1.0]
        assert pace.pace.slots == 3

    def test_a_row_that_can_never_be_answered_is_kept_with_its_error(self, tmp_path: Path, pace: Any) -> None:
        from rows import make_worker

        with ScriptedServer() as server:
            server.enqueue(Reply.error(400, "Invalid message history"))
            worker = make_worker(server.url, pace.url, str(tmp_path))
            (result,) = worker.answer(self.ROWS[:1])
            assert worker.answer(self.ROWS[:1]) == [result]
            assert len(server.requests) == 1
        assert result["text"] is None
        assert "Invalid message history" in result["error"]

    def test_what_is_wrong_for_all_rows_ends_the_run_and_keeps_none(self, tmp_path: Path, pace: Any) -> None:
        from rows import make_worker

        with LocalServer(password="open sesame") as server, pytest.raises(InvalidPasswordError):
            make_worker(server.url, pace.url, str(tmp_path)).answer(self.ROWS)
        assert kept(tmp_path) == {}


@pytest.mark.cluster
@pytest.mark.timeout(400)
@pytest.mark.parametrize("engine", ["dask", "ray", "daft"])
def test_a_worker_is_killed_and_no_row_is_lost_or_answered_twice(engine: str, tmp_path: Path, pace: Any) -> None:
    pytest.importorskip({"dask": "distributed"}.get(engine, engine))
    count, before = 60, 15
    folder = tmp_path / "results"
    folder.mkdir()
    asked: Counter[int] = Counter()
    lock = Lock()
    at_the_kill: dict[int, str] = {}

    def reply(messages: Any) -> str:
        text = messages[-1]["parts"][0]["text"]
        with lock:
            asked[int(text.split()[1])] += 1
            if not at_the_kill and sum(asked.values()) > before and (files := sorted(folder.glob("*.jsonl"))):
                os.kill(int(files[0].stem.rpartition("-")[2]), signal.SIGKILL)
                at_the_kill.update(kept(folder))
        return f"to {text}"

    with LocalServer(reply=reply) as server:
        command = [sys.executable, str(Path(__file__).parent / "drive.py"), engine, server.url, pace.url, str(folder)]
        for run in range(3):  # noqa: B007 - looked at below
            done = subprocess.run(
                [*command, str(count)],
                env={**os.environ, "PYTHONPATH": str(RECIPES), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
                capture_output=True,
                text=True,
                timeout=380,
                check=False,
            )
            if done.returncode == 0:
                break
            assert engine == "daft", done.stderr  # it does not replace a process; a second run goes on
    assert done.returncode == 0, done.stderr
    assert run == (1 if engine == "daft" else 0)
    assert at_the_kill
    assert kept(folder) == {number: f"to row {number}" for number in range(count)}
    assert {asked[number] for number in at_the_kill} == {1}
    assert sum(asked.values()) <= count + 2 * 8  # what the killed worker had on its way
    assert pace.pace.slots >= sum(asked.values())
