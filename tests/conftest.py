"""What every test shares: no environment of the machine, and both clients behind one face."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import psutil
import pytest

from aichatfree import AIChatFreeError, AsyncClient, Client
from aichatfree.testing import ScriptedServer

T = TypeVar("T")


CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AICHATFREE_") or name.lower().endswith("_proxy") or name in CERTIFICATES:
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


class Outcome:
    """What came of one stream: its pieces, its error if any, how long it took."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.pieces: list[str] = []
        self.error: AIChatFreeError | None = None
        self.seconds = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class SyncFace:
    """Drives Client."""

    is_async = False

    def __init__(self) -> None:
        self._clients: list[Any] = []

    def client(self, server: ScriptedServer | str, **options: Any) -> Any:
        client = Client(server if isinstance(server, str) else server.url, **options)
        self._clients.append(client)
        return client

    def stream(self, client: Any, messages: Any = "hi", **options: Any) -> Outcome:
        outcome = Outcome(client.stream(messages, **options))
        started = time.monotonic()
        try:
            for piece in outcome.stream:
                outcome.pieces.append(piece)
        except AIChatFreeError as error:
            outcome.error = error
        outcome.seconds = time.monotonic() - started
        return outcome

    def generate(self, client: Any, messages: Any = "hi", **options: Any) -> str:
        return str(client.generate(messages, **options))

    def verify_password(self, client: Any, password: str | None = None) -> bool:
        return bool(client.verify_password(password))

    def close(self, client: Any) -> None:
        client.close()

    def run(self, sync: Callable[[], T], asynchronous: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run what differs by more than this face hides."""
        return sync()

    def end(self) -> None:
        for client in self._clients:
            client.close()


class AsyncFace(SyncFace):
    """Drives AsyncClient in a loop of its own."""

    is_async = True

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def client(self, server: ScriptedServer | str, **options: Any) -> Any:
        client = AsyncClient(server if isinstance(server, str) else server.url, **options)
        self._clients.append(client)
        return client

    def stream(self, client: Any, messages: Any = "hi", **options: Any) -> Outcome:
        outcome = Outcome(client.stream(messages, **options))

        async def read() -> None:
            try:
                async for piece in outcome.stream:
                    outcome.pieces.append(piece)
            except AIChatFreeError as error:
                outcome.error = error

        started = time.monotonic()
        self.wait(read())
        outcome.seconds = time.monotonic() - started
        return outcome

    def generate(self, client: Any, messages: Any = "hi", **options: Any) -> str:
        return str(self.wait(client.generate(messages, **options)))

    def verify_password(self, client: Any, password: str | None = None) -> bool:
        return bool(self.wait(client.verify_password(password)))

    def close(self, client: Any) -> None:
        self.wait(client.aclose())

    def run(self, sync: Callable[[], T], asynchronous: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self.wait(asynchronous())

    def end(self) -> None:
        for client in self._clients:
            self.wait(client.aclose())
        self.wait(self.loop.shutdown_asyncgens())
        self.wait(self.loop.shutdown_default_executor())
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        assert not left, f"tasks left: {left}"


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Iterator[SyncFace]:
    chosen = AsyncFace() if request.param == "async" else SyncFace()
    yield chosen
    chosen.end()


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait until a condition holds; for what another thread or the kernel does in its own time."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.005)
    return True


def open_sockets() -> int:
    """Sockets of this process, in whatever state."""
    return len(psutil.Process().net_connections())


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
