"""The asynchronous transport without sockets keeps what the seam promises."""

from __future__ import annotations

import pytest

from aichatfree.testing import AsyncMemoryTransport
from aichatfree.testing.conformance import *  # noqa: F403


@pytest.fixture
def transport() -> AsyncMemoryTransport:
    return AsyncMemoryTransport()


@pytest.fixture
def peer(transport: AsyncMemoryTransport) -> AsyncMemoryTransport:
    return transport
