"""The pytest fixtures, and that nothing heavy is imported before they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .raw import environment

HEAVY = ["requests", "urllib3", "aiohttp", "asyncio", "ssl", "http.client"]

USE = """
import asyncio
from aichatfree.testing import Reply

def test_sync(aichatfree_server, aichatfree_client):
    aichatfree_server.enqueue(Reply(["Hel", "lo"]))
    assert aichatfree_client.generate("Hi") == "Hello"
    assert aichatfree_server.requests[0].prompt == "Hi"

def test_async(aichatfree_server, aichatfree_async_client):
    async def main():
        return await aichatfree_async_client.generate("Hi")
    assert asyncio.run(main()) == "Hello from the scripted server."
"""


def test_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_use.py").write_text(USE)
    plugin = ["-p", "aichatfree.testing.pytest_plugin"] if not _installed() else []
    without = ["-p", "no:cacheprovider", "-p", "no:asyncio"]  # pytest-asyncio warns where nobody configures it
    command = [sys.executable, "-m", "pytest", *without, "-W", "error", *plugin, "test_use.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment())
    assert "2 passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("module", ["aichatfree.testing", "aichatfree.testing.pytest_plugin"])
def test_importing_is_cheap(module: str) -> None:
    code = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        f"import {module} as module\n"
        f"heavy = {HEAVY} \n"
        "assert not (set(sys.modules) - before) & set(heavy), set(sys.modules) - before\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60, env=environment())


def test_every_public_name_is_there() -> None:
    import aichatfree.testing

    for name in aichatfree.testing.__all__:
        assert getattr(aichatfree.testing, name) is not None
        assert name in dir(aichatfree.testing)
    assert not hasattr(aichatfree.testing, "nope")


def _installed() -> bool:
    from importlib.metadata import entry_points

    return any(entry.value == "aichatfree.testing.pytest_plugin" for entry in entry_points(group="pytest11"))
