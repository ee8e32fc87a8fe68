"""What the benchmarks make of their figures, and that the page has all of them. Nothing is measured here."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # as `python -m tests.benchmarks` has it

from tests.benchmarks import __main__ as program  # noqa: E402
from tests.benchmarks.cases import all_cases  # noqa: E402
from tests.benchmarks.measuring import Goal, Result, Sample, Spread, interleave, note_difference, results  # noqa: E402
from tests.benchmarks.report import page, scale  # noqa: E402
from tests.benchmarks.report.lines import fit  # noqa: E402
from tests.benchmarks.report.saved import Found  # noqa: E402

CASES = [case.name for case in all_cases()]


def result(case: str = "short", contender: str = "ours", cpu: float = 1.0, **rest: Any) -> Result:
    spread = Spread.of([cpu])
    return Result(
        **{
            "case": case,
            "title": "t",
            "contender": contender,
            "baseline": None,
            "rounds": 1,
            "cpu_ms": spread,
            "wall_ms": spread,
            "ratio": None,
            **rest,
        }
    )


def test_the_page_has_every_case() -> None:
    text = (ROOT / "docs" / page.PAGE).read_text("utf-8")
    rows = text.splitlines()
    assert [name for name in CASES if not any(row.startswith(f"| `{name}` |") for row in rows)] == []
    assert "not measured" not in text.lower()
    assert "Not everything that this needs was measured" not in text
    assert "</svg>" in (ROOT / "docs" / page.PLOT).read_text("utf-8")


README_ROWS = {
    "one short reply": "short",
    "20 pieces": "pieces_20",
    "2,000 pieces at once": "pieces_2000",
    "2,000 pieces, each a read of its own": "trickle_2000",
    "10 MB, the text kept": "large",
    "a history of 99 messages of 2 kB each": "history",
    "a conversation's turn after those": "conversation",
    "1,000 streams at once, each piece": "streams_1000",
    "`map` of 5,000 prompts, each": "map_5000",
    "import, in a fresh interpreter": "import",
}


def test_the_readme_has_the_figures_of_the_page() -> None:
    text = (ROOT / "docs" / page.PAGE).read_text("utf-8")
    shown = {}
    for case, rows in re.findall(r"^\| `(\w+)` \|.*\n((?:\|  \|.*\n)+)", text, re.MULTILINE):
        ratios = re.findall(r"^\|  \| (Async)?(?:Client|Conversation)\b[^|]*\|[^|]*\| ([^|,]+\))", rows, re.MULTILINE)
        shown[case] = dict(ratios)
    readme = (ROOT / "README.md").read_text("utf-8")
    for title, case in README_ROWS.items():
        (row,) = [line for line in readme.splitlines() if line.startswith(f"| {title} |")]
        sync, asynchronous = [cell.strip().partition(",")[0] for cell in row.split("|")[2:4]]
        assert {"": sync, "Async": asynchronous} == {"": "", **shown[case]}, title


def test_quick_cases_are_the_same_ones() -> None:
    assert [case.name for case in all_cases(quick=True)] == CASES
    assert len(set(CASES)) == len(CASES)


def test_what_was_not_measured_is_said() -> None:
    table = page.cases_table(Found())
    assert table.count("not measured") == len([name for name in CASES if not name.startswith("growth_")])
    assert "not measured" in page.growth_table([])


@pytest.mark.parametrize(
    ("ratio", "goal", "verdict"),
    [
        (0.95, Goal(0.95), "kept"),
        (0.99, Goal(0.95), "close"),
        (1.01, Goal(0.95), "MISSED"),
        (0.5, Goal(13, "kib"), "kept"),
        (0.5, Goal(11.99, "kib"), "MISSED"),
        (0.5, Goal(10, "kib", least=True), "kept"),
        (0.5, Goal(20, "kib", least=True), "MISSED"),
        (0.5, Goal(1, "other"), "not measured"),
    ],
)
def test_a_goal_is_kept_or_missed(ratio: float, goal: Goal, verdict: str) -> None:
    assert result(ratio=Spread.of([ratio]), goals=(goal,), notes={"kib": 12.0}).verdict(goal) == verdict


def test_contenders_take_turns_and_are_compared_round_by_round() -> None:
    order: list[str] = []

    def run(name: str, cpu: float) -> Any:
        def measure() -> Sample:
            order.append(name)
            return Sample(cpu * len(order), 1.0, {"kib": cpu})

        return measure

    samples = interleave({"a": run("a", 2), "b": run("b", 1)}, 2)
    assert order == ["a", "b", "b", "a"]
    note_difference(samples, {"a": "b"}, "more", lambda sample: sample.notes["kib"])
    ours, theirs = results("case", "title", samples, {"a": "b", "b": "b"}, {"a": [Goal(1)]})
    assert ours.ratio and theirs.ratio
    assert (ours.ratio.min, ours.ratio.max) == (2 * 1 / 2, 2 * 4 / 3)
    assert theirs.ratio.median == 1
    assert ours.notes["more"] == 1
    assert "more" not in theirs.notes


def test_a_straight_line_is_found() -> None:
    fixed, each = fit([1, 10, 1000], [5.5, 10, 505])
    assert (round(fixed, 6), round(each, 6)) == (5, 0.5)
    assert fit([1, 2], [3, 3])[1] == 0
    assert fit([1, 2, 4], [0.9, 2.1, 4.4])[0] >= 0
    assert fit([1], [7]) == (7, 0)


def test_a_line_that_bends_is_explained() -> None:
    def growing(*costs: float) -> str:
        points = [result("growth_pieces", cpu=cost, size=size) for size, cost in zip((1, 10, 100), costs, strict=True)]
        return page.growth_table(page.growth_lines(Found(results=points)))

    assert "bends" not in growing(1, 10, 100)
    assert "bends: " in growing(1, 100, 100)
    assert "read together" in growing(1, 100, 100)


def test_what_very_many_streams_need() -> None:
    role = scale.Role("x", cpu_ms=0.1, kib=32.0, base_mib=64.0, files=2, allowed=1024)
    assert role.carried == 700  # 0.7 s of a second, 1 ms a second for a stream
    assert role.processes(10_000) == 15
    assert role.gib(10_000) == pytest.approx(10_000 * 32 / 1024**2 + 15 / 16)
    assert [streams for streams, _ in role.limits] == [512, 700, 28_232, 133_552]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = Found(quick=True, results=[result(goals=(Goal(1.0, "kib", least=True),), notes={"kib": 1.5})])
    found.seconds["short"] = 1.0
    found.failed["large"] = "why"
    found.save(tmp_path / "found.json")
    assert Found.load(tmp_path / "found.json") == found
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


class Case:
    title, rounds = "t", 1

    def __init__(self, outcome: list[Result] | Exception, name: str = "short") -> None:
        self._outcome = outcome
        self.name = name

    def measure(self, server: str, rounds: int) -> list[Result]:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def test_a_case_that_fails_is_named_and_another_attempt_clears_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = Found()
    program.measure(Case(OSError("no room")), "", 1, found)
    assert found.failed == {"short": "OSError: no room"}
    assert "short could not be measured" in capsys.readouterr().err
    program.measure(Case([result()]), "", 1, found)
    assert found.failed == {}
    assert [each.contender for each in found.of("short")] == ["ours"]


@pytest.mark.parametrize(
    "mistake",
    [
        ["--only", "nothing"],
        ["--rounds", "0"],
        ["--plot", "ratios.png"],
        ["--json", "no/such/folder.json"],
        ["--docs", "empty"],
        ["--from", "none.json"],
        ["--from", "other.json"],
        ["--from", "good.json", "--quick"],
        ["--json", "other.json", "--resume"],
        ["--json", "good.json", "--resume", "--quick"],
        ["--resume"],
    ],
)
def test_mistakes_are_explained(
    mistake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text("{}")
    Found().save(tmp_path / "good.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *mistake])
    with pytest.raises(SystemExit) as ended:
        program.arguments()
    assert ended.value.code == 2
    assert mistake[0] in capsys.readouterr().err


@contextlib.contextmanager
def no_server() -> Iterator[str]:
    yield "http://none"


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "found.json"
    before = Found(results=[result("short", cpu=1.0)], failed={"large": "why"})
    before.save(file)
    measured = [Case([result(name, cpu=2.0)], name) for name in ("short", "large", "history")]
    monkeypatch.setattr(program, "all_cases", lambda quick=False: measured)
    monkeypatch.setattr(program, "canned_server", no_server)

    def run(*options: str) -> dict[str, float]:
        monkeypatch.setattr(sys, "argv", ["benchmarks", "--json", str(file), "--resume", *options])
        assert program.main() == 0
        return {each.case: each.cpu_ms.median for each in Found.load(file).results}

    assert run() == {"short": 1.0, "large": 2.0, "history": 2.0}
    assert run("--only", "short") == {"short": 2.0, "large": 2.0, "history": 2.0}


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs SIGALRM")
def test_a_case_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Case):
        def measure(self, server: str, rounds: int) -> list[Result]:
            threading.Event().wait(30)
            return []

    monkeypatch.setattr(program, "CASE_SECONDS", 1)
    found = Found()
    program.measure(Hanging([]), "", 1, found)
    assert found.failed == {"short": "TimeoutError: not done after 1 s"}


def test_figures_go_between_their_marks() -> None:
    text = "a\n<!-- measured: x -->\nold\n<!-- end of what was measured -->\nb"
    new = page.put(text, "x", r"new \1")
    assert new == "a\n<!-- measured: x -->\n\nnew \\1\n\n<!-- end of what was measured -->\nb"
    assert page.put(new, "x", r"new \1") == new
    with pytest.raises(ValueError, match="0 places"):
        page.put(text, "y", "new")


def test_a_goal_stands_beside_the_number_it_is_about() -> None:
    goals = (Goal(0.5), Goal(8, "memory_kib_over_bare"))
    one = result(
        baseline="bare", ratio=Spread.of([0.75]), goals=goals, notes={"memory_kib_over_bare": 3.0, "pieces": 20.0}
    )
    table = page.cases_table(Found(results=[one]))
    cells = (
        "| ours | 1.00 ms | 0.75 (0.75-0.75), wanted ≤ 0.50: **missed** | memory KiB over bare 3.0, wanted ≤ 8: kept |"
    )
    assert cells in table
    assert table.endswith("Missed: `short`, ours.")
    grown = result("growth_prompts", size=10, goals=(Goal(1024, "memory_kib_more"),), notes={"memory_kib_more": 2048.0})
    text = page.growth_table(page.growth_lines(Found(results=[grown])))
    assert "10: 2,048 KiB, wanted ≤ 1,024: **missed**." in text
