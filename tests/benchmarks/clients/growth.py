"""How cost grows: the same work at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from ..canned_server import Spec
from ..children import answer_of, running
from ..measuring import Goal, Goals, Result, Sample, interleave, results
from .calls import sample, warm_up
from .mapping import SPEC

Ready = AbstractContextManager[Callable[[], Sample]]
"""A contender that has warmed up: each call is the whole work once."""
CALLS_PIECES = 2000
"""Pieces in a sample at least, so that a sample is long enough to be measured."""
CALLS_MESSAGES = 200
STREAM_PIECES = 10
PIECES_A_SECOND = 4000
"""Over all streams at most: what one processor keeps up with."""
SHORTEST_PAUSE = 0.02
WARM_PROMPTS = 1000


@dataclass(frozen=True)
class Growth:
    """What a whole piece of work takes, at several sizes.

    Args:
        name: The case's name.
        title: What it is, in words.
        unit: What the sizes count, in the singular.
        sizes: How much work.
        contenders: Who does it.
        ready: Starts a contender for a size.
        bends: Why a line is not straight, where it is not.
        goals: What the contenders should reach at the largest size.
        rounds: How often each is measured, unless the user says.
        once_from: Sizes from here on are measured once.
    """

    name: str
    title: str
    unit: str
    sizes: tuple[int, ...]
    contenders: tuple[str, ...]
    ready: Callable[[str, str, int], Ready]
    bends: str
    goals: Goals = field(default_factory=dict)
    rounds: int = 5
    once_from: int = 1_000_000

    def measure(self, server: str, rounds: int) -> list[Result]:
        found = []
        for size in self.sizes:
            with ExitStack() as stack:
                run = {name: stack.enter_context(self.ready(name, server, size)) for name in self.contenders}
                samples = interleave(run, 1 if size >= self.once_from else rounds)
            goals = self.goals if size == self.sizes[-1] else {}
            found += results(self.name, self.title, samples, {}, goals, size)
        return found


@contextmanager
def reply_of(contender: str, server: str, pieces: int) -> Iterator[Callable[[], Sample]]:
    """A reply of so many pieces, sent at once."""
    calls = max(1, CALLS_PIECES // pieces)
    with running("clients.worker", contender, server, Spec(pieces, 20), 0) as worker:
        warm_up(worker, calls)
        yield partial(sample, worker, calls)


@contextmanager
def history_of(contender: str, server: str, messages: int) -> Iterator[Callable[[], Sample]]:
    """A question after a history, so many messages with it."""
    calls = max(1, CALLS_MESSAGES // messages)
    with running("clients.worker", contender, server, Spec(20, 20), (messages - 1) // 2) as worker:
        warm_up(worker, calls)
        yield partial(sample, worker, calls)


@contextmanager
def streams_of(contender: str, server: str, streams: int) -> Iterator[Callable[[], Sample]]:
    """So many streams at once, all of them together, in a new process each time."""
    pause = max(SHORTEST_PAUSE, streams / PIECES_A_SECOND)

    def measure() -> Sample:
        seen = answer_of("clients.streams", contender, server, streams, STREAM_PIECES, pause)
        seen["cpu"] *= streams * STREAM_PIECES
        return Sample.of(seen)

    yield measure


@contextmanager
def prompts_of(contender: str, server: str, prompts: int) -> Iterator[Callable[[], Sample]]:
    """So many prompts, all of them together, in a new process each time."""

    def measure() -> Sample:
        with running("clients.mapping", contender, f"{server}/{SPEC}") as child:
            child.ask(min(WARM_PROMPTS, 2 * prompts))
            seen = child.ask(prompts)
        return Sample(seen["cpu"] * prompts, seen["wall"] * prompts, {"memory_kib_more": seen["memory_kib_more"]})

    yield measure


def growth_cases(quick: bool) -> list[Growth]:
    """The cases, with smaller sizes where it is quick."""
    clients = ("Client.stream", "AsyncClient.stream")
    together = (
        "What has arrived together is read together: the more comes at once, the fewer reads there are for a piece."
    )
    return [
        Growth(
            "growth_pieces",
            "a reply of so many pieces, sent at once",
            "piece",
            (20, 200) if quick else (20, 2_000, 5_000, 10_000, 20_000),
            clients,
            reply_of,
            together,
        ),
        Growth(
            "growth_history",
            "a question with so many messages, 2 kB each",
            "message",
            (1, 9) if quick else (1, 99, 249, 499, 749, 999),
            (*clients, "Conversation.stream"),
            history_of,
            "What does not fit into a processor's cache, or into the socket's buffer at once, costs more a message.",
        ),
        Growth(
            "growth_streams",
            f"so many streams at once, {STREAM_PIECES} pieces each",
            "stream",
            (1, 10) if quick else (1, 500, 1_000, 2_500, 5_000),
            ("AsyncClient.stream",),
            streams_of,
            "Few streams at once are woken one by one, many are served in one round of the event loop.",
            rounds=3,
            once_from=2_500,
        ),
        Growth(
            "growth_prompts",
            "so many prompts for map, 20 pieces each",
            "prompt",
            (10, 100) if quick else (10, 1_000, 10_000, 40_000, 100_000),
            ("Client.map", "AsyncClient.map"),
            prompts_of,
            "The first prompts pay for what is loaded and connected once.",
            dict.fromkeys(("Client.map", "AsyncClient.map"), (Goal(1024, "memory_kib_more"),)),
            rounds=3,
            once_from=10_000,
        ),
    ]
