"""The transport over aiohttp keeps what the seam promises."""

from __future__ import annotations

import pytest

from aichatfree._async.transport.transport import AiohttpTransport
from aichatfree._core.settings import Settings
from aichatfree.testing.conformance import *  # noqa: F403


@pytest.fixture
def transport() -> AiohttpTransport:
    return AiohttpTransport(Settings(trust_env=False))
