"""Async tests of foreign suites run without a plugin; nothing is read from or written to this machine's home."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichatfree.server import LocalServer


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def _no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def echo() -> Iterator[LocalServer]:
    """A server whose replies show the history it was sent: ``role: text | role: text``, in pieces."""

    def reply(messages: list[dict[str, object]]) -> list[str]:
        said = [f"{message['role']}: {''.join(part['text'] for part in message['parts'])}" for message in messages]  # type: ignore[attr-defined, index]
        return " | ".join(said).split(",")

    with LocalServer(reply=reply) as server:  # type: ignore[arg-type]
        yield server
