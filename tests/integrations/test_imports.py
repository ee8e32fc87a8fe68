"""Integrations are users of the library like any other, and of foreign packages each of its own."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aichatfree

MODULES = sorted((Path(aichatfree.__file__).parent / "integrations").glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_public_names_of_the_library_are_imported(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level > 1:
            assert (node.level, node.module) in ((2, None), (2, "errors"))
            assert not [alias.name for alias in node.names if re.match("_(?!_)", alias.name)]


def test_the_package_itself_imports_nothing() -> None:
    code = "import sys, aichatfree.integrations; print({'llm', 'langchain_core', 'pydantic'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
