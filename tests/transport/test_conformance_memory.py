"""The transport without sockets keeps what the seam promises."""

from __future__ import annotations

import pytest

from aichatfree.testing import MemoryTransport
from aichatfree.testing.conformance import *  # noqa: F403


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def peer(transport: MemoryTransport) -> MemoryTransport:
    return transport
