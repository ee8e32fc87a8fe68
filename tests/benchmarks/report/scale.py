"""Arithmetic: what a service that holds very many streams needs, from what was measured here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..cases import all_cases
from ..measuring import Result
from ..servers.passage import OURS as SERVE
from ..servers.passage import Passage
from .markdown import milliseconds, table
from .saved import Found

SIZES = (10_000, 1_000_000)
PIECES_A_SECOND = 10
"""Of one stream."""
LOAD = 0.7
"""Of a processor that is used before another one is taken."""
SOFT_FILES, HARD_FILES = 1_024, 524_288
"""What systemd allows a process, and up to what a process may raise that itself, as the servers do."""
PORTS = 28_232
"""Connections from one address to one address and port: Linux's ``ip_local_port_range`` is 32768 to 60999."""
MACHINE_GIB = 16


@dataclass(frozen=True)
class Role:
    """What one stream takes from a process.

    Args:
        name: What the process is.
        cpu_ms: Processor time of a piece.
        kib: Memory of a stream.
        base_mib: Memory of a process before its first stream.
        files: Open files of a stream.
        allowed: Open files of a process.
    """

    name: str
    cpu_ms: float
    kib: float
    base_mib: float
    files: int
    allowed: int

    @property
    def carried(self) -> int:
        """Streams that one process on one processor carries."""
        return max(1, int(LOAD * 1000 / (PIECES_A_SECOND * self.cpu_ms)))

    def processes(self, streams: int) -> int:
        return math.ceil(streams / self.carried)

    def gib(self, streams: int) -> float:
        return streams * self.kib / 1024**2 + self.processes(streams) * self.base_mib / 1024

    @property
    def whole_kib(self) -> float:
        """Memory of a stream with its share of a process."""
        return self.kib + self.base_mib * 1024 / self.carried

    @property
    def limits(self) -> list[tuple[int, str]]:
        """What ends first as streams are added to one machine: how many there are then, and what it is."""
        return sorted(
            [
                (self.allowed // self.files, f"{self.allowed:,} open files a process"),
                (self.carried, "one processor"),
                (PORTS, f"{PORTS:,} ports to one address"),
                (int(MACHINE_GIB * 1024**2 / self.whole_kib), f"{MACHINE_GIB} GiB of memory"),
            ]
        )


def roles(found: Found) -> list[Role] | None:
    """What was measured of each kind of process, or None where something of it is missing."""
    client = _result(found, "streams_1000", "AsyncClient.stream")
    idle = _result(found, "serving_idle", "LocalServer, a function")
    passage = _result(found, "passage_trickle", SERVE)
    gateway = _result(found, "gateway_streams", "gateway")
    if not (client and idle and passage and gateway):
        return None
    memory, base = "memory_kib_per_stream", "process_mib_before"
    kib = client.notes[memory]
    pieces = next(
        case.spec.pieces for case in all_cases(found.quick) if isinstance(case, Passage) and case.name == passage.case
    )
    return [
        Role("`AsyncClient`", client.cpu_ms.median, kib, client.notes[base], 1, SOFT_FILES),
        # Its upstream's connection is one that this library's client has as well.
        Role("`serve`", passage.cpu_ms.median / pieces, idle.notes[memory] + kib, idle.notes[base], 2, HARD_FILES),
        Role("`gateway`", gateway.cpu_ms.median, gateway.notes[memory], gateway.notes[base], 2, HARD_FILES),
    ]


def _result(found: Found, case: str, contender: str) -> Result | None:
    return next((result for result in found.of(case) if result.contender == contender), None)


def text(found: Found) -> str:
    """The tables."""
    known = roles(found)
    if known is None:
        return "Not everything that this needs was measured."
    takes = table(
        ("a process of", "CPU a piece", "memory a stream", "open files a stream", "one processor carries"),
        (
            (role.name, milliseconds(role.cpu_ms), f"{role.kib:.0f} KiB", str(role.files), f"{role.carried:,} streams")
            for role in known
        ),
    )
    needs = table(
        (
            "streams",
            "of",
            "processes, a processor each",
            "memory",
            "connections (open files)",
            "addresses",
            "pieces a second",
        ),
        _needs(known),
    )
    ends = table(("a process of", "what ends first, second, ... as streams are added to one machine"), _ends(known))
    return f"{takes}\n\n{needs}\n\n{ends}"


def _needs(known: list[Role]) -> Iterator[tuple[str, ...]]:
    for streams in SIZES:
        for role in known:
            yield (
                f"{streams:,}",
                role.name,
                f"{role.processes(streams):,}",
                f"{role.gib(streams):.2g} GiB" if role.gib(streams) < 10 else f"{role.gib(streams):,.0f} GiB",
                f"{streams * role.files:,}",
                f"{math.ceil(streams / PORTS):,}",
                f"{streams * PIECES_A_SECOND:,}",
            )


def _ends(known: list[Role]) -> Iterator[tuple[str, ...]]:
    for role in known:
        yield role.name, "; ".join(f"{what}: {streams:,} streams" for streams, what in role.limits)
