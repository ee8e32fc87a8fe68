"""The benchmarks run, and say what they should. How fast anything is, is not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.benchmarks

ROOT = Path(__file__).parents[2]
RUN = {
    "short": {"Client.stream", "requests", "urllib3", "AsyncClient.stream", "aiohttp"},
    "trickle_2000": {"Client.stream", "requests", "urllib3", "AsyncClient.stream", "aiohttp"},
    "streams_100": {"AsyncClient.stream", "aiohttp"},
    "passage_20": {"LocalServer over OpenAICompatible", "aiohttp proxy"},
    "import": {
        "bare interpreter",
        "import aichatfree",
        "Client",
        "import requests",
        "AsyncClient",
        "import aiohttp",
    },
    "gateway_pieces": {"gateway", "aiohttp reverse proxy"},
    "gateway_streams": {"gateway", "aiohttp reverse proxy"},
}
"""One case of each kind, and who takes part at least."""


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    found = tmp_path_factory.mktemp("benchmarks") / "found.json"
    cases = [option for case in RUN for option in ("--only", case)]
    ended = run("--quick", "--rounds", "1", "--json", str(found), *cases)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr
    return ended.stdout, json.loads(found.read_text("utf-8"))


def test_every_case_has_both_clients_beside_what_they_are_measured_against(outcome: tuple[str, dict[str, Any]]) -> None:
    cases: dict[str, set[str]] = {}
    for result in outcome[1]["results"]:
        cases.setdefault(result["case"], set()).add(result["contender"])
    assert set(cases) == set(RUN)
    for name, contenders in RUN.items():
        assert contenders <= cases[name], name


def test_the_numbers_are_sane(outcome: tuple[str, dict[str, Any]]) -> None:
    for result in outcome[1]["results"]:
        assert result["rounds"] == 1
        for spread in (result["cpu_ms"], result["wall_ms"], result["ratio"]):
            assert spread is None or 0 < spread["min"] <= spread["median"] <= spread["max"], result
        if result["contender"] == result["baseline"]:
            assert result["ratio"]["median"] == 1
        assert result["contender"] in outcome[0]
    assert outcome[1]["environment"]["packages"]["aiohttp"]


def test_each_reply_came_whole(outcome: tuple[str, dict[str, Any]]) -> None:
    pieces = {(result["case"], result["contender"]): result["notes"].get("pieces") for result in outcome[1]["results"]}
    assert pieces["short", "requests"] == pieces["short", "aiohttp"] == 1
    assert pieces["trickle_2000", "Client.stream"] > 1


def test_one_case_alone_drawn_and_mistakes_explained(tmp_path: Path) -> None:
    plot = tmp_path / "ratios.svg"
    drawing = ("--plot", str(plot)) if find_spec("matplotlib") else ()
    ended = run("--quick", "--rounds", "1", "--only", "import", *drawing)
    assert ended.returncode == 0, ended.stderr
    assert "a fresh interpreter" in ended.stdout
    assert "short reply" not in ended.stdout
    assert not drawing or "</svg>" in plot.read_text("utf-8")
    for mistake in (
        ("--only", "nothing"),
        ("--rounds", "0"),
        ("--plot", "ratios.png"),
        ("--json", "no/such/folder.json"),
    ):
        ended = run(*mistake)
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr


def test_the_costs_of_a_server_beside_a_bare_handler(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    cases = ("--only", "serving_50", "--only", "serving_idle")
    ended = run("--quick", "--rounds", "1", "--json", str(found), *cases)
    assert ended.returncode == 0, ended.stderr
    results = json.loads(found.read_text("utf-8"))["results"]
    assert [(result["case"], result["contender"]) for result in results] == [
        ("serving_50", "LocalServer, a list"),
        ("serving_50", "LocalServer, a function"),
        ("serving_50", "aiohttp.web"),
        ("serving_idle", "LocalServer, a function"),
        ("serving_idle", "aiohttp.web"),
    ]
    assert all(result["notes"]["kb_per_stream"] > 1 for result in results[3:])
