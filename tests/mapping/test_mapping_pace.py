"""What map decides, without a network: the window, the rate, the pauses, who is asked again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichatfree import (
    APIError,
    ConnectError,
    InvalidPasswordError,
    InvalidRequestError,
    Message,
    RateLimitError,
    RetryPolicy,
    StreamInterruptedError,
)
from aichatfree._core.call import Clocks
from aichatfree._core.pacing import AHEAD, Item, MapResult, Pacer, Window, check_prompts


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def pacer(self, max_rate: float | None = None, **policy: Any) -> Pacer:
        clocks = Clocks(monotonic=lambda: self.now, wall=lambda: self.now, random=lambda: 0.5)
        return Pacer(max_rate, RetryPolicy(**policy), clocks)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def result(item: Item) -> MapResult:
    return MapResult(item.index, item.prompt, "x", None, 1, 0.0)


def quota(retry_after: float | None = None) -> RateLimitError:
    return RateLimitError("quota", status_code=500, upstream_status=429, retry_after=retry_after)


def reset() -> ConnectError:
    return ConnectError("reset")


def cut() -> StreamInterruptedError:
    error = StreamInterruptedError("cut")
    error.partial = "half"
    return error


def call(sent: int = 1) -> Any:
    class Call:
        attempts = sent

    return Call()


@given(st.integers(1, 5), st.booleans(), st.integers(0, 30), st.data())
def test_the_window(concurrency: int, ordered: bool, count: int, data: st.DataObject) -> None:
    """However fast prompts come back, and however slowly results are fetched, the bounds hold and nothing is lost."""
    window = Window(concurrency, ordered)
    running: list[Item] = []
    left: list[int] = []
    came: list[int] = []
    taken = 0
    while len(left) < count:
        while taken < count and window.has_room:
            running.append(window.take(str(taken)))
            taken += 1
        assert len(running) <= concurrency
        assert taken - len(left) <= AHEAD * concurrency
        if running:
            item = running.pop(data.draw(st.integers(0, len(running) - 1)))
            came.append(item.index)
            window.put(result(item))
        for _ in range(data.draw(st.integers(0, 3)) if running else count):
            popped = window.pop()
            if popped is None:
                break
            left.append(popped.index)
    assert window.empty
    assert window.pop() is None
    assert left == (list(range(count)) if ordered else came)


def test_a_prompt_that_can_be_read_once_is_kept() -> None:
    messages: Iterator[Any] = iter(["a", "b"])
    assert Window(1, True).take(messages).prompt == ["a", "b"]
    assert Window(1, True).take("ab").prompt == "ab"


@given(st.floats(0.5, 5000), st.integers(1, 200), st.lists(st.floats(0, 5), max_size=200))
def test_no_minute_holds_more_than_max_rate(max_rate: float, count: int, idle: list[float]) -> None:
    clock = Clock()
    pacer = clock.pacer(max_rate)
    starts: list[float] = []
    for number in range(count):
        item = Item(number, "x")
        while seconds := pacer.wait(item):
            clock.now += seconds
        starts.append(clock.now)
        clock.now += idle[number] if number < len(idle) else 0
    for first in starts:
        assert sum(first <= start < first + 59.999 for start in starts) <= max_rate + 1
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(gap >= 60 / max_rate - 1e-6 for gap in gaps)


def test_without_a_rate_nobody_waits(clock: Clock) -> None:
    pacer = clock.pacer()
    assert [pacer.wait(Item(number, "x")) for number in range(100)] == [0.0] * 100


def test_a_quota_makes_everyone_wait_as_long_as_the_server_says(clock: Clock) -> None:
    pacer = clock.pacer()
    first, second, third = (Item(number, "x") for number in range(3))
    assert pacer.wait(first) == pacer.wait(second) == 0
    assert pacer.failed(first, quota(58.8), call()) is None
    assert pacer.wait(third) == pytest.approx(58.8)
    clock.now += 1
    assert pacer.failed(second, quota(10), call()) is None  # a shorter one does not shorten it
    assert pacer.wait(first) == pacer.wait(third) == pytest.approx(57.8)
    clock.now += 57.8
    assert pacer.wait(first) == pacer.wait(second) == pacer.wait(third) == 0


def test_a_quota_without_a_time_makes_everyone_wait_as_before_a_retry(clock: Clock) -> None:
    pacer = clock.pacer(initial_delay=4, max_delay=100)
    item, other = Item(0, "x"), Item(1, "y")
    assert pacer.failed(item, quota(), call()) is None
    assert pacer.wait(other) == pytest.approx(2)
    clock.now += 2
    assert pacer.failed(item, quota(), call()) is None
    assert pacer.wait(other) == pytest.approx(4)


def test_the_rate_holds_after_a_pause(clock: Clock) -> None:
    pacer = clock.pacer(60)
    one, two = Item(0, "x"), Item(1, "y")
    pacer.wait(one)
    pacer.failed(one, quota(30), call())
    clock.now += 30
    assert pacer.wait(one) == 0
    assert pacer.wait(two) == pytest.approx(1)


def test_who_is_refused_for_the_quota_is_asked_again_while_others_get_replies(clock: Clock) -> None:
    pacer = clock.pacer(max_retries=2)
    unlucky, lucky = Item(0, "x"), Item(1, "y")
    pacer.wait(unlucky)
    for _ in range(20):
        assert pacer.failed(unlucky, quota(10), call()) is None
        clock.now += 10
        pacer.answered(lucky, "text", call())
    for _ in range(2):
        assert pacer.failed(unlucky, quota(10), call()) is None
        clock.now += 10
    last = pacer.failed(unlucky, quota(10), call())
    assert last is not None
    assert isinstance(last.error, RateLimitError)
    assert last.attempts == 23
    assert len(last.error.attempts) == 22


def test_refusals_of_the_same_moment_are_one_pause(clock: Clock) -> None:
    pacer = clock.pacer(max_retries=1)
    items = [Item(number, "x") for number in range(8)]
    for _ in range(1):
        assert [pacer.failed(item, quota(5), call()) for item in items] == [None] * 8
        clock.now += 5
    assert all(pacer.failed(item, quota(5), call()) for item in items)


def test_without_retries_a_refusal_is_final_and_the_others_wait_all_the_same(clock: Clock) -> None:
    pacer = clock.pacer(max_retries=0)
    refused = pacer.failed(Item(0, "x"), quota(7), call())
    assert refused is not None
    assert not refused.ok
    assert pacer.wait(Item(1, "y")) == pytest.approx(7)


def test_failures_that_may_pass_are_tried_again_after_a_wait_of_their_own(clock: Clock) -> None:
    pacer = clock.pacer(max_retries=2, initial_delay=4)
    item, other = Item(0, "x"), Item(1, "y")
    first, second, third = reset(), cut(), reset()
    assert pacer.wait(item) == 0
    assert pacer.failed(item, first, call()) is None
    assert pacer.wait(item) == pytest.approx(2)
    assert pacer.wait(other) == 0
    clock.now += 2
    assert pacer.wait(item) == 0
    assert pacer.failed(item, second, call(2)) is None  # nobody has seen its half of a reply
    assert pacer.wait(item) == pytest.approx(4)
    clock.now += 5
    final = pacer.failed(item, third, call())
    assert final == MapResult(0, "x", None, third, 4, pytest.approx(7.0))
    assert third.attempts == (first, second)


def test_what_cannot_pass_is_not_tried_again(clock: Clock) -> None:
    pacer = clock.pacer()
    for error in (InvalidPasswordError("no", status_code=401), APIError("no", status_code=413)):
        final = pacer.failed(Item(0, "x"), error, call())
        assert final is not None
        assert final.error is error
    unsent = pacer.failed(Item(0, ""), InvalidRequestError("empty"), None)
    assert unsent is not None
    assert (unsent.attempts, unsent.seconds, unsent.ok, unsent.text) == (0, 0.0, False, None)


def test_a_result_counts_every_request_and_the_time_from_the_first(clock: Clock) -> None:
    pacer = clock.pacer(initial_delay=0)
    item = Item(3, "x")
    pacer.failed(Item(0, "y"), quota(100), call())
    clock.now += 100  # waiting for others is not the prompt's time
    assert pacer.wait(item) == 0
    clock.now += 1
    assert pacer.failed(item, reset(), call(2)) is None
    clock.now += 1
    assert pacer.wait(item) == 0
    clock.now += 1
    assert pacer.answered(item, "text", call()) == MapResult(3, "x", "text", None, 3, 3.0)


@pytest.mark.parametrize("value", [0, -1, True, "8", 2.0, None])
def test_concurrency_is_a_positive_int(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"concurrency is .*: give an int, 1 or more"):
        Window(value, True)


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_ordered_is_a_bool(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"ordered is .*: give True or False"):
        Window(1, value)


@pytest.mark.parametrize("value", [0, -1, True, "60", float("inf"), float("nan")])
def test_max_rate_is_a_positive_number(clock: Clock, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"max_rate is .*: give requests a minute, or None for no limit"):
        clock.pacer(value)


@pytest.mark.parametrize("value", ["hello", b"hello", Message("user", "x"), {"role": "user", "content": "x"}, 3, None])
def test_one_prompt_is_no_collection_of_prompts(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"prompts is .*: give an iterable of prompts"):
        check_prompts(value)
