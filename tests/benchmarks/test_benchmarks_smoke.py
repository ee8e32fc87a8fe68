"""The benchmarks run, and say what they should. How fast anything is, is not asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.benchmarks, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
DRAWING = find_spec("matplotlib") is not None
FILES = ("benchmarks.md", "_static/growth.svg", "ratios.svg")
RUN = {
    "bytes_2000": {"Client.stream", "requests", "AsyncClient.stream", "aiohttp"},
    "conversation": {
        "Conversation.stream",
        "requests, a list kept",
        "AsyncConversation.stream",
        "aiohttp, a list kept",
    },
    "threads_200": {"Client.stream", "requests"},
    "map_5000": {"Client.map", "threads over requests", "AsyncClient.map", "semaphore over aiohttp"},
    "command": {"import re", "aichatfree --version", "import requests", "aichatfree ask"},
    "serving_50": {"LocalServer, a list", "LocalServer, a function", "aiohttp.web"},
    "serving_idle": {"LocalServer, a function", "aiohttp.web"},
    "passage_trickle": {"LocalServer over OpenAICompatible", "aiohttp proxy"},
    "gateway_pieces": {"gateway", "aiohttp reverse proxy", "aiohttp proxy of the OpenAI API"},
    "gateway_streams": {"gateway", "aiohttp reverse proxy"},
    "growth_history": {"Client.stream", "AsyncClient.stream", "Conversation.stream"},
    "growth_streams": {"AsyncClient.stream"},
    "growth_prompts": {"Client.map", "AsyncClient.map"},
}
"""Cases of each kind, and who takes part."""


def run(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[dict[str, Any]]]:
    file = tmp_path_factory.mktemp("benchmarks") / "found.json"
    cases = [option for case in RUN for option in ("--only", case)]
    ended = run("--quick", "--rounds", "1", "--json", file, *cases)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr
    return file, ended.stdout, json.loads(file.read_text("utf-8"))["results"]


def test_every_case_has_ours_beside_what_it_is_measured_against(found: Any) -> None:
    cases: dict[str, set[str]] = {}
    for result in found[2]:
        cases.setdefault(result["case"], set()).add(result["contender"])
    assert cases == RUN


def test_the_numbers_are_sane(found: Any) -> None:
    for result in found[2]:
        assert result["rounds"] == 1
        for spread in (result["cpu_ms"], result["wall_ms"], result["ratio"]):
            assert spread is None or 0 < spread["min"] <= spread["median"] <= spread["max"], result
        if result["contender"] == result["baseline"]:
            assert result["ratio"]["median"] == 1
        assert result["contender"] in found[1]


def test_what_was_seen_besides(found: Any) -> None:
    notes = {(result["case"], result["contender"]): result["notes"] for result in found[2]}
    assert notes["bytes_2000", "AsyncClient.stream"]["pieces"] < notes["bytes_2000", "requests"]["pieces"]
    assert notes["growth_streams", "AsyncClient.stream"]["reads_per_piece"] > 0
    assert notes["threads_200", "requests"]["reads_per_piece"] > 0
    assert notes["serving_idle", "aiohttp.web"]["memory_kib_per_stream"] > 1
    assert "memory_kib_over_bare" in notes["threads_200", "Client.stream"]
    assert "ms_more" in notes["command", "aichatfree ask"]


def test_growth_has_each_of_its_sizes(found: Any) -> None:
    sizes = [
        result["size"]
        for result in found[2]
        if (result["case"], result["contender"]) == ("growth_prompts", "Client.map")
    ]
    assert sizes == [10, 100]


@pytest.mark.skipif(not DRAWING, reason="needs matplotlib")
def test_results_are_shown_again_and_gone_on_with(found: Any, tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    shutil.copy(ROOT / "docs" / "benchmarks.md", tmp_path)
    written = []
    for _ in range(2):
        shown = run("--from", found[0], "--plot", tmp_path / "ratios.svg", "--docs", tmp_path)
        assert shown.returncode == 0, shown.stderr
        written.append([(tmp_path / name).read_text("utf-8") for name in FILES])
    assert written[0] == written[1]
    page, plot, ratios = written[0]
    assert "| `command` |" in page
    assert "Not everything that this needs was measured." in page
    assert "</svg>" in plot
    assert "</svg>" in ratios
    resumed = run("--quick", "--rounds", "2", "--json", found[0], "--resume", "--only", "command")
    assert resumed.returncode == 0, resumed.stderr
    assert "aichatfree ask" in resumed.stdout
    assert "LocalServer" not in resumed.stdout
    rounds = {each["case"]: each["rounds"] for each in json.loads(found[0].read_text("utf-8"))["results"]}
    assert rounds == {**dict.fromkeys(RUN, 1), "command": 2}
