"""The history by itself: what is accepted, what is kept, what is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichatfree import InvalidRequestError, Message
from aichatfree._core.history import History, read_form, read_on_interrupt, read_system
from aichatfree._core.wire.messages import to_contents

U = {"role": "user", "content": "u"}
A = {"role": "assistant", "content": "a"}
S = {"role": "system", "content": "s"}


def long_history(turns: int, system: str | None, max_messages: int | None) -> History:
    history = History.read(system, (), max_messages)
    for number in range(turns):
        history = history.then(f"u{number}", f"a{number}")
    return history


@given(st.integers(0, 12), st.sampled_from([None, "s"]), st.none() | st.integers(2, 30))
def test_trimming_keeps_whole_turns_and_the_system_message(
    turns: int, system: str | None, max_messages: int | None
) -> None:
    history = long_history(turns, system, max_messages)
    messages = list(history.messages)
    if system:
        assert messages.pop(0) == Message("system", system)
    assert [message.role for message in messages] == ["user", "assistant"] * (len(messages) // 2)
    newest = [f"{who}{number}" for number in range(turns) for who in "ua"]
    limit = len(newest) if max_messages is None else max_messages - max_messages % 2
    assert [message.content for message in messages] == newest[max(0, len(newest) - limit) :]

    dumped, text = history.dump("new")
    sent = to_contents(json.loads(b"".join(dumped)))
    assert text == sent[-1].text
    careful = (*history.messages[bool(system) :], Message("user", "new"))[-len(sent) :]
    assert sent == to_contents([*([Message("system", system)] if system else []), *careful])
    assert [content.role for content in sent] == ["user", "model"] * (len(sent) // 2) + ["user"]
    assert sent[0].text.startswith("s\n\n") is bool(system)
    assert sent[-1].text.endswith("new")
    if max_messages is None:
        assert len(sent) == 2 * turns + 1
    else:
        assert len(sent) <= max_messages
        assert len(sent) > max_messages - 2 or len(sent) == 2 * turns + 1  # no shorter than it must be


@given(st.integers(0, 12), st.sampled_from([None, "s"]), st.none() | st.integers(2, 30))
def test_a_long_history_is_trimmed_alike_when_it_is_given(
    turns: int, system: str | None, max_messages: int | None
) -> None:
    given_at_once = History.read(None, long_history(turns, system, None).messages, max_messages)
    assert given_at_once.messages == long_history(turns, system, max_messages).messages


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=5), st.none() | st.text())
def test_the_json_form_gives_the_history_back(turns: list[tuple[str, str]], system: str | None) -> None:
    history = History.read(system, (), None)
    for question, reply in turns:
        history = history.then(question, reply)
    arguments, unanswered = read_form(history.to_dict("keep", "x"))
    assert (unanswered, arguments["on_interrupt"]) == ("x", "keep")
    again = History.read(None, arguments["history"], arguments["max_messages"])
    well_formed = [m.content.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for m in history.messages]
    assert [message.content for message in again.messages] == well_formed


def test_a_history_never_changes() -> None:
    before = long_history(2, "s", 99)
    messages = before.messages
    before.then("u", "a")
    before.without_last()
    assert before.messages == messages


def test_leading_system_messages_are_one() -> None:
    assert History.read(None, [S, {"role": "system", "content": "t"}, U, A], 99).system == "s\n\nt"
    assert History.read("", [S], 99).system == "s"
    assert History.read("t", [U, A], 99).system == "t"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("hello", "the last message is the user's and has no answer: leave it out, and ask it with stream"),
        ([U], "has no answer"),
        ([U, A, U], "has no answer"),
        ([A, U], r"messages\[0\] has the role 'assistant' where 'user' is due: .* take turns, and the user begins"),
        ([U, U], r"messages\[1\] has the role 'user' where 'assistant' is due"),
        ([U, A, A], r"messages\[2\] has the role 'assistant' where 'user' is due"),
        ([U, S, A], r"messages\[1\] is a system message: in a conversation it stands before all others"),
        ([U, {"role": "tool", "content": "x"}], r"messages\[1\] has the role 'tool': use 'user', 'assistant' or 'sys"),
        ([{"role": 3, "content": "x"}], r"messages\[0\] has the role 3"),
        ([{"content": "x"}], r"messages\[0\] has no role"),
        ([{"role": "user"}], r"messages\[0\] needs either 'content' or 'parts'"),
        ([U, {"role": "assistant", "content": None}], r"the content of messages\[1\] is of type NoneType"),
        ([U, {"role": "assistant", "content": ""}], r"messages\[1\] is empty: give it some text, or leave the turn ou"),
        ([3], r"messages\[0\] is of type int"),
        (3, "messages is of type int"),
    ],
)
def test_what_is_no_history_is_refused(messages: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        History.read(None, messages, 99)


def test_two_system_messages_from_two_sides_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="there are two system messages"):
        History.read("t", [S, U, A], 99)


@pytest.mark.parametrize("value", [1, 0, -2, 2.5, True, "99"])
def test_max_messages_must_hold_a_turn(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"max_messages is .*: give an int, 2 \(a single turn\) or more"):
        History.read(None, (), value)


@pytest.mark.parametrize("value", ["KEEP", None, 1, [], {}])
def test_on_interrupt_is_one_of_two(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"on_interrupt is .*: give 'discard' or 'keep'"):
        read_on_interrupt(value)


@pytest.mark.parametrize("value", [3, b"s", ["s"], Message("system", "s")])
def test_a_system_message_is_a_text(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"system is of type .*: give a str, or None for none"):
        read_system(value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, 'a JSON object with "version" and "messages", not null'),
        ([U, A], "not something of type list"),
        ({}, '"version" is None: it must be 1'),
        ({"version": True, "messages": []}, '"version" is True: it must be 1'),
        ({"version": "1", "messages": []}, "\"version\" is '1': it must be 1"),
        ({"version": 0, "messages": []}, '"version" is 0: it must be 1'),
        ({"version": 2, "messages": []}, "version 2, which needs a newer release of aichatfree"),
        ({"version": 1}, '"messages" must be a list, not null'),
        ({"version": 1, "messages": "hello"}, '"messages" must be a list, not something of type str'),
        ({"version": 1, "messages": {"role": "user"}}, '"messages" must be a list'),
        ({"version": 1, "messages": [], "unanswered": 3}, "the text is of type int"),
    ],
)
def test_what_is_no_form_is_refused(data: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_form(data)
    assert words in str(caught.value)


def test_a_form_may_leave_out_what_has_a_default_and_hold_what_others_added() -> None:
    arguments, unanswered = read_form({"version": 1, "messages": [], "title": "my chat"})
    assert arguments == {"history": [], "max_messages": 99, "on_interrupt": "discard"}
    assert unanswered is None
