"""Many streams at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from ..children import answer_of
from ..measuring import Goals, Result, Sample, interleave, note_difference, results

MORE = "memory_kib_over_bare"
TASKS = ("AsyncClient.stream", "aiohttp")
THREADS = ("Client.stream", "requests")


@dataclass(frozen=True)
class ManyStreams:
    """Many streams at once. The processor time is that of a piece, connecting included.

    Args:
        name: The case's name.
        streams: How many.
        pieces: In each.
        pause: Seconds between two pieces of a stream. Where a processor cannot keep up, pieces come together and cost
            less.
        contenders: Who is measured, and beside whom.
        goals: What the contenders should reach.
        rounds: How often each is measured, unless the user says.
    """

    name: str
    streams: int
    pieces: int
    pause: float = 0.02
    contenders: tuple[str, str] = TASKS
    goals: Goals = field(default_factory=dict)
    rounds: int = 5

    @property
    def title(self) -> str:
        where = "threads" if self.contenders == THREADS else "streams"
        return (
            f"{self.streams:,} {where} at once, {self.pieces} pieces each, one every {self.pause * 1e3:g} ms"
            " (CPU per piece)"
        )

    def measure(self, server: str, rounds: int) -> list[Result]:
        ours, bare = self.contenders
        samples = interleave({name: partial(self._sample, name, server) for name in self.contenders}, rounds)
        note_difference(samples, {ours: bare}, MORE, lambda sample: sample.notes["memory_kib_per_stream"])
        return results(self.name, self.title, samples, {ours: bare, bare: bare}, self.goals)

    def _sample(self, name: str, server: str) -> Sample:
        return Sample.of(answer_of("clients.streams", name, server, self.streams, self.pieces, self.pause))
