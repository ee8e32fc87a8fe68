"""What every test shares: no environment of the machine, both clients behind one face, certificates for TLS."""

from __future__ import annotations

import os
import signal
import ssl
import threading
from collections.abc import Iterator

import psutil
import pytest
import trustme
from faces import AsyncFace, SyncFace, eventually

from aichatfree.testing import ScriptedServer

CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")

# Hundreds of processes are started by the tests: each would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Started in the background or under nohup, these are ignored, and would be by each command that a test starts.
for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AICHATFREE_") or name.lower().endswith("_proxy") or name in CERTIFICATES:
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "origin.test").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Iterator[SyncFace]:
    chosen = AsyncFace() if request.param == "async" else SyncFace()
    yield chosen
    chosen.end()


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """No thread and no file descriptor more after a test than before it."""
    process = psutil.Process()

    def threads() -> int:
        # asyncio's own executor lives as long as its loop, and the tests use it.
        return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())

    before, descriptors = threads(), process.num_fds()
    yield
    assert eventually(lambda: threads() <= before), threading.enumerate()
    assert eventually(lambda: process.num_fds() <= descriptors), process.open_files()
