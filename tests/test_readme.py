"""The README keeps its word: its code is code, its names exist, its table lists every error."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import aichatfree
from aichatfree import errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_code_is_code(block: str) -> None:
    tree = compile(block, "README.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "aichatfree":
            assert {alias.name for alias in node.names} <= set(aichatfree.__all__)


def test_the_first_thing_is_three_lines_of_code() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line]) == 3


def test_two_commands() -> None:
    commands = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert commands == [
        "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/aichatfree demo\n",
        "python3 -m venv .venv && .venv/bin/pip install -q '.[cli,test]' && .venv/bin/pytest\n",
    ]


def test_the_table_of_errors() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(set(errors.__all__) - {"AIChatFreeError", "TransportError", "Phase"})


def test_links_lead_somewhere() -> None:
    assert re.findall(r"\]\(([^)#:]+)\)", README) == [], "on the package index relative links lead nowhere"
    targets = re.findall(r"\]\(https://(?:github|raw\.githubusercontent)\.com/aichatfree/aichatfree/(.+?)\)", README)
    assert targets
    for target in targets:
        path = re.sub(r"^((blob|tree)/)?main/", "", target)
        assert (ROOT / path).exists(), target
    titles = re.findall(r"^## (.*)$", README, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_the_changelog_has_room_for_what_is_next() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
