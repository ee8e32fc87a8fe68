"""Both clients behind one face, so that a test is written once, and what waits for things outside this thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aichatfree import AIChatFreeError, AsyncClient, Client
from aichatfree.testing import ScriptedServer

T = TypeVar("T")


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait until a condition holds; for what another thread or the kernel does in its own time."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.005)
    return True


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
