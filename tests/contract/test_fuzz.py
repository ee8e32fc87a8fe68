"""Replies in random splits, some of them damaged at a random byte: both clients against one expectation, with a seed.

The expectation is worked out here, apart from the package: a reply that arrives unharmed is that text; a damaged one is
an error whose partial text is a beginning of it, or that text where the damage cannot be seen (a changed letter).
"""

from __future__ import annotations

import gzip
import random
import time
from typing import Any, NamedTuple

import pytest
from peers import Peer, Peers, chunk, damaged, head, sized

from aichatfree import AIChatFreeError

SEED = 20261127
SECONDS = 2.5
"""For each client."""
LETTERS = "aé你😀\n I"


class Case(NamedTuple):
    """A reply on the wire."""

    text: str
    framing: str
    wire: bytes
    damage: str
    pieces: list[bytes]


def split(data: bytes, dice: random.Random) -> list[bytes]:
    """In up to eight pieces, one in ten of them byte by byte."""
    if dice.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


def make(dice: random.Random) -> Case:
    text = "".join(dice.choices(LETTERS, k=dice.randrange(1, 40))) + "."
    body = text.encode()
    encoding = ()
    if dice.random() < 0.25:
        body, encoding = gzip.compress(body), ("Content-Encoding: gzip",)
    framing = dice.choice(["chunked", "length", "close"])
    if framing == "chunked":
        top = head("200 OK", "Transfer-Encoding: chunked", *encoding)
        content = b"".join(map(chunk, split(body, dice))) + b"0\r\n\r\n"
    elif framing == "length":
        top, content = sized(body, *encoding)[: -len(body)], body
    else:
        top, content = head("200 OK", "Connection: close", *encoding), body
    damage = dice.choice(["none", "none", "cut", "reset", "flip", "insert", "drop"])
    content = damaged(content, damage, dice.randrange(len(content)), dice)
    return Case(text, framing, top + content, damage, split(top + content, dice))


def agrees(case: Case, text: str, error: AIChatFreeError | None) -> bool:
    """Whether an outcome is a true one."""
    if error is not None and error.partial != text:
        return False
    if case.damage == "none":
        return error is None and text == case.text
    if case.damage in ("cut", "reset"):
        beginning = case.text.startswith(text)
        if case.framing == "close" and b"gzip" not in case.wire and case.damage == "cut":
            return error is None or beginning  # nothing says where it should have ended
        return error is not None and beginning
    # A changed byte within the text, or the size of a chunk, is nothing that anybody could see. What must not be is
    # the framing in the text of a reply that counts as whole, or anything of ours that is raised as it is.
    return error is not None or "\r\n" not in text


def serve(case: Case, peer: Peer) -> None:
    for piece in case.pieces:
        peer.send(piece)
    if case.damage == "reset":
        peer.reset()
    elif case.framing == "close" or case.damage != "none":
        peer.finish()


def test_any_reply_in_any_split(face: Any) -> None:
    dice = random.Random(SEED)
    cases: list[Case] = []
    ends = time.monotonic() + SECONDS
    count = 0
    with Peers(lambda peer: serve(cases[-1], peer)) as server:
        client = face.client(server.url, trust_env=False, max_retries=0, timeout=20)
        while time.monotonic() < ends or count < 50:
            cases[:] = [make(dice)]
            outcome = face.stream(client, f"{count}")
            count += 1
            assert agrees(cases[0], outcome.text, outcome.error), (count, cases[0], outcome.text, outcome.error)
            assert all(outcome.pieces)


@pytest.mark.parametrize("damage", ["none", "cut", "flip"])
def test_the_expectation_can_fail(damage: str) -> None:
    case = Case("one two", "length", b"", damage, [])
    wrong = {"none": "one", "cut": "two", "flip": "3\r\none\r\n"}[damage]
    assert not agrees(case, wrong, None)
