"""pytest fixtures: a running `ScriptedServer`, clients on it; nothing heavy is imported until one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aichatfree import AsyncClient, Client
    from aichatfree.testing import ScriptedServer


@pytest.fixture
def aichatfree_server() -> Iterator[ScriptedServer]:
    """A `ScriptedServer` without secret and password, running for one test."""
    from aichatfree.testing import ScriptedServer

    with ScriptedServer() as server:
        yield server


@pytest.fixture
def aichatfree_client(aichatfree_server: ScriptedServer) -> Iterator[Client]:
    """A `Client` on `aichatfree_server`, closed after the test."""
    from aichatfree import Client

    with Client(base_url=aichatfree_server.url) as client:
        yield client


@pytest.fixture
def aichatfree_async_client(aichatfree_server: ScriptedServer) -> AsyncClient:
    """An `AsyncClient` on `aichatfree_server`. It belongs to no event loop, and nobody need close it."""
    from aichatfree import AsyncClient

    return AsyncClient(base_url=aichatfree_server.url)
