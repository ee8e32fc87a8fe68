"""One contender in a process of its own.

``python -m tests.benchmarks.clients.worker CONTENDER SERVER_URL SPEC TURNS``: each line on standard input says how many
calls to make; each line on standard output is what they took, as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import time

from ..canned_server import TEXT, Spec
from .contenders import QUESTION, Contender, Messages
from .contending import by_name

KILOBYTES = 2
"""In each message of a history."""


def conversation(turns: int) -> Messages:
    """A history of ``turns`` questions and answers, and one more question."""
    text = (TEXT * 25)[: KILOBYTES * 1000]
    turn = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
    return turn * turns + QUESTION


def measure(contender: Contender, messages: Messages, calls: int, expected: str) -> dict[str, float]:
    """What a call takes, on average: seconds of processor time, seconds, pieces of text."""
    taken: list[str] = []
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    contender.repeat(calls, messages, taken.append)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert "".join(taken) == expected * calls, f"{contender.name} lost text"
    return {"cpu": cpu / calls, "wall": wall / calls, "pieces": len(taken) / calls}


def main(name: str, server: str, spec: str, turns: str) -> None:
    contender: Contender = by_name(name)(f"{server}/{spec}")
    messages, expected = conversation(int(turns)), "".join(Spec.parse(spec).texts())
    contender.begin(messages)
    for line in sys.stdin:
        print(json.dumps(measure(contender, messages, int(line), expected)), flush=True)
    contender.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
