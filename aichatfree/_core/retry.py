"""When to try again, after how long, and with what. No I/O, no sleeping: see :func:`attempts`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import (
    AIChatFreeError,
    APIError,
    ConnectError,
    InvalidRequestError,
    InvalidSignatureError,
    OverloadedError,
    RateLimitError,
    RedirectError,
    RequestTimeoutError,
    ServerError,
    StreamInterruptedError,
)
from .deadlines import Deadline
from .timeouts import MAX_SECONDS
from .wire.frozen import Frozen

if TYPE_CHECKING:
    from .wire.requests import Request
    from .wire.signing import Signer

MAX_REDIRECTS = 3
_NEVER_PASSES = (501, 505)


class RetryPolicy(Frozen):
    """How often a call is retried, and how long to wait before that.

    The wait before retry *n* is drawn evenly between 0 and ``initial_delay * 2**(n-1)`` ("full jitter"), at most
    ``max_delay``. Where the server says how long to wait, that is taken instead, at most ``max_retry_after``.

    Args:
        max_retries: Attempts after the first one; 0 switches retries off.
        initial_delay: Seconds, the bound of the first wait.
        max_delay: Seconds, the bound of every wait that this policy chooses.
        max_retry_after: Seconds, the bound of a wait that the server asks for.

    Raises:
        InvalidRequestError: A number is negative, is none, or is more than :data:`~.deadlines.MAX_SECONDS`.
    """

    __module__ = "aichatfree"

    max_retries: int
    initial_delay: float
    max_delay: float
    max_retry_after: float

    def __init__(
        self,
        max_retries: int = 2,
        initial_delay: float = 0.5,
        max_delay: float = 8.0,
        max_retry_after: float = 60.0,
    ) -> None:
        if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
            raise InvalidRequestError(f"max_retries is {max_retries!r}: give an int, 0 for no retries")
        delays = {"initial_delay": initial_delay, "max_delay": max_delay, "max_retry_after": max_retry_after}
        for name, value in delays.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SECONDS:
                raise InvalidRequestError(
                    f"{name} is {value!r}: give seconds as a number, 0 or more; the most is {MAX_SECONDS:g}"
                )
        super().__init__(max_retries=max_retries, **delays)

    def retryable(self, error: AIChatFreeError, *, restartable: bool = False) -> bool:
        """Whether the same request may succeed where it has just met ``error``.

        Args:
            error: What the last attempt ended with.
            restartable: The caller has seen nothing of a reply that broke off, so it may start over.
        """
        if isinstance(error, StreamInterruptedError):
            # With no text before it, the in-band error means that the prompt was blocked, and it will be again.
            return not error.by_caller and (restartable if error.partial else not error.in_band)
        if error.partial:
            return False
        if isinstance(error, RequestTimeoutError):
            return error.phase in ("connect", "first_byte")
        if isinstance(error, ServerError):
            upstream_refused = error.upstream_status is not None and 400 <= error.upstream_status < 500
            return error.status_code not in _NEVER_PASSES and not upstream_refused
        if isinstance(error, APIError) and error.status_code == 408:
            return True
        return isinstance(error, (ConnectError, RateLimitError, OverloadedError))

    def delay(self, retry: int, error: AIChatFreeError, random: Callable[[], float]) -> float:
        """Seconds to wait before retry number ``retry`` (1 is the first).

        Args:
            retry: Which retry it is.
            error: What the last attempt ended with.
            random: A number in [0, 1), such as :func:`random.random`.
        """
        asked = asked_delay(error)
        if asked is not None:
            return min(asked, self.max_retry_after)
        return random() * min(self.max_delay, self.initial_delay * 2.0 ** min(retry - 1, 60))


def asked_delay(error: AIChatFreeError) -> float | None:
    """Seconds that the server asked to wait, None if it did not say."""
    return error.retry_after if isinstance(error, APIError) else None


class Attempt(NamedTuple):
    """One attempt of a call.

    Args:
        number: 1 for the first.
        delay: Seconds to wait before it.
        make_request: Builds and signs the request; called when the wait is over, so that its time is fresh.
    """

    number: int
    delay: float
    make_request: Callable[[], Request]

    @property
    def request(self) -> Request:
        """The request, signed now."""
        return self.make_request()

    def __repr__(self) -> str:
        return f"<Attempt {self.number}, after {self.delay:g} s>"


def attempts(
    make_request: Callable[[str | None], Request],
    *,
    policy: RetryPolicy,
    deadline: Deadline,
    signer: Signer,
    random: Callable[[], float],
    restartable: bool = False,
) -> Generator[Attempt, AIChatFreeError, None]:
    """Yield the attempts of one call; throw in the error of the last to get the next.

    A signature refused while the server's clock clearly differs is signed again once with the server's time, a
    pooled connection that turned out dead is replaced once, and a redirect within the same origin (or its upgrade to
    https) is followed; none of these counts as a retry.

    Args:
        make_request: Builds and signs a request, for the URL given, or for the client's own if that is None.
        policy: How often, and how long between.
        deadline: The limits of the call: ``total`` spans the waits.
        signer: Learns the server's clock.
        random: A number in [0, 1).
        restartable: A reply that broke off may be asked for again, since the caller has seen nothing of it.

    Yields:
        The next attempt; its ``delay`` is to be waited for before its ``request`` is made.

    Raises:
        AIChatFreeError: The error thrown in, when the call gives up, with the earlier ones as its ``attempts``.
    """
    errors: list[AIChatFreeError] = []
    url: str | None = None
    retries = redirects = 0
    resynced = reconnected = False
    delay = 0.0
    while True:
        try:
            yield Attempt(len(errors) + 1, delay, partial(make_request, url))
        except AIChatFreeError as error:
            error.attempts = tuple(errors)
            delay = 0.0
            next_url = None
            if isinstance(error, RedirectError):  # the address may repeat what the server was sent: it is not kept
                next_url, error.next_url = error.next_url, None
            if next_url and redirects < MAX_REDIRECTS:
                redirects += 1
                url = next_url
            elif isinstance(error, InvalidSignatureError) and not resynced and signer.learn(error.headers.get("date")):
                resynced = True
            elif isinstance(error, ConnectError) and error.reused_connection and not reconnected:
                reconnected = True
            elif retries < policy.max_retries and policy.retryable(error, restartable=restartable):
                retries += 1
                delay = policy.delay(retries, error, random)
                if delay >= deadline.remaining_total():
                    if asked_delay(error) is not None:
                        raise
                    raise _out_of_time(deadline, errors, error) from error
            else:
                raise
            # Its frames are those of the call, which hold this generator, which holds the error: a cycle a retry.
            errors.append(error.with_traceback(None))


def _out_of_time(deadline: Deadline, errors: list[AIChatFreeError], last: AIChatFreeError) -> RequestTimeoutError:
    passed = f"{deadline.error('total')}; no time is left for another attempt"
    timeout = RequestTimeoutError(f"{passed} after: {last}", "total")
    timeout._own_words = passed
    timeout.partial = last.partial
    timeout.attempts = (*errors, last)
    return timeout
