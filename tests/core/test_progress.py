"""How far a generator has come, without one."""

from __future__ import annotations

import pytest

from aichatfree import StreamInterruptedError
from aichatfree._core.progress import END, Interruptible, MapProgress, Progress, TextProgress


def interrupted(progress: Progress) -> StreamInterruptedError:
    with pytest.raises(StreamInterruptedError) as caught:
        progress.check_whole()
    assert caught.value.by_caller
    return caught.value


def test_what_is_for_the_caller() -> None:
    progress = TextProgress()
    assert not progress.take(Interruptible(lambda: None))
    assert [progress.take(piece) for piece in ("grü", "ße")] == [True, True]
    assert interrupted(progress).partial == "grüße"
    assert not progress.take(END)
    progress.check_whole()


def test_the_count_of_results() -> None:
    progress = MapProgress()
    for count in ("0 results had", "1 result had", "2 results had"):
        assert f"({count} come)" in str(interrupted(progress))
        assert progress.take(object())


def test_a_read_is_interrupted_by_closing() -> None:
    ended: list[str] = []
    progress = MapProgress()
    progress.take(Interruptible(lambda: ended.append("a read")))
    progress.close()
    progress.close()
    assert ended == ["a read"] * 2
    assert progress.closed


def test_closed_just_before_it_could_be_interrupted() -> None:
    """Who closes it then has nothing to interrupt; the reader, who has, does it."""
    ended: list[str] = []
    progress = TextProgress()
    progress.close()
    assert not progress.take(Interruptible(lambda: ended.append("the read")))
    assert ended == ["the read"]


def test_what_has_ended_keeps_nothing_of_its_work() -> None:
    ended: list[str] = []
    progress = TextProgress()
    progress.take(Interruptible(lambda: ended.append("late")))
    progress.take(END)
    progress.check_whole()
    progress.close()
    assert ended == []
