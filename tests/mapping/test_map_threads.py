"""The threads of ``Client.map``: what they see, how many there are, and what happens where none can be started."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

import pytest

from aichatfree import Client
from aichatfree.testing import MemoryTransport, RecordedRequest, Reply

who: ContextVar[str] = ContextVar("who", default="nobody")


class Asked(MemoryTransport):
    """Notes what the thread of each call sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []
        self.default = self.note

    def note(self, request: RecordedRequest) -> Reply:
        self.seen.append((who.get(), threading.current_thread().name))
        return Reply(f"re: {request.prompt}")


def test_calls_see_the_context_variables_of_the_caller() -> None:
    transport = Asked()
    token = who.set("the caller")
    try:
        texts = [result.text for result in Client(transport=transport).map(map(str, range(20)), concurrency=4)]
    finally:
        who.reset(token)
    assert texts == [f"re: {number}" for number in range(20)]
    assert {seen for seen, _ in transport.seen} == {"the caller"}
    assert all(name.startswith("aichatfree-map-") for _, name in transport.seen)


def test_threads_are_kept_for_the_next_prompt() -> None:
    transport = Asked()
    assert len(list(Client(transport=transport).map(map(str, range(200)), concurrency=3))) == 200
    assert len({name for _, name in transport.seen}) <= 3


@pytest.mark.parametrize("started", [0, 1])
def test_where_threads_cannot_be_started(started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One does the work of all; where there is none, the error is the one that happened."""
    start = threading.Thread.start
    allowed = iter([True] * started)

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("aichatfree-map-") and not next(allowed, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    results: Any = Client(transport=Asked()).map(["one", "two", "three"], concurrency=3)
    if started:
        assert [result.text for result in results] == ["re: one", "re: two", "re: three"]
    else:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            list(results)
