"""The certificate of a server that speaks TLS, for tests that hand a client the path of its authority's."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme


@pytest.fixture
def tls(authority: trustme.CA, server_tls: ssl.SSLContext, tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """What the server speaks TLS with, and the file that a client is to trust."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return server_tls, str(path)
