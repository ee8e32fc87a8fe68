"""Whatever users pass becomes the wire's contents, with nothing dropped, or is refused with a clear word."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichatfree._core.wire.messages import Content, Message, as_given, dump_contents, to_contents
from aichatfree._core.wire.signing import well_formed
from aichatfree.errors import InvalidRequestError

any_text = st.text(st.characters(), min_size=1)  # with lone surrogates
user_text = st.tuples(st.just("user"), any_text)
turns = st.lists(st.tuples(st.sampled_from(["user", "assistant", "model", "system"]), any_text), max_size=8)
histories = st.builds(lambda earlier, last: [*earlier, last], turns, user_text)

SHAPES: list[Callable[[str, str], Any]] = [
    lambda role, text: {"role": role, "content": text},
    lambda role, text: {"role": role, "parts": [{"text": text}]},
    lambda role, text: {"role": role, "content": [{"type": "text", "text": text}], "name": "ignored by all"},
    lambda role, text: {"role": role, "content": ({"type": "text", "text": text[:1]}, text[1:])},
    lambda role, text: {"role": role, "parts": text},
    Message,
    lambda role, text: text if role == "user" else Message(role, text),
]


def folded(history: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The rule, said once more: instructions go before the next user's text, neighbours of one role become one."""
    ordered: list[tuple[str, str]] = []
    waiting: list[str] = []
    for role, text in history:
        if role == "system":
            waiting.append(text)
            continue
        if role == "user":
            ordered += [("user", instruction) for instruction in waiting]
            waiting = []
        ordered.append(("user" if role == "user" else "model", text))
    groups = groupby(ordered, lambda turn: turn[0])
    return [(role, "\n\n".join(well_formed(text) for _, text in group)) for role, group in groups]


@given(histories, st.data())
def test_nothing_is_dropped_and_nothing_added(history: list[tuple[str, str]], data: st.DataObject) -> None:
    messages = [data.draw(st.sampled_from(SHAPES))(role, text) for role, text in history]
    # Halves of a pair that a user put into two parts are two lone surrogates on the wire.
    expected = folded(history) if all(well_formed(text) == text for _, text in history) else None
    for given_messages in (messages, tuple(messages), iter(messages)):
        contents = to_contents(given_messages)
        assert expected is None or [(content.role, content.text) for content in contents] == expected
        roles = [content.role for content in contents]
        assert roles[-1] == "user"
        assert all(before != after for before, after in pairwise(roles))
        wire = json.loads(b"".join(dump_contents(contents)))
        assert [(turn["role"], tuple(part["text"] for part in turn["parts"])) for turn in wire] == list(contents)


@given(histories)
def test_surrogates_change_nothing_else(history: list[tuple[str, str]]) -> None:
    contents = to_contents([Message(role, text) for role, text in history])
    assert [(content.role, content.text) for content in contents] == folded(history)


@given(any_text)
def test_any_text_is_one_user_message(text: str) -> None:
    assert to_contents(text) == (Content("user", (well_formed(text),)),)
    assert to_contents(Message("user", text)) == to_contents({"role": "user", "content": text}) == to_contents([text])


@given(st.lists(st.text(st.characters()), min_size=1))
def test_parts_stay_parts(parts: list[str]) -> None:
    message = {"role": "user", "parts": [{"text": part} for part in parts]}
    assert as_given(message) == (Content("user", tuple(map(well_formed, parts))),)
    if any(parts):
        assert to_contents(message) == as_given(message)
        assert to_contents(message)[0].text == "".join(map(well_formed, parts))
    else:
        with pytest.raises(InvalidRequestError, match="the message is empty"):
            to_contents(message)


def test_merging_keeps_the_parts_and_puts_a_blank_line_between() -> None:
    contents = to_contents(
        [
            {"role": "system", "parts": ["be ", "brief"]},
            {"role": "user", "parts": ["a", "b"]},
            {"role": "user", "parts": ["c", "d"]},
            Message("assistant", "x"),
            Message("model", "y"),
            Message("system", "be kind"),
            Message("assistant", "z"),
            "last",
        ]
    )
    assert contents == (
        Content("user", ("be ", "brief\n\na", "b\n\nc", "d")),
        Content("model", ("x\n\ny\n\nz",)),
        Content("user", ("be kind\n\nlast",)),
    )


def test_white_space_is_text() -> None:
    assert to_contents(" \n") == (Content("user", (" \n",)),)


def test_instructions_keep_their_order() -> None:
    messages = [Message("system", "1"), Message("system", "2"), Message("user", "3")]
    assert to_contents(messages) == (Content("user", ("1\n\n2\n\n3",)),)


REFUSED: list[tuple[Any, str, str]] = [
    # messages, which message or option it is, how to correct it
    (None, "messages is of type NoneType", "pass a str, a Message, a mapping, or a list of these"),
    (1, "messages is of type int", "pass a str"),
    (1.5, "messages is of type float", "pass a str"),
    (b"hi", "messages is of type bytes", "pass a str"),
    (bytearray(b"hi"), "messages is of type bytearray", "pass a str"),
    ([], "there are no messages", "pass a str, or a list with at least one user message"),
    ((), "there are no messages", "pass a str"),
    (iter([]), "there are no messages", "pass a str"),
    ("", "the message is empty", "give it some text, or leave the message out"),
    ([""], "messages[0] is empty", "give it some text"),
    (["a", {"role": "user", "content": []}], "messages[1] is empty", "give it some text"),
    (["a", {"role": "user", "parts": ["", {"text": ""}]}], "messages[1] is empty", "give it some text"),
    ([Message("system", ""), "a"], "messages[0] is empty", "give it some text"),
    ([None], "messages[0] is of type NoneType", "pass a str, a Message, or a mapping with role and content"),
    (["a", ["b"]], "messages[1] is of type list", "pass a str"),
    (["a", b"b"], "messages[1] is of type bytes", "pass a str"),
    (memoryview(b"a"), "messages[0] is of type int", "pass a str"),
    ({}, "the message has no role", "add 'role': 'user'"),
    ([{"content": "x"}], "messages[0] has no role", "add 'role': 'user'"),
    ({"role": "user"}, "the message needs", "either 'content' or 'parts'"),
    ({"role": "user", "content": "x", "parts": []}, "the message needs", "either 'content' or 'parts'"),
    ({"role": "User", "content": "x"}, "the message has the role 'User'", "use 'user', 'assistant' or 'system'"),
    ({"role": "tool", "content": "x"}, "the message has the role 'tool'", "use 'user', 'assistant' or 'system'"),
    ({"role": "", "content": "x"}, "the message has the role ''", "use 'user', 'assistant' or 'system'"),
    ({"role": None, "content": "x"}, "the message has the role None", "use 'user', 'assistant' or 'system'"),
    ([Message(1, "x")], "messages[0] has the role 1", "use 'user'"),  # type: ignore[arg-type]
    (Message("user", None), "the content of the message is of type NoneType", "pass a str, or a list"),  # type: ignore[arg-type]
    ({"role": "user", "content": b"x"}, "the content of the message is of type bytes", "pass a str, or a list of text"),
    ({"role": "user", "content": {"text": "x"}}, "the content of the message is of type dict", "pass a str, or a list"),
    ({"role": "user", "content": 1}, "the content of the message is of type int", "pass a str, or a list"),
    (["a", {"role": "user", "content": iter("x")}], "the content of messages[1] is of type str", "pass a str, or a"),
    ({"role": "user", "content": [None]}, "part 0 of the message is not text", 'pass {"type": "text", "text": "..."}'),
    ({"role": "user", "content": ["a", ["b"]]}, "part 1 of the message is not text", 'or {"text": "..."}'),
    ({"role": "user", "content": [{"type": "text"}]}, "part 0 of the message is not text", 'pass {"type": "text"'),
    ({"role": "user", "parts": [{"text": 1}]}, "part 0 of the message is not text", 'pass {"type": "text"'),
    (
        ["a", {"role": "user", "content": ["b", {"type": "image_url", "image_url": {}}]}],
        "part 1 of messages[1] is of type 'image_url'",
        "this protocol carries text only, so leave it out",
    ),
    (["a", Message("assistant", "b")], "the last message has the role 'assistant'", "must end with the user message"),
    (Message("system", "b"), "the last message has the role 'system'", "must end with the user message"),
    (["a", Message("system", "b")], "the last message has the role 'system'", "must end with the user message"),
    ([{"role": "model", "parts": ["b"]}], "the last message has the role 'model'", "must end with the user message"),
]


@pytest.mark.parametrize(("messages", "which", "remedy"), REFUSED)
def test_what_cannot_be_sent(messages: Any, which: str, remedy: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        to_contents(messages)
    assert which in str(caught.value)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_generator_that_fails_fails_with_its_own_error() -> None:
    def messages() -> Any:
        yield "a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        to_contents(messages())


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "parts", "text", "type"]), inner, max_size=3)
        | st.fixed_dictionaries({"role": st.sampled_from(["user", "model", "system", "x"]), "content": inner})
    ),
    max_leaves=12,
)


@given(json_like, st.sampled_from([to_contents, as_given]))
def test_anything_is_contents_or_an_invalid_request(messages: Any, read: Callable[[Any], tuple[Content, ...]]) -> None:
    try:
        contents = read(messages)
    except InvalidRequestError as error:
        assert str(error)
    else:
        dump_contents(contents)
        assert all(content.parts and content.role in ("user", "model") for content in contents)


def test_as_given_changes_no_order_and_drops_nothing() -> None:
    messages = [
        Message("assistant", "a"),
        Message("assistant", ""),
        {"role": "function", "content": "f"},
        Message("system", "s"),
        {"role": "model", "parts": ["m", "n"]},
    ]
    assert as_given(messages) == (
        Content("model", ("a",)),
        Content("model", ("",)),
        Content("user", ("f",)),
        Content("user", ("s",)),
        Content("model", ("m", "n")),
    )
    assert as_given([]) == ()


@pytest.mark.parametrize("messages", [None, [None], [{"role": "user"}], {"role": "user", "content": [{"type": "x"}]}])
def test_as_given_refuses_what_is_no_message(messages: Any) -> None:
    with pytest.raises(InvalidRequestError):
        as_given(messages)


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Message("user", "a").content = "b"  # type: ignore[misc]
    assert len({Message("user", "a"), Message("user", "a")}) == 1
