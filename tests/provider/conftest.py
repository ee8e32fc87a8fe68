"""A provider on a running server, and every way to ask it."""

from __future__ import annotations

import pytest

from aichatfree import AIChatFree
from aichatfree.testing import Reply, ScriptedServer

from .asking import Ask, in_a_running_loop, in_a_task_a_piece, in_one_task, synchronously


@pytest.fixture(params=[in_one_task, in_a_task_a_piece, synchronously, in_a_running_loop], ids=lambda ask: ask.__name__)
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


@pytest.fixture
def provider(server: ScriptedServer) -> type[AIChatFree]:
    server.default = Reply(["Hel", "lo, ", "wörld"])

    class Here(AIChatFree):
        url = server.url

    return Here
