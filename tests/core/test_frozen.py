"""Values are immutable, and equal, hashed, shown and copied by their fields."""

from __future__ import annotations

import copy
import pickle
import sys
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from aichatfree import InvalidRequestError, Message, RetryPolicy, Timeout
from aichatfree._core.settings import Settings

VALUES = [
    Message("user", "hi"),
    Timeout(1, 2, 3, total=4),
    RetryPolicy(max_retries=1),
    Settings.resolve(environ={}, headers={"X": "1"}),
    Settings(),
]


@pytest.mark.parametrize("value", VALUES)
def test_immutable(value: Any) -> None:
    before = repr(value)
    (name, *_) = vars(value)
    with pytest.raises(AttributeError, match=rf"cannot be changed: make another with \.replace\({name}=\.\.\.\)"):
        setattr(value, name, 5)
    with pytest.raises(AttributeError, match=f"cannot be changed: it needs its {name}"):
        delattr(value, name)
    assert repr(value) == before


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal(value: Any, how: Any) -> None:
    twin = how(value)
    assert type(twin) is type(value)
    assert twin == value
    assert vars(twin) == vars(value)


def test_equal_by_fields_of_the_same_type() -> None:
    assert Timeout(1, 2, 3) == Timeout(connect=1, first_byte=2, idle=3, total=None)
    assert Timeout(1, 2, 3) != Timeout(1, 2, 4)
    assert Timeout(1, 2, 3) != (1, 2, 3, None)
    assert {Message("user", "a"), Message("user", "a"), Message("user", "b")} == {
        Message("user", "b"),
        Message("user", "a"),
    }

    class Note(Message):
        pass

    assert Note("user", "a") != Message("user", "a")


def test_shown_as_they_are_made() -> None:
    assert repr(Message("user", "hi")) == "Message(role='user', content='hi')"
    assert repr(Timeout(total=9)) == "Timeout(connect=10.0, first_byte=60.0, idle=60.0, total=9)"
    assert eval(repr(RetryPolicy(max_retries=7))) == RetryPolicy(max_retries=7)


def test_replace_checks() -> None:
    assert Timeout(1, 2, 3).replace(idle=5) == Timeout(1, 2, 5)
    assert RetryPolicy().replace(max_delay=1).max_delay == 1
    assert Message("user", "a").replace(content="b") == Message("user", "b")
    with pytest.raises(InvalidRequestError, match="timeout idle is -1"):
        Timeout().replace(idle=-1)
    with pytest.raises(InvalidRequestError, match="no limit 'read'"):
        Timeout().replace(read=5)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace() came with Python 3.13")
def test_copy_replace() -> None:
    assert copy.replace(Timeout(1, 2, 3), idle=5) == Timeout(1, 2, 5)  # type: ignore[attr-defined]


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="there is no such setting: base_urll"):
        Settings(base_urll="http://127.0.0.1")
    with pytest.raises(TypeError, match="there is no such setting: bogus"):
        Settings().replace(bogus=1)


def test_subclasses_of_users() -> None:
    T = TypeVar("T")

    class Registered:
        known: ClassVar[dict[str, type]] = {}

        def __init_subclass__(cls, name: str = "", **options: Any) -> None:
            super().__init_subclass__(**options)
            cls.known[name] = cls

    class Note(Message, Registered, Generic[T], name="note"):
        tag: str = "none"

        @cached_property
        def words(self) -> int:
            return len(self.content.split())

    assert Registered.known == {"note": Note}
    note, twin = Note[int]("user", "two words"), Note[int]("user", "two words")
    assert note.words == 2
    assert note == twin
    assert hash(note) == hash(twin)
    assert repr(note) == repr(twin) == "Note(role='user', content='two words')"
    assert type(note.replace(role="system")) is Note
    match note:
        case Note("user", text):
            assert text == "two words"
        case _:
            pytest.fail("no match")


def test_match_statements() -> None:
    match Message("user", "hi"):
        case Message("user", text):
            assert text == "hi"
        case _:
            pytest.fail("no match")
    match Timeout(1, 2, 3, 4):
        case Timeout(_, _, _, total):
            assert total == 4
