"""Messages become JSON in one loop where they are usual, and in the careful way where not: with the same outcome."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichatfree import InvalidRequestError, Message, generate_signature
from aichatfree._core.wire import messages as wire
from aichatfree._core.wire.messages import Dumped, dump_contents, dump_history, dump_messages, dump_turn, to_contents

texts = st.text(st.characters(), max_size=12)
roles = st.sampled_from(["user", "assistant", "model", "system", "tool", "", 5, None])
usual = st.fixed_dictionaries({"role": roles, "content": texts})
odd = st.one_of(
    usual,
    texts,
    st.builds(Message, st.sampled_from(["user", "assistant"]), texts),
    st.fixed_dictionaries({"role": roles, "parts": st.lists(st.fixed_dictionaries({"text": texts}), max_size=3)}),
    st.fixed_dictionaries({"role": roles, "content": texts, "name": texts}),
    st.none(),
)


def outcome(read: Any, messages: Any) -> Any:
    try:
        return read(messages)
    except InvalidRequestError as error:
        return str(error)


def whole(dumped: tuple[Dumped, str]) -> tuple[bytes, str]:
    pieces, text = dumped
    return b"".join(pieces), text


def carefully(messages: Any) -> tuple[bytes, str]:
    contents = to_contents(messages)
    return whole((dump_contents(contents), contents[-1].text))


def dump(messages: Any) -> tuple[bytes, str]:
    return whole(dump_messages(messages))


@given(st.one_of(texts, st.lists(usual, max_size=6), st.lists(odd, max_size=6)))
def test_both_ways_have_the_same_outcome(messages: list[Any]) -> None:
    assert outcome(dump, messages) == outcome(carefully, messages)


@given(st.lists(st.tuples(texts, texts), max_size=4), texts)
def test_a_history_that_alternates(turns: list[tuple[str, str]], question: str) -> None:
    messages = [
        {"role": role, "content": text or "x"}
        for turn in turns
        for role, text in zip(("user", "model"), turn, strict=True)
    ]
    messages.append({"role": "user", "content": question or "x"})
    dumped, text = dump(messages)
    assert json.loads(dumped) == [
        {"role": content.role, "parts": [{"text": part} for part in content.parts]} for content in to_contents(messages)
    ]
    assert text == to_contents(messages)[-1].text
    usual = wire._dump_usual(messages)
    assert usual is None or whole(usual) == (dumped, text)


def test_the_usual_history_takes_the_short_way() -> None:
    history = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert wire._dump_usual(history) == (dump_messages(history)[0], "c")


def test_a_turn_of_a_conversation_is_sent_as_it_was_encoded() -> None:
    turn = dump_turn("a", "b")
    pieces, _ = dump_history([turn, turn], None, "c")
    assert sum(piece is turn for piece in pieces) == 2  # nothing is copied before the body is joined


class Words(str, Enum):  # noqa: UP042 - as many programs still write it
    ROLE = "user"
    TEXT = "the value"


@pytest.mark.parametrize(
    "messages",
    [Words.TEXT, [Words.TEXT], [{"role": Words.ROLE, "content": Words.TEXT}], Message(Words.ROLE, Words.TEXT)],
)
def test_a_member_of_an_enumeration_of_strings_is_its_value(messages: Any) -> None:
    dumped, text = dump(messages)
    assert json.loads(dumped) == [{"role": "user", "parts": [{"text": "the value"}]}]
    assert type(text) is str
    assert generate_signature(1, Words.TEXT, Words.ROLE) == generate_signature(1, "the value", "user")


well = st.text(min_size=1, max_size=12).filter(lambda text: "\ud800" > text or text.isascii() or text.encode())


@given(st.lists(st.tuples(well, well), max_size=4), st.none() | well, well)
def test_a_conversation_is_dumped_turn_by_turn(turns: list[tuple[str, str]], system: str | None, question: str) -> None:
    messages: list[Any] = [] if system is None else [Message("system", system)]
    for user, assistant in turns:
        messages += [Message("user", user), Message("assistant", assistant)]
    messages.append(Message("user", question))
    assert whole(dump_history([dump_turn(*turn) for turn in turns], system, question)) == carefully(messages)


@given(st.text(st.one_of(st.characters(), st.sampled_from('"\\\b\f\n\r\t\x00\x1f\x7f\u2028')), max_size=40))
def test_a_text_is_json_as_python_writes_it(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    said = [
        {"role": "user", "parts": [{"text": text}]},
        {"role": "model", "parts": [{"text": text}]},
    ]
    whole = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    assert b"[%b]" % dump_turn(text, text) == whole


@pytest.mark.parametrize("code", range(0x80))
def test_each_character_of_ascii(code: int) -> None:
    text = f"{chr(code)}, {chr(code)}"
    assert json.loads(b"[%b]" % dump_turn(text, "x"))[0]["parts"] == [{"text": text}]
