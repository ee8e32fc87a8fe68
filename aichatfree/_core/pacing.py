"""Many prompts on their way at once: how many, in which order they come back, how fast, and when all of them wait.

No I/O, no sleeping: ``map.py`` in either wing does what is decided here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import Any

from ..errors import AIChatFreeError, InvalidRequestError, RateLimitError
from .call import Call, Clocks
from .client import CLOCKS, BaseClient
from .retry import RetryPolicy
from .timeouts import ClientTimeout, Timeout
from .wire.frozen import Frozen
from .wire.messages import Message, Messages

AHEAD = 2
"""As many times the concurrency may be taken from the prompts before their results are: a slow prompt in front holds
the ordered results up, but need not hold up the work."""

LOOK_SECONDS = 0.25
"""How long a pause may take to end when the client is closed."""


class MapResult(Frozen):
    """What came of one prompt.

    Args:
        index: Its place among the prompts, from 0.
        prompt: The prompt as it was given; an iterator of messages as a list.
        text: The whole reply, or None.
        error: Why there is no whole reply, or None. What had come of one is in its ``partial``.
        attempts: Requests sent for it, 0 if it could not be sent at all.
        seconds: From the start of its first request to its end, with the waits between attempts.
    """

    __module__ = "aichatfree"

    index: int
    prompt: Messages
    text: str | None
    error: AIChatFreeError | None
    attempts: int
    seconds: float

    def __init__(
        self,
        index: int,
        prompt: Messages,
        text: str | None,
        error: AIChatFreeError | None,
        attempts: int,
        seconds: float,
    ) -> None:
        super().__init__(index=index, prompt=prompt, text=text, error=error, attempts=attempts, seconds=seconds)

    @property
    def ok(self) -> bool:
        """Whether there is a reply."""
        return self.error is None


class Item:
    """One prompt on its way."""

    def __init__(self, index: int, prompt: Messages) -> None:
        self.index = index
        self.prompt = prompt
        self.not_before = -math.inf
        self.started: float | None = None
        self.attempts = 0
        self.errors: list[AIChatFreeError] = []


class Window:
    """Which prompts are on their way, and which result may leave next.

    Args:
        concurrency: As many prompts are on their way at once, at most.
        ordered: Results leave in the order of their prompts, else as they come.

    Raises:
        InvalidRequestError: An argument cannot be used.
    """

    def __init__(self, concurrency: int, ordered: bool) -> None:
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise InvalidRequestError(f"concurrency is {concurrency!r}: give an int, 1 or more")
        if not isinstance(ordered, bool):
            raise InvalidRequestError(f"ordered is {ordered!r}: give True or False")
        self._concurrency = concurrency
        self._ordered = ordered
        self._taken = 0
        self._left = 0
        self._waiting: dict[int, MapResult] = {}

    @property
    def has_room(self) -> bool:
        """Whether another prompt may be taken."""
        inside = self._taken - self._left
        return inside - len(self._waiting) < self._concurrency and inside < AHEAD * self._concurrency

    @property
    def empty(self) -> bool:
        """Whether the result of every prompt taken has left."""
        return self._taken == self._left

    def take(self, prompt: Messages) -> Item:
        """A prompt sets out."""
        if isinstance(prompt, Iterator):
            prompt = list(prompt)  # it may have to be read again
        item = Item(self._taken, prompt)
        self._taken += 1
        return item

    def put(self, result: MapResult) -> None:
        """A prompt has come back."""
        self._waiting[result.index] = result

    def pop(self) -> MapResult | None:
        """The result that may leave now, if there is one."""
        if not self._waiting:
            return None
        index = self._left if self._ordered else next(iter(self._waiting))
        result = self._waiting.pop(index, None)
        self._left += result is not None
        return result


class Pacer:
    """When the next request may go out, and whether a prompt is asked again.

    A refusal for the quota makes everyone wait, as long as the server says or, where it does not, as the policy would
    wait before a retry. It counts against no single prompt: prompts that are refused are asked again until
    ``max_retries`` such pauses in a row have brought no reply at all.

    Args:
        max_rate: Requests a minute, retries included, evenly spaced; None for no limit.
        policy: Which failures may pass, and how long to wait before a retry.
        clocks: Time and chance.

    Raises:
        InvalidRequestError: ``max_rate`` is not a positive number.
    """

    def __init__(self, max_rate: float | None, policy: RetryPolicy, clocks: Clocks) -> None:
        if max_rate is not None and (
            isinstance(max_rate, bool) or not isinstance(max_rate, (int, float)) or not 0 < max_rate < math.inf
        ):
            raise InvalidRequestError(f"max_rate is {max_rate!r}: give requests a minute, or None for no limit")
        self._interval = 60.0 / max_rate if max_rate else 0.0
        self._policy = policy
        self._now = clocks.monotonic
        self._random = clocks.random
        self._next_slot = -math.inf
        self._resume = -math.inf
        self._pauses = 0

    def wait(self, item: Item) -> float:
        """Seconds after which to ask again whether the prompt's request may go out; 0 if it goes out now."""
        now = self._now()
        seconds = max(self._next_slot, self._resume, item.not_before) - now
        if seconds > 0:
            return seconds
        self._next_slot = now + self._interval
        if item.started is None:
            item.started = now
        return 0.0

    def answered(self, item: Item, text: str, call: Call) -> MapResult:
        """The result of a prompt that got its reply."""
        self._pauses = 0
        return self._result(item, text, None, call)

    def failed(self, item: Item, error: AIChatFreeError, call: Call | None) -> MapResult | None:
        """The result of a prompt whose request failed, None if it is to be asked again."""
        now = self._now()
        attempts = len(item.errors) + 1
        again = self._policy.retryable(error, restartable=True)
        if isinstance(error, RateLimitError):
            if now >= self._resume:  # else it was on its way before the pause that is on began
                self._pauses += 1
            waits = max(1, self._pauses)
            delay = self._policy.delay(waits, error, self._random)
            self._resume = max(self._resume, now + delay)
            again = again and self._pauses <= self._policy.max_retries
        else:
            again = again and attempts <= self._policy.max_retries
            item.not_before = now + self._policy.delay(attempts, error, self._random) if again else now
        if not again:
            error.attempts = (*item.errors, *error.attempts)
            return self._result(item, None, error, call)
        item.errors += (*error.attempts, error)
        item.attempts += call.attempts if call else 0
        return None

    def _result(self, item: Item, text: str | None, error: AIChatFreeError | None, call: Call | None) -> MapResult:
        attempts = item.attempts + (call.attempts if call else 0)
        seconds = 0.0 if item.started is None else self._now() - item.started
        return MapResult(item.index, item.prompt, text, error, attempts, seconds)


def check_prompts(prompts: object, kinds: tuple[type, ...] = (Iterable,)) -> None:
    """Refuse what is one prompt, or none at all, before anything is sent.

    Raises:
        InvalidRequestError: It is not a collection of prompts.
    """
    if isinstance(prompts, (str, bytes, Message, Mapping)):
        raise InvalidRequestError(f"prompts is a single {type(prompts).__name__}: give an iterable of prompts")
    if not isinstance(prompts, kinds):
        raise InvalidRequestError(f"prompts is of type {type(prompts).__name__}: give an iterable of prompts")


class Plan:
    """What a map was asked for: its window and its pace, which threads may share.

    Args:
        window: Which prompts are on their way.
        pacer: When the next request may go out.
        return_errors: A failure is a result; else it is raised.
        model: The label of each call.
        timeout: The limits of each call.
    """

    def __init__(
        self,
        window: Window,
        pacer: Pacer,
        return_errors: bool,
        model: str | None,
        timeout: Timeout | ClientTimeout,
    ) -> None:
        self.window = window
        self._pacer = pacer
        self._lock = Lock()  # around the pacer
        self._return_errors = return_errors
        self._model = model
        self._timeout = timeout

    @classmethod
    def of(
        cls,
        client: BaseClient[Any, Any],
        *,
        concurrency: int,
        ordered: bool,
        return_errors: bool,
        max_rate: float | None,
        model: str | None,
        timeout: Timeout | float | ClientTimeout | None,
    ) -> "Plan":
        """Check the arguments of a map.

        Raises:
            InvalidRequestError: One cannot be used, or the client is closed.
        """
        client._check_open()
        if not isinstance(return_errors, bool):
            raise InvalidRequestError(f"return_errors is {return_errors!r}: give True or False")
        pacer = Pacer(max_rate, client._settings.retry, CLOCKS)
        limits = timeout if isinstance(timeout, ClientTimeout) else Timeout.of(timeout)
        return cls(Window(concurrency, ordered), pacer, return_errors, model, limits)

    def call(self, asker: BaseClient[Any, Any], item: Item) -> Call:
        """The call that asks a prompt."""
        return asker._generate_call(item.prompt, model=self._model, timeout=self._timeout, restartable=True)

    def wait(self, item: Item) -> float:
        """See :meth:`Pacer.wait`."""
        with self._lock:
            return self._pacer.wait(item)

    def answered(self, item: Item, text: str, call: Call) -> MapResult:
        """See :meth:`Pacer.answered`."""
        with self._lock:
            return self._pacer.answered(item, text, call)

    def failed(self, item: Item, error: AIChatFreeError, call: Call | None) -> MapResult | None:
        """See :meth:`Pacer.failed`."""
        with self._lock:
            return self._pacer.failed(item, error, call)

    def leaving(self, result: MapResult) -> MapResult:
        """The result, or its error raised, if that is what was asked for."""
        if result.error is not None and not self._return_errors:
            raise result.error
        return result
