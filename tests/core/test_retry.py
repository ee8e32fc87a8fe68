"""When to try again, after how long, and with what: driven by next() and throw(), on clocks that stand still."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Generator
from typing import Any

import pytest
from core_kit import RECORDED_AT, URL, Clock
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.deadlines import Deadline
from aichatfree._core.retry import MAX_REDIRECTS, Attempt, RetryPolicy, attempts
from aichatfree._core.timeouts import Timeout
from aichatfree._core.wire.headers import Headers
from aichatfree._core.wire.requests import Request
from aichatfree._core.wire.signing import Signer
from aichatfree.errors import (
    AIChatFreeError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConnectError,
    EmptyReplyError,
    InvalidPasswordError,
    InvalidRequestError,
    InvalidSignatureError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ReplyTooLargeError,
    RequestTimeoutError,
    ServerError,
    StreamInterruptedError,
)


def error_of(kind: Callable[..., AIChatFreeError], partial: str = "", **attributes: Any) -> AIChatFreeError:
    error = kind("it failed")
    error.partial = partial
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def interrupted(partial: str = "", in_band: bool = False) -> AIChatFreeError:
    return error_of(StreamInterruptedError, partial, in_band=in_band)


# --- Which errors may pass ------------------------------------------------------------------------------------------

MAY_PASS: list[tuple[AIChatFreeError, bool, bool]] = [
    # the error, whether stream() tries again, whether generate() does
    (error_of(ConnectError), True, True),
    (error_of(RequestTimeoutError, phase="connect"), True, True),
    (error_of(RequestTimeoutError, phase="first_byte"), True, True),
    (error_of(RequestTimeoutError, phase="idle"), False, False),
    (error_of(RequestTimeoutError, phase="total"), False, False),
    (error_of(RequestTimeoutError, "text", phase="first_byte"), False, False),
    (interrupted(), True, True),
    (interrupted("text"), False, True),
    (interrupted("text", in_band=True), False, True),
    (interrupted(in_band=True), False, False),
    (error_of(StreamInterruptedError, by_caller=True), False, False),
    (error_of(StreamInterruptedError, "text", by_caller=True), False, False),
    (error_of(RateLimitError, status_code=429), True, True),
    (error_of(RateLimitError, status_code=500, upstream_status=429), True, True),
    (error_of(OverloadedError, status_code=503), True, True),
    (error_of(OverloadedError, status_code=500, upstream_status=503), True, True),
    (error_of(ServerError, status_code=500), True, True),
    (error_of(ServerError, status_code=502), True, True),
    (error_of(ServerError, status_code=504), True, True),
    (error_of(ServerError, status_code=520), True, True),
    (error_of(ServerError, status_code=500, upstream_status=500), True, True),
    (error_of(ServerError, status_code=500, upstream_status=502), True, True),
    (error_of(ServerError, status_code=500, upstream_status=404), False, False),
    (error_of(ServerError, status_code=500, upstream_status=400), False, False),
    (error_of(ServerError, status_code=501), False, False),
    (error_of(ServerError, status_code=505), False, False),
    (error_of(APIError, status_code=408), True, True),
    (error_of(APIError, status_code=413), False, False),
    (error_of(APIError, status_code=418), False, False),
    (error_of(APIError, status_code=200), False, False),
    (error_of(BadRequestError, status_code=400), False, False),
    (error_of(AuthenticationError, status_code=401), False, False),
    (error_of(InvalidPasswordError, status_code=401), False, False),
    (error_of(InvalidSignatureError, status_code=401), False, False),
    (error_of(PermissionDeniedError, status_code=403), False, False),
    (error_of(PermissionDeniedError, status_code=500, upstream_status=400), False, False),
    (error_of(NotFoundError, status_code=404), False, False),
    (error_of(RedirectError, status_code=307), False, False),
    (error_of(InvalidRequestError), False, False),
    (error_of(EmptyReplyError), False, False),
    (error_of(ReplyTooLargeError, "text"), False, False),
    (error_of(AIChatFreeError), False, False),
]


@pytest.mark.parametrize(("error", "stream", "generate"), MAY_PASS)
def test_what_retryable(error: AIChatFreeError, stream: bool, generate: bool) -> None:
    assert RetryPolicy().retryable(error) is stream
    assert RetryPolicy().retryable(error, restartable=True) is generate


@pytest.mark.parametrize("error", [error for error, stream, _ in MAY_PASS if stream])
def test_nothing_is_tried_again_once_the_caller_has_text(error: AIChatFreeError) -> None:
    again = type(error)("it failed")
    vars(again).update(vars(error), partial="text")
    assert not RetryPolicy().retryable(again)


# --- How long to wait -----------------------------------------------------------------------------------------------


@given(
    st.integers(1, 5000),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(0, 1, exclude_max=True),
)
def test_full_jitter(retry: int, initial: float, longest: float, chance: float) -> None:
    policy = RetryPolicy(initial_delay=initial, max_delay=longest)
    delay = policy.delay(retry, error_of(ConnectError), lambda: chance)
    assert 0 <= delay <= longest
    bound = min(longest, initial * 2.0 ** min(retry - 1, 60))
    assert delay == chance * bound


def test_the_bound_doubles() -> None:
    policy = RetryPolicy(initial_delay=0.5, max_delay=3)
    bounds = [policy.delay(retry, error_of(ConnectError), lambda: 1.0) for retry in range(1, 6)]
    assert bounds == [0.5, 1, 2, 3, 3]
    assert policy.delay(10**9, error_of(ConnectError), lambda: 1.0) == 3


@given(st.floats(0, 1e12), st.floats(0, 1e6))
def test_what_the_server_asks_for_is_waited_up_to_a_cap(asked: float, cap: float) -> None:
    policy = RetryPolicy(max_delay=1, max_retry_after=cap)
    error = error_of(RateLimitError, retry_after=asked)
    assert policy.delay(1, error, lambda: 0.5) == min(asked, cap)


def test_a_server_that_asks_for_nothing_gets_jitter() -> None:
    assert RetryPolicy(initial_delay=4).delay(1, error_of(RateLimitError), lambda: 0.25) == 1


@pytest.mark.parametrize("name", ["initial_delay", "max_delay", "max_retry_after"])
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, "1", None, True, [1], 1j])
def test_a_delay_is_a_number(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name} is .*: give seconds as a number, 0 or more"):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("value", [-1, 1.0, math.nan, "1", None, True, False])
def test_max_retries_is_an_integer(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"max_retries is .*: give an int, 0 for no retries"):
        RetryPolicy(max_retries=value)


# --- The tries of one call ------------------------------------------------------------------------------------------


class Flow:
    """attempts() with its clocks, and what it asked for."""

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        total: float | None = None,
        restartable: bool = False,
        chance: float = 0.5,
    ) -> None:
        self.clock, self.wall = Clock(100.0), Clock(RECORDED_AT)
        self.signer = Signer("", self.wall)
        self.urls: list[str | None] = []

        def make_request(url: str | None) -> Request:
            self.urls.append(url)
            time, _ = self.signer.sign("x")
            return Request("POST", url or URL, {}, str(time).encode())

        self.flow: Generator[Attempt, AIChatFreeError, None] = attempts(
            make_request,
            policy=policy or RetryPolicy(),
            deadline=Deadline(Timeout(total=total), self.clock),
            signer=self.signer,
            random=lambda: chance,
            restartable=restartable,
        )
        self.attempt = next(self.flow)

    def fail(self, error: AIChatFreeError) -> Attempt:
        self.attempt = self.flow.throw(error)
        return self.attempt

    def ends_with(self, error: AIChatFreeError) -> AIChatFreeError:
        with pytest.raises(AIChatFreeError) as caught:
            self.flow.throw(error)
        with pytest.raises(StopIteration):
            next(self.flow)
        return caught.value


def test_the_first_try_waits_for_nothing() -> None:
    flow = Flow()
    assert (flow.attempt.number, flow.attempt.delay) == (1, 0)
    assert flow.urls == [], "the request is made when it is asked for"
    assert flow.attempt.request.url == URL
    flow.flow.close()


def test_gives_up_after_max_retries_and_keeps_every_error() -> None:
    flow = Flow(RetryPolicy(max_retries=2, initial_delay=1))
    first, second, third = error_of(ConnectError), error_of(ServerError, status_code=502), error_of(OverloadedError)
    assert (flow.fail(first).number, flow.attempt.delay) == (2, 0.5)
    assert (flow.fail(second).number, flow.attempt.delay) == (3, 1)
    assert flow.ends_with(third) is third
    assert (first.attempts, second.attempts, third.attempts) == ((), (first,), (first, second))


def test_no_retries() -> None:
    error = error_of(ConnectError)
    assert Flow(RetryPolicy(max_retries=0)).ends_with(error) is error


@pytest.mark.parametrize("error", [error for error, stream, _ in MAY_PASS if not stream])
def test_what_cannot_pass_ends_the_call_at_once(error: AIChatFreeError) -> None:
    assert Flow().ends_with(error) is error


def test_a_reply_that_broke_off_is_started_over_where_nobody_saw_it() -> None:
    assert Flow(restartable=True).fail(interrupted("text")).number == 2
    error = interrupted("text")
    assert Flow().ends_with(error) is error


def test_each_try_is_signed_when_it_is_sent() -> None:
    flow = Flow()
    assert flow.attempt.request.body == b"1764000000000"
    flow.fail(error_of(ConnectError))
    flow.wall.now += 1.5
    assert flow.attempt.request.body == b"1764000001500"
    flow.wall.now += 1
    assert flow.attempt.request.body == b"1764000002500"


def test_other_errors_pass_through() -> None:
    flow = Flow()
    with pytest.raises(ZeroDivisionError):
        flow.flow.throw(ZeroDivisionError())  # type: ignore[arg-type]


# --- Within the limit of the call -----------------------------------------------------------------------------------


def test_a_wait_that_would_not_end_in_time_is_not_begun() -> None:
    flow = Flow(RetryPolicy(max_retries=9, initial_delay=8), total=10)
    first, second = error_of(ConnectError), error_of(ConnectError, "")
    assert flow.fail(first).delay == 4
    flow.clock.now += 6
    error = flow.ends_with(second)
    assert isinstance(error, RequestTimeoutError)
    assert error.phase == "total"
    assert error.attempts == (first, second)
    assert error.__cause__ is second
    assert "longer than 10 s: raise Timeout(total=...)" in str(error)
    assert str(error).endswith("no time is left for another attempt after: it failed")


def test_the_servers_own_word_is_kept_where_its_wait_is_too_long() -> None:
    error = error_of(RateLimitError, retry_after=30)
    assert Flow(total=20).ends_with(error) is error


def test_the_text_so_far_is_kept() -> None:
    flow = Flow(RetryPolicy(initial_delay=100, max_delay=100), total=1, restartable=True)
    assert flow.ends_with(interrupted("text")).partial == "text"


def test_no_time_is_left_even_for_a_retry_at_once() -> None:
    flow = Flow(total=1, chance=0.0)
    flow.clock.now += 1
    assert isinstance(flow.ends_with(error_of(ConnectError)), RequestTimeoutError)


# --- What is no retry -----------------------------------------------------------------------------------------------


def refused(skew: float | None) -> AIChatFreeError:
    headers = Headers()
    if skew is not None:
        date = datetime.datetime.fromtimestamp(RECORDED_AT + skew, datetime.UTC)
        headers = Headers([("Date", date.strftime("%a, %d %b %Y %H:%M:%S GMT"))])
    return error_of(InvalidSignatureError, status_code=401, headers=headers)


@pytest.mark.parametrize("skew", [-3600, -20, 20, 3600])
def test_a_signature_refused_by_another_clock_is_made_again_once(skew: float) -> None:
    flow = Flow(RetryPolicy(max_retries=0))
    assert (flow.fail(refused(skew)).number, flow.attempt.delay) == (2, 0)
    assert flow.attempt.request.body == str(int(RECORDED_AT + skew) * 1000).encode()
    error = refused(2 * skew)
    assert flow.ends_with(error) is error


@pytest.mark.parametrize("skew", [None, 0, 10, -10])
def test_a_signature_refused_by_the_same_clock_is_final(skew: float | None) -> None:
    error = refused(skew)
    assert Flow().ends_with(error) is error


def test_earlier_errors_keep_no_frames() -> None:
    """Those of a call hold the flow of its attempts, which holds the errors."""
    flow = Flow(RetryPolicy(max_retries=1))
    try:
        raise error_of(OverloadedError, status_code=503)
    except AIChatFreeError as error:
        flow.fail(error)
    last = flow.ends_with(error_of(OverloadedError, status_code=503))
    assert [error.__traceback__ for error in last.attempts] == [None]


def test_what_costs_no_retry_waits_for_nothing() -> None:
    """Not for what was waited for before an earlier attempt either."""
    flow = Flow(RetryPolicy(max_retries=1))
    assert flow.fail(error_of(OverloadedError, status_code=503, retry_after=7.0)).delay == 7
    assert flow.fail(error_of(ConnectError, reused_connection=True)).delay == 0


def test_a_dead_pooled_connection_costs_nothing_once() -> None:
    flow = Flow(RetryPolicy(max_retries=1, initial_delay=1))
    dead = [error_of(ConnectError, reused_connection=True) for _ in range(3)]
    assert flow.fail(dead[0]).delay == 0
    assert flow.fail(dead[1]).delay == 0.5
    assert flow.ends_with(dead[2]) is dead[2]
    assert dead[2].attempts == (dead[0], dead[1])


def redirect(next_url: str | None) -> AIChatFreeError:
    return error_of(RedirectError, status_code=307, next_url=next_url)


def test_a_redirect_is_followed_a_few_times() -> None:
    flow = Flow(RetryPolicy(max_retries=0))
    targets = [f"http://h:3000/{number}" for number in range(MAX_REDIRECTS)]
    for target in targets:
        assert flow.fail(redirect(target)).delay == 0
        assert flow.attempt.request.url == target
    error = redirect("http://h:3000/once-more")
    assert flow.ends_with(error) is error
    assert len(error.attempts) == MAX_REDIRECTS == 3
    # An address may repeat what the server was sent: nothing keeps it.
    assert [each.next_url for each in (*error.attempts, error) if isinstance(each, RedirectError)] == [None] * 4


def test_a_redirect_that_leads_nowhere_is_final() -> None:
    error = redirect(None)
    assert Flow().ends_with(error) is error


def test_a_retry_goes_where_the_redirect_led() -> None:
    flow = Flow()
    flow.fail(redirect("http://h:3000/moved"))
    assert flow.fail(error_of(ConnectError)).request.url == "http://h:3000/moved"


outcomes = st.sampled_from(
    [
        lambda: error_of(ConnectError),
        lambda: error_of(ConnectError, reused_connection=True),
        lambda: error_of(RateLimitError, retry_after=3.0),
        lambda: error_of(ServerError, status_code=502),
        lambda: redirect("http://h:3000/x"),
        lambda: refused(3600),
        lambda: interrupted(),
        lambda: error_of(BadRequestError, status_code=400),
    ]
)


@given(st.lists(outcomes, min_size=40, max_size=40), st.integers(0, 5), st.none() | st.floats(0.1, 30))
def test_every_call_ends(makers: list[Callable[[], AIChatFreeError]], max_retries: int, total: float | None) -> None:
    flow = Flow(RetryPolicy(max_retries=max_retries), total=total)
    thrown: list[AIChatFreeError] = []
    waited = 0.0
    for make in makers:
        error = make()
        thrown.append(error)
        try:
            attempt = flow.fail(error)
        except AIChatFreeError as raised:
            assert raised.attempts == tuple(thrown[:-1]) if raised is error else tuple(thrown)
            break
        assert attempt.number == len(thrown) + 1
        waited += attempt.delay
        flow.clock.now += attempt.delay
        assert total is None or waited < total
    assert len(thrown) <= 1 + max_retries + MAX_REDIRECTS + 2
