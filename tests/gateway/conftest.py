"""A gateway before a scripted server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aichatfree.gateway import LocalGateway
from aichatfree.testing import ScriptedServer

from .kit import Caller


@pytest.fixture
def gateway(server: ScriptedServer) -> Iterator[LocalGateway]:
    with LocalGateway(base_url=server.url, max_retries=0) as running:
        yield running


@pytest.fixture
def caller(gateway: LocalGateway) -> Iterator[Caller]:
    made = Caller(gateway)
    yield made
    made.session.close()
