"""The documentation: it builds without a warning, knows every public name and no private one, and its code is right."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    return _BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def test_the_tutorial_says_what_happens() -> None:
    """Each block runs in turn; the text block after one is what it prints."""
    found = blocks("start/tutorial.md")
    namespace: dict[str, object] = {}
    checked = 0
    for (language, code), (following, expected) in zip(found, [*found[1:], ("", "")], strict=True):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "tutorial", "exec"), namespace)
        assert printed.getvalue() == (expected if following == "text" else "")
        checked += following == "text"
    assert checked >= 7


@pytest.mark.parametrize("page", PAGES)
def test_code_is_python_and_names_what_there_is(page: str) -> None:
    for language, code in blocks(page):
        if language != "python":
            continue
        tree = compile(code, page, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "aichatfree":
                assert node.module
                if "integrations." in node.module:
                    pytest.importorskip(node.module)
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    for needed in ("sphinx", "furo", "myst_parser", "llm", "langchain_core", "opentelemetry.instrumentation"):
        pytest.importorskip(needed)
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    yield out


@pytest.fixture(scope="module")
def names(built: Path) -> set[str]:
    from sphinx.util.inventory import InventoryFile

    with (built / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda _, name: name)
    data = getattr(inventory, "data", inventory)
    return {name for kind, objects in data.items() if kind.startswith("py:") for name in objects}


class TestSite:
    @pytest.mark.timeout(300)
    def test_every_public_name_is_there(self, names: set[str]) -> None:
        last = {name.rpartition(".")[2] for name in names}
        missing = []
        for name in public_modules():
            module = importlib.import_module(name)
            missing += [f"{name}.{each}" for each in module.__all__ if not each.startswith("_") and each not in last]
        assert missing == []

    @pytest.mark.timeout(300)
    def test_nothing_private_is_there(self, names: set[str]) -> None:
        private = [name for name in names if any(part.startswith("_") for part in name.split("."))]
        assert [name for name in private if not name.rpartition(".")[2].startswith("__")] == []

    @pytest.mark.timeout(300)
    def test_every_page_is_in_the_site(self, built: Path) -> None:
        assert [page for page in PAGES if not (built / page).with_suffix(".html").exists()] == []


def public_modules() -> list[str]:
    """The public modules that have a list of names."""
    package = Path(importlib.import_module("aichatfree").__file__ or "").parent
    found = ["aichatfree"]
    for place in ("errors", "provider", "server", "gateway", "testing"):
        if (package / place).exists() or (package / f"{place}.py").exists():
            found.append(f"aichatfree.{place}")
    found += [f"aichatfree.integrations.{path.stem}" for path in sorted(package.glob("integrations/[a-z]*.py"))]
    return found
