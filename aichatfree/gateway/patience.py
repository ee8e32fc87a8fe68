"""How long the gateway waits where it is told to, before it passes that on. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from .._core.retry import RetryPolicy
from ..errors import AIChatFreeError, APIError

__all__ = ["MAX_WAIT_SECONDS", "Patience", "may_help"]

MAX_WAIT_SECONDS = 10.0
"""The longest told wait that is sat out here. A caller who is told of a longer one can do something else meanwhile."""


class Patience(RetryPolicy):
    """A client's own policy, except that an error that names a long wait is final.

    Args:
        policy: The client's own.
    """

    _policy: RetryPolicy

    def __init__(self, policy: RetryPolicy) -> None:
        super().__init__(policy.max_retries, policy.initial_delay, policy.max_delay, policy.max_retry_after)
        vars(self)["_policy"] = policy

    def retryable(self, error: AIChatFreeError, *, restartable: bool = False) -> bool:
        """Whether the same request may succeed, and soon, where it has just met ``error``."""
        told = error.retry_after if isinstance(error, APIError) else None
        if told is not None and told > MAX_WAIT_SECONDS:
            return False
        return self._policy.retryable(error, restartable=restartable)

    def delay(self, retry: int, error: AIChatFreeError, random: Callable[[], float]) -> float:
        """Seconds to wait before an attempt, as the client's own policy has it."""
        return self._policy.delay(retry, error, random)


def may_help(error: AIChatFreeError, *, restartable: bool) -> bool:
    """Whether another attempt of the caller may succeed where the call ended with ``error``."""
    return RetryPolicy().retryable(error, restartable=restartable)
