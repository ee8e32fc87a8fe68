"""A server to ask, and the command pointed at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aichatfree.testing import ScriptedServer

from .running import Command


@pytest.fixture
def aichatfree(server: ScriptedServer, tmp_path: Path) -> Command:
    return Command(server.url, tmp_path)
