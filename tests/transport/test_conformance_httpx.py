"""A transport that somebody else might write, over httpx, keeps what the seam promises."""

from __future__ import annotations

import pytest

pytest.importorskip("httpx")
from httpx_transport import HttpxTransport

from aichatfree.testing.conformance import *  # noqa: F403


@pytest.fixture
def transport() -> HttpxTransport:
    return HttpxTransport()
