"""What both clients make of the answers in the matrix of recorded requests: class, wait, words, and retry."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import aichatfree
from aichatfree import RetryPolicy
from aichatfree.testing import Reply, ScriptedServer

MATRIX = Path(__file__).parent.parent / "data" / "recordings" / "requests.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in MATRIX.read_text("utf-8").splitlines()]
JUDGED = {row["name"]: row for row in ROWS if row.get("client")}


def reply(row: dict[str, Any]) -> Reply:
    answer = row["answer"]
    framing = {"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Date"}
    headers = [(name, value) for name, value in answer["headers"].items() if name.title() not in framing]
    return Reply(answer["body"]["text"], status=answer["status"], headers=headers)


def test_the_matrix_is_there() -> None:
    assert len(ROWS) >= 196
    assert len(JUDGED) >= 46


@pytest.mark.parametrize("name", JUDGED)
def test_what_the_clients_make_of_an_answer(name: str, face: Any, server: ScriptedServer) -> None:
    expected = JUDGED[name]["client"]
    server.enqueue(reply(JUDGED[name]), Reply("the second"))
    retries = 1 if expected.get("retried") is not None else 0
    client = face.client(server, retry=RetryPolicy(max_retries=retries, initial_delay=0, max_retry_after=0))
    outcome = face.stream(client)
    if expected.get("retried"):
        assert (outcome.text, outcome.error) == ("the second", None)
        server.reset()
        server.enqueue(reply(JUDGED[name]))
        outcome = face.stream(face.client(server, max_retries=0))
    error: Any = outcome.error
    assert error is not None
    assert len(server.requests) == 1
    if "raises" in expected:
        assert isinstance(error, getattr(aichatfree, expected["raises"])), error
    for attribute in ("upstream_status", "retry_after", "in_band", "partial"):
        if attribute in expected:
            assert getattr(error, attribute) == expected[attribute], attribute
    if wait := expected.get("retry_after"):
        assert f"{wait:.0f} s" in str(error), "the wait is said"
    own = str(error).rpartition("): ")[2]  # what stands behind the server's own words
    for key, present in (("own_words", True), ("and_own_words", True), ("not_own_words", False)):
        if key in expected:
            assert bool(re.search(expected[key], own)) is present, own


@pytest.mark.parametrize(
    "name", [name for name in JUDGED if name.startswith(("model_retired", "upstream_unreachable"))]
)
def test_check_says_what_the_provider_did(name: str, face: Any, server: ScriptedServer) -> None:
    server.enqueue(Reply('{"code":0}'), reply(JUDGED[name]))
    client = face.client(server)
    report = face.run(client.check, client.check)
    assert report["signature"].status == "ok"
    assert report["upstream"].status == "failed"
    assert re.search(JUDGED[name]["client"]["own_words"], report["upstream"].explanation)
