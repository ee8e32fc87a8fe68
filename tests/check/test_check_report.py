"""The report by itself: how it prints, and how it is passed on."""

from __future__ import annotations

import json
import pickle

import pytest

from aichatfree._core.diagnosis import WIDTH, CheckReport, CheckResult

REPORT = CheckReport(
    "http://127.0.0.1:3000",
    (
        CheckResult("reachable", "ok", "an answer came after 6 ms", seconds=0.006),
        CheckResult("protocol", "failed", "an explanation " * 8 + "http://127.0.0.1:3000/" + "x" * 90, "do " * 30),
        CheckResult("reply", "skipped", "not reached"),
    ),
)
GOOD = CheckReport("http://127.0.0.1:3000", (CheckResult("reachable", "ok", "an answer came after 6 ms"),))


def test_a_report_is_a_table() -> None:
    lines = str(REPORT).split("\n")
    assert lines[:3] == [
        "http://127.0.0.1:3000: something is wrong",
        "  ok       reachable  an answer came after 6 ms",
        "  failed   protocol   an explanation an explanation an explanation an",
    ]
    assert lines[-1] == "  skipped  reply      not reached"
    column = lines[1].index("an answer")
    continued = [line for line in lines[3:-1] if "->" not in line]
    assert all(line.startswith(" " * column) and line[column] != " " for line in continued if "do " not in line)
    assert [line.index("-> do") for line in lines if "->" in line] == [column]
    assert all(len(line) <= WIDTH or "http://127.0.0.1:3000/xxx" in line for line in lines)
    assert str(REPORT).isascii()
    assert str(GOOD).startswith("http://127.0.0.1:3000: all is well\n")


def test_a_report_can_be_looked_through() -> None:
    assert [result.name for result in REPORT] == ["reachable", "protocol", "reply"]
    assert REPORT["reply"].status == "skipped"
    with pytest.raises(KeyError):
        REPORT["nothing"]
    assert (REPORT.ok, GOOD.ok) == (False, True)
    assert repr(REPORT) == "<CheckReport of http://127.0.0.1:3000: reachable ok, protocol failed, reply skipped>"


def test_a_report_can_be_passed_on() -> None:
    assert pickle.loads(pickle.dumps(REPORT)) == REPORT
    data = json.loads(json.dumps(GOOD.to_dict()))
    assert data == {
        "base_url": "http://127.0.0.1:3000",
        "ok": True,
        "results": [
            {
                "name": "reachable",
                "status": "ok",
                "explanation": "an answer came after 6 ms",
                "remedy": "",
                "seconds": None,
            }
        ],
    }
