"""Stop sequences: the one that begins first ends the text, however it comes in pieces."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichatfree.gateway.stops import Stops
from aichatfree.testing import Drop, Pause, Reply, ScriptedServer

from .kit import Caller, content, error_of, events, reasons


def cut(pieces: list[str], sequences: list[str]) -> tuple[str, bool]:
    """What is emitted of a text in pieces, and whether a sequence was found."""
    stops = Stops(sequences)
    text = ""
    for piece in pieces:
        text += stops.feed(piece)
        if stops.found:
            return text, True
    return text + stops.finish(), stops.found


def expected(text: str, sequences: list[str]) -> tuple[str, bool]:
    found = [text.index(sequence) for sequence in sequences if sequence in text]
    return (text[: min(found)], True) if found else (text, False)


@pytest.mark.parametrize(
    ("text", "sequences"),
    [
        ("hello", []),
        ("hello", ["l"]),
        ("abcd", ["bcd", "c"]),
        ("abcx", ["bcd", "c"]),
        ("abc", ["bcd", "c"]),
        ("aaab", ["aab"]),
        ("ababac", ["abac", "bab"]),
        ("xEND", ["END", "EN"]),
        ("xEN", ["END"]),
        ("🧀🧀!", ["🧀!"]),
    ],
)
def test_every_way_to_cut_a_text_in_pieces(text: str, sequences: list[str]) -> None:
    for count in range(len(text)):
        for places in combinations(range(1, len(text)), count):
            edges = [0, *places, len(text)]
            pieces = [text[start:end] for start, end in pairwise(edges)]
            assert cut(pieces, sequences) == expected(text, sequences), pieces


@given(st.lists(st.text("ab", max_size=4)), st.lists(st.text("ab", min_size=1, max_size=4), max_size=4))
def test_any_text(pieces: list[str], sequences: list[str]) -> None:
    assert cut(pieces, sequences) == expected("".join(pieces), sequences)


def test_only_what_may_be_a_beginning_is_held_back() -> None:
    stops = Stops(["END"])
    assert stops.feed("free EN") == "free "
    assert stops.feed("ough E") == "ENough "
    assert stops.finish() == "E"


@pytest.mark.parametrize("stop", ["STOP", ["never", "STOP"]])
@pytest.mark.parametrize("stream", [False, True])
def test_the_call_below_is_ended_at_a_stop(
    caller: Caller, server: ScriptedServer, stop: str | list[str], stream: bool
) -> None:
    server.enqueue(Reply(["before ST", Pause(0.05), "OP after", Pause(None)]))
    answer = caller.chat(stop=stop, stream=stream)
    if stream:
        found = events(answer)
        assert content(found) == "before "
        assert reasons(found) == ["stop"]
        assert found[-1] == {"done": True}
    else:
        assert answer.json()["choices"][0]["message"]["content"] == "before "
    server.wait_idle()  # the server was left hanging otherwise


def test_a_reply_that_begins_with_a_stop_is_whole_and_empty(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["STOP", Pause(None)]), Reply(["STOP", Pause(None)]))
    assert caller.chat(stop="STOP").json()["choices"][0]["message"]["content"] == ""
    found = events(caller.chat(stop="STOP", stream=True))
    assert (content(found), reasons(found), found[-1]) == ("", ["stop"], {"done": True})


def test_what_is_held_back_is_not_emitted_when_the_reply_breaks_off(caller: Caller, server: ScriptedServer) -> None:
    server.enqueue(Reply(["ST", Pause(0.05)], fault=Drop()))
    error_of(caller.chat(stop="STOP", stream=True), 502)  # nothing had been emitted, so the status tells
    server.enqueue(Reply(["text ST", Pause(0.05)], fault=Drop()))
    found = events(caller.chat(stop="STOP", stream=True))
    assert content(found) == "text "
    assert "error" in found[-1]
    assert reasons(found) == []


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_held_back_comes_with_the_end(caller: Caller, server: ScriptedServer, stream: bool) -> None:
    server.enqueue(Reply(["the E", Pause(0.05), "N"]))
    answer = caller.chat(stop="END", stream=stream)
    text = content(events(answer)) if stream else answer.json()["choices"][0]["message"]["content"]
    assert text == "the EN"


@pytest.mark.parametrize("stop", [None, [], "", [""]])
def test_a_stop_that_says_nothing(caller: Caller, stop: object) -> None:
    assert caller.chat(stop=stop).json()["choices"][0]["message"]["content"] == "Hello from the scripted server."


@pytest.mark.parametrize("stop", [1, [1], {"a": 1}, ["a"] * 5, "x" * 1025])
def test_a_stop_that_is_none(caller: Caller, stop: object) -> None:
    assert error_of(caller.chat(stop=stop), 400)["param"] == "stop"
