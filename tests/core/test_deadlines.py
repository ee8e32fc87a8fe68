"""The arithmetic of limits, on a clock that is turned by hand."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from core_kit import Clock
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.deadlines import Deadline
from aichatfree._core.timeouts import Timeout
from aichatfree.errors import Phase

PHASES: tuple[Phase, ...] = get_args(Phase)
NO_LIMIT = Timeout(None, None, None, None)


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def test_each_phase_has_its_own_limit(clock: Clock) -> None:
    deadline = Deadline(Timeout(connect=1, first_byte=2, idle=3), clock)
    for phase, limit in (("connect", 1), ("first_byte", 2), ("idle", 3)):
        deadline.begin(phase)  # type: ignore[arg-type]
        assert deadline.phase == phase
        assert deadline.remaining() == limit
        clock.now += limit - 0.25
        assert deadline.remaining() == 0.25
        assert not deadline.expired()
        clock.now += 0.25
        assert deadline.remaining() == 0
        assert deadline.expired()
        error = deadline.error()
        assert error.phase == phase
        assert f"{limit} s" in str(error)


def test_a_phase_that_begins_anew_has_its_whole_limit(clock: Clock) -> None:
    deadline = Deadline(Timeout(idle=5), clock)
    deadline.begin("idle")
    clock.now += 4
    deadline.begin("idle")
    assert deadline.remaining() == 5


def test_total_counts_from_the_start_through_all_phases(clock: Clock) -> None:
    deadline = Deadline(Timeout(connect=10, idle=10, total=15), clock)
    deadline.begin("connect")
    clock.now += 9
    deadline.begin("idle")
    assert deadline.remaining() == 6
    assert deadline.remaining_total() == 6
    clock.now += 6
    assert deadline.expired()
    assert deadline.error().phase == "total"
    assert "15 s" in str(deadline.error())
    clock.now += 100
    assert deadline.remaining() == 0
    assert deadline.remaining_total() == -100


def test_no_limit(clock: Clock) -> None:
    deadline = Deadline(NO_LIMIT, clock)
    for phase in ("connect", "first_byte", "idle"):
        deadline.begin(phase)  # type: ignore[arg-type]
        clock.now += 1e9
        assert deadline.remaining() is None
        assert not deadline.expired()
    assert all(deadline.limit(phase) is None for phase in PHASES)
    assert deadline.remaining_total() == math.inf
    assert deadline.elapsed() == 3e9


def test_nothing_is_waited_for_before_a_phase_begins_or_while_it_is_paused(clock: Clock) -> None:
    deadline = Deadline(Timeout(connect=1, idle=2), clock)
    assert deadline.phase == "connect"
    clock.now += 50
    assert deadline.remaining() is None
    deadline.begin("idle")
    deadline.pause()
    clock.now += 50
    assert deadline.remaining() is None
    assert not deadline.expired()
    deadline.begin("idle")
    assert deadline.remaining() == 2


def test_the_total_runs_on_while_a_phase_is_paused(clock: Clock) -> None:
    deadline = Deadline(Timeout(idle=2, total=10), clock)
    deadline.begin("idle")
    deadline.pause()
    clock.now += 10
    assert deadline.expired()
    assert deadline.error().phase == "total"


def test_the_limit_a_phase_would_have_now(clock: Clock) -> None:
    deadline = Deadline(Timeout(connect=10, first_byte=None, idle=3, total=12), clock)
    assert deadline.limit("connect") == 10
    assert deadline.limit("first_byte") == 12
    assert deadline.limit("total") == 12
    clock.now += 5
    assert deadline.limit("connect") == 7
    assert deadline.limit("idle") == 3
    clock.now += 10
    assert [deadline.limit(phase) for phase in PHASES] == [0, 0, 0, 0]


def test_of_two_limits_that_pass_together_the_call_s_is_named(clock: Clock) -> None:
    """More time for the phase alone would not help."""
    deadline = Deadline(Timeout(idle=5, total=5), clock)
    deadline.begin("idle")
    clock.now += 5
    assert deadline.error().phase == "total"


@pytest.mark.parametrize("phase", PHASES)
def test_the_error_names_the_limit_and_the_remedy(clock: Clock, phase: Phase) -> None:
    error = Deadline(Timeout(connect=1.5, first_byte=1.5, idle=1.5, total=1.5), clock).error(phase)
    assert error.phase == phase
    assert "1.5 s" in str(error)
    assert f"Timeout({phase}=" in str(error) or "is the address right" in str(error)


@pytest.mark.parametrize("phase", PHASES)
def test_a_foreign_time_out_where_there_is_no_limit_of_ours(clock: Clock, phase: Phase) -> None:
    error = Deadline(NO_LIMIT, clock).error(phase)
    assert (error.phase, str(error)) == (phase, f"timed out ({phase})")


limits = st.none() | st.floats(0.001, 1000)


@given(limits, limits, limits, limits, st.lists(st.tuples(st.sampled_from(PHASES[:3]), st.floats(0, 500)), max_size=6))
def test_remaining_expired_and_error_agree(
    connect: float | None,
    first_byte: float | None,
    idle: float | None,
    total: float | None,
    steps: list[tuple[Phase, float]],
) -> None:
    clock = Clock(1e6)
    timeout = Timeout(connect, first_byte, idle, total)
    deadline = Deadline(timeout, clock)
    for phase, seconds in steps:
        begun = clock.now
        deadline.begin(phase)
        clock.now += seconds
        ends = {
            phase: math.inf if getattr(timeout, phase) is None else begun + getattr(timeout, phase),
            "total": math.inf if total is None else 1e6 + total,
        }
        remaining = deadline.remaining()
        assert deadline.expired() == (remaining == 0) == (min(ends.values()) <= clock.now)
        if remaining:
            assert remaining == pytest.approx(min(ends.values()) - clock.now)
        if deadline.expired():
            assert ends[deadline.error().phase] == min(ends.values())
