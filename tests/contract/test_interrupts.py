"""Ctrl-C, caught, and then the reading goes on: wherever it struck, no loop ends as if it had seen everything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aichatfree import Client, StreamInterruptedError
from aichatfree.testing import MemoryTransport, Reply

PIECES = ["Hel", "lo, ", "wörld"]


def interrupted_at(step: int, read: Callable[[], None]) -> bool:
    """Whether the reading was interrupted before its end. Signals are seen where a function begins, or has returned."""
    left, struck = step, False

    def profile(frame: Any, event: str, argument: object) -> None:
        nonlocal left, struck
        if event in ("call", "c_return"):
            left -= 1
            if left < 0 and not struck:
                struck = True
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        read()
    except (KeyboardInterrupt, RuntimeError):  # the latter from a lock of Python's own that the interrupt has broken
        pass
    finally:
        sys.setprofile(None)
    return struck


def client() -> Client:
    transport = MemoryTransport()
    transport.default = Reply(PIECES)
    return Client(transport=transport)


def a_stream() -> Iterator[str]:
    return client().stream("Hi")


def a_map() -> Iterator[Any]:
    return client().map(["a", "b", "c"], concurrency=2)


def whole_stream(pieces: list[str]) -> bool:
    return "".join(pieces) == "".join(PIECES)


def whole_map(results: list[Any]) -> bool:
    return [result.index for result in results] == [0, 1, 2]


@pytest.mark.parametrize(("make", "is_whole", "stride"), [(a_stream, whole_stream, 1), (a_map, whole_map, 3)])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_reading_on_after_an_interrupt(make: Callable[[], Iterator[Any]], is_whole: Any, stride: int) -> None:
    step, struck, normal_ends = -stride, True, []
    while struck:
        step += stride
        reading, had = make(), []

        def read(items: Iterator[Any] = reading, into: list[Any] = had) -> None:
            for item in items:
                into.append(item)

        struck = interrupted_at(step, read)
        try:
            read()
        except StreamInterruptedError:
            normal_ends.append(False)
        else:
            normal_ends.append(True)
            assert is_whole(had), step
    assert step > 100
    assert set(normal_ends) == {True, False}
