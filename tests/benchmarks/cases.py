"""What is measured, and what it should come to."""

from __future__ import annotations

from typing import Protocol

from .canned_server import Spec
from .clients.calls import Calls
from .clients.contending import CONVERSATIONS, PLAIN
from .clients.growth import growth_cases
from .clients.many import MORE, THREADS, ManyStreams
from .clients.mapping import Mapping
from .clients.starts import ASK, VERSION, commands, imports
from .measuring import Goal, Goals, Result
from .servers.gateway import gateway_cases
from .servers.local import IdleStreams, Serving
from .servers.passage import Passage

COPIES = ("requests", "requests, a copy", "aiohttp", "aiohttp, a copy")


class Case(Protocol):
    """Something to measure."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def rounds(self) -> int:
        """How often each contender is measured, unless the user says."""

    def measure(self, server: str, rounds: int) -> list[Result]:
        """Measure.

        Args:
            server: The canned server's URL.
            rounds: How often each contender is measured.
        """


def both(sync: float, asynchronous: float) -> Goals:
    """The ratios that the two clients should reach."""
    return {"Client.stream": [Goal(sync)], "AsyncClient.stream": [Goal(asynchronous)]}


def client_cases(few: int) -> list[Case]:
    """What the clients cost."""
    many, large = 2000 // few, 160 // few
    in_tasks = {"AsyncClient.stream": [Goal(1.00), Goal(8, MORE)]}
    in_threads = {"Client.stream": [Goal(1.00), Goal(7, MORE)]}
    mapped = {"Client.map": [Goal(1.10)], "AsyncClient.map": [Goal(1.10)]}
    talking = {"Conversation.stream": [Goal(0.50)], "AsyncConversation.stream": [Goal(0.50)]}
    talkers = tuple(kind.name for kind in CONVERSATIONS)
    return [
        Calls("copies", "20 pieces, and copies of the same code", Spec(20, 20), 20, contenders=COPIES, rounds=60),
        Calls("short", "one short reply", Spec(1, 20), 20, rounds=60),
        Calls("pieces_20", "20 pieces", Spec(20, 20), 20, goals=both(0.65, 0.95), rounds=60),
        Calls(
            "history",
            "99 messages of 2 kB each",
            Spec(20, 20),
            5,
            turns=49,
            goals=both(1.00, 1.10),
            contenders=PLAIN,
            rounds=30,
        ),
        Calls(
            "conversation",
            "a conversation's turn after 99 messages of 2 kB each",
            Spec(20, 100),
            5,
            turns=49,
            goals=talking,
            contenders=talkers,
            rounds=30,
        ),
        Calls(
            "pieces_2000",
            f"{many:,} pieces at once",
            Spec(many, 20),
            5,
            goals=both(0.50, 0.50),
            contenders=PLAIN,
            rounds=30,
        ),
        Calls(
            "bytes_2000",
            f"{many:,} pieces of 1 byte at once",
            Spec(many, 0),
            5,
            goals=both(0.60, 0.60),
            contenders=PLAIN,
            rounds=30,
        ),
        Calls(
            "trickle_2000",
            f"{many:,} pieces, 0.2 ms apart",
            Spec(many, 20, 0.0002),
            1,
            goals=both(1.25, 1.25),
            contenders=PLAIN,
            rounds=9,
        ),
        Calls(
            "large",
            f"{large / 16:.0f} MB, the text kept",
            Spec(large, 65536),
            2,
            goals=both(1.05, 1.05),
            contenders=PLAIN,
        ),
        ManyStreams("streams_100", 100 // few, 100 // few, goals={"AsyncClient.stream": [Goal(1.25)]}),
        ManyStreams("streams_1000", 1000 // few, 20, 0.25 / few, goals=in_tasks),
        ManyStreams("threads_200", 200 // few, 40 // few, 0.1, THREADS, in_threads),
        Mapping("map_5000", 5000 // few, mapped),
        imports({"Client": [Goal(1.15)], "AsyncClient": [Goal(1.15)]}),
        commands({VERSION: [Goal(5, "ms_more")], ASK: [Goal(85, "ms_more")]}),
    ]


def server_cases(few: int) -> list[Case]:
    """What the servers cost."""
    return [
        Serving("serving_1", 1, 300 // few),
        Serving("serving_50", 50, 500 // few),
        Serving("serving_500", 500, 1000 // few),
        IdleStreams("serving_idle", 1000 // few),
        Passage("passage_20", Spec(20, 20), 100 // few),
        Passage("passage_trickle", Spec(200, 20, 0.0005), 10 // few),
        *gateway_cases(few),
    ]


def all_cases(quick: bool = False) -> list[Case]:
    """The cases.

    Args:
        quick: Smaller ones, to see that everything runs.
    """
    few = 10 if quick else 1
    return [*client_cases(few), *server_cases(few), *growth_cases(quick)]
