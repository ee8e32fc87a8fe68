"""The transport over requests keeps what the seam promises."""

from __future__ import annotations

import pytest

from aichatfree._core.settings import Settings
from aichatfree._sync.transport.transport import RequestsTransport
from aichatfree.testing.conformance import *  # noqa: F403


@pytest.fixture
def transport() -> RequestsTransport:
    return RequestsTransport(Settings(trust_env=False))
