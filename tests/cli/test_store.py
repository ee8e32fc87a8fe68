"""Where conversations are kept: one file each, for their owner, whatever the clock and other programs do."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aichatfree.cli.folders import user_folder
from aichatfree.cli.report import Refusal
from aichatfree.cli.store import Record, Store
from aichatfree.cli.talk import Talk, merge
from aichatfree.cli.talk_file import TalkFile
from aichatfree.errors import InvalidRequestError

from .running import Command

EMPTY = Talk()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state" / "aichatfree" / "conversations")


def talk(*questions: str, system: str | None = None) -> Talk:
    result = Talk(system=system)
    for question in questions:
        result = result.then(question, f"Re: {question}")
    return result


def asked(talk: Talk) -> list[str]:
    return [turn.user.content for turn in talk.turns]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_to(seconds: float) -> None:
        monkeypatch.setattr("aichatfree.cli.store.time.time_ns", lambda: int(seconds * 1e9))

    return set_to


def test_what_was_kept_is_read_again(store: Store) -> None:
    record = store.add(talk("one", system="Be brief."))
    record.save(record.read().then("two", "zwei"))
    (found,) = store.records()
    assert found.id == record.id
    assert asked(found.read()) == ["one", "two"]
    assert found.read().system == "Be brief."
    assert json.loads(found.path.read_bytes())["id"] == record.id


def test_only_its_owner_may_read_it_whatever_the_umask_and_the_folder_was(store: Store) -> None:
    store.folder.parent.mkdir(parents=True)
    store.folder.parent.chmod(0o755)
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            store.add(talk("one"))
        finally:
            os.umask(before)
    assert stat.S_IMODE(store.folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()} == {0o600}


def test_a_file_that_others_could_read_is_closed_when_it_is_written(store: Store) -> None:
    record = store.add(talk("one"))
    record.path.chmod(0o644)
    record.save(record.read())
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600


def test_a_clock_that_goes_back_changes_no_order(store: Store, clock: Callable[[float], None]) -> None:
    clock(2_000_000_000)
    first = store.add(talk("first"))
    clock(1_000_000_000)
    second = store.add(talk("second"))
    third = store.add(talk("third"))
    assert first.id < second.id < third.id
    assert [record.id for record in store.records()] == [third.id, second.id, first.id]
    first.save(first.read().then("again", "yes"))
    last = store.last()
    assert last is not None
    assert last[0].id == first.id


def test_the_order_survives_without_the_lock_file(store: Store, clock: Callable[[float], None]) -> None:
    clock(1_000_000_000)
    ids = [store.add(talk("one")).id]
    (store.folder / ".lock").unlink()
    ids.append(store.add(talk("two")).id)
    assert len(set(ids)) == 2
    assert ids == sorted(ids)


def test_the_last_one_is_one_that_was_answered(store: Store) -> None:
    assert store.last() is None
    record = store.add(talk("one"))
    store.add(Talk(unanswered="nobody answered"))
    (store.folder / "20990101-000000-000.json").write_text("{broken")
    last = store.last()
    assert last is not None
    assert last[0].id == record.id


def test_what_somebody_else_put_there_is_left_alone(store: Store, tmp_path: Path) -> None:
    record = store.add(talk("one"))
    secret = tmp_path / "elsewhere.json"
    secret.write_bytes(talk("secret").encode())
    (store.folder / "20200101-000000-000.json").symlink_to(secret)
    (store.folder / "a.json").mkdir()
    os.mkfifo(store.folder / "b.json")
    (store.folder / "notes.txt").touch()
    assert [found.id for found in store.records()] == [record.id]


def test_a_lock_that_is_a_link_writes_nowhere_else(store: Store, tmp_path: Path) -> None:
    store.prepare()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (store.folder / ".lock").symlink_to(victim)
    with pytest.raises(OSError):
        store.add(talk("one"))
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["", "x", "../conversations", "2", "*", "..", "/etc/passwd"])
def test_an_id_that_is_none_or_not_clear(store: Store, name: str) -> None:
    store.add(talk("one"))
    store.add(talk("two"))
    with pytest.raises(Refusal) as caught:
        store.find(name)
    assert ("begin with 2" if name == "2" else "there is no conversation") in caught.value.message


def test_ids_may_be_shortened(store: Store) -> None:
    record = store.add(talk("one"))
    assert store.find(record.id[:6]).id == record.id
    assert store.find("last").id == record.id
    (store.folder / f"{record.id}-more.json").write_bytes(talk("two").encode())
    assert store.find(record.id).id == record.id


def test_two_programs_lose_nothing_of_each_other(store: Store) -> None:
    one = store.add(talk("begin"))
    other = Record(store, one.id)
    others = other.read()
    mine = one.save(one.read().then("mine", "yes"))
    both = other.save(others.then("others", "yes"))
    assert asked(both) == ["begin", "mine", "others"]
    assert asked(one.save(mine.then("more", "yes"))) == ["begin", "mine", "others", "more"]


def test_a_conversation_deleted_meanwhile_is_written_again(store: Store) -> None:
    record = store.add(talk("one"))
    record.delete()
    record.save(talk("one", "two"))
    assert asked(Record(store, record.id).read()) == ["one", "two"]


@pytest.mark.parametrize(
    ("base", "theirs", "mine", "merged"),
    [
        ("ab", "abc", "abd", "abcd"),
        ("ab", "abc", "a", "ac"),  # taken back here, gone on with there
        ("ab", "a", "abd", "ad"),
        ("ab", "ac", "ad", "acd"),  # both asked for another reply
        ("ab", "", "ab", ""),
        ("ab", "ab", "ab", "ab"),
        ("", "a", "b", "ab"),
    ],
)
def test_merging(base: str, theirs: str, mine: str, merged: str) -> None:
    assert asked(merge(talk(*base), talk(*theirs), talk(*mine))) == list(merged)


def test_merging_the_rest() -> None:
    base = Talk(system="old", unanswered="q", more={"x": 1})
    assert merge(base, Talk(system="theirs"), base).system == "theirs"
    assert merge(base, Talk(system="theirs"), Talk(system="mine")).system == "mine"
    assert merge(base, base, Talk(system="old")).unanswered is None
    assert merge(base, Talk(system="old"), base).unanswered is None
    assert merge(base, Talk(more={"x": 2, "y": 3}), Talk(more={"x": 1})).more == {"x": 1, "y": 3}


WRITER = """
import sys
from pathlib import Path
from aichatfree.cli.store import Record, Store
from aichatfree.cli.talk_file import TalkFile
kind, place, name, count = sys.argv[1:]
file = Record(Store(Path(place)), name) if kind == "record" else TalkFile(Path(place) / name)
talk = file.read()
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(count)):
    talk = file.save(talk.then(f"{sys.argv[0]}{id(file)}-{number}", "yes"))
"""


@pytest.mark.parametrize("kind", ["record", "file"])
def test_programs_that_write_at_once_lose_nothing(store: Store, tmp_path: Path, kind: str) -> None:
    if kind == "record":
        record = store.add(talk("begin"))
        place, name, path = str(store.folder), record.id, record.path
    else:
        path = tmp_path / "talk.json"
        path.write_bytes(talk("begin").encode())
        place, name = str(tmp_path), "talk.json"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER.replace("{sys.argv[0]}{id(file)}", f"w{writer}"), kind, place, name, "20"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for writer in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.communicate(b"go\n", timeout=50)
        assert writer.returncode == 0
    questions = asked(Talk.parse(path.read_bytes()))
    assert len(questions) == len(set(questions)) == 61
    for writer in range(3):  # each in its own order
        own = [question for question in questions if question.startswith(f"w{writer}-")]
        assert own == [f"w{writer}-{number}" for number in range(20)]
    assert not [found for found in path.parent.iterdir() if found.suffix == ".tmp"]


def test_a_file_that_is_killed_while_written_is_whole(store: Store) -> None:
    record = store.add(talk("begin"))
    for wait in (0.0, 0.003, 0.01, 0.03):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, "record", str(store.folder), record.id, "100000"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdin is not None
            writer.stdout.readline()
            writer.stdin.write(b"go\n")
            writer.stdin.flush()
            time.sleep(wait)
            writer.kill()
        assert asked(record.read())[0] == "begin"


def test_a_link_stays_a_link_and_keeps_its_permissions(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_bytes(talk("one").encode())
    real.chmod(0o640)
    (tmp_path / "link.json").symlink_to(real)
    file = TalkFile(tmp_path / "link.json")
    file.save(file.read().then("two", "yes"))
    assert (tmp_path / "link.json").is_symlink()
    assert asked(Talk.parse(real.read_bytes())) == ["one", "two"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.parametrize("what", ["loop", "folder", "pipe", "missing folder"])
def test_a_place_that_cannot_be_written_is_told_by_its_name(tmp_path: Path, what: str) -> None:
    path = tmp_path / "talk.json"
    if what == "loop":
        path.symlink_to(path)
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path = tmp_path / "missing" / "talk.json"
    with pytest.raises((OSError, InvalidRequestError)) as caught:
        TalkFile(path).create(talk("one"), overwrite=True)
    assert str(path) in str(caught.value)
    assert ".tmp" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"null", b'{"version": 1}', b'{"version": 9, "messages": []}', b"[" * 100_000],
)
def test_what_holds_no_conversation(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.json"
    path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match="holds no conversation"):
        TalkFile(path).read()


def test_what_was_damaged_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    file = TalkFile(path)
    file.create(talk("one"))
    path.write_text("my notes")
    with pytest.raises(InvalidRequestError):
        file.save(talk("one", "two"))
    assert path.read_text() == "my notes"


def test_keys_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text('{"version": 1, "messages": [], "max_messages": 7, "mine": "\\ud800"}')
    file = TalkFile(path)
    file.save(file.read().then("one", "yes"))
    found = json.loads(path.read_bytes())
    assert (found["max_messages"], found["mine"]) == (7, "\ud800")


def test_more_turns_than_are_sent_are_kept(aichatfree: Command, store: Store) -> None:
    store = Store(aichatfree.home / "state" / "aichatfree" / "conversations")
    store.add(talk(*(str(number) for number in range(200))))
    assert aichatfree("ask", "--continue", "one more").returncode == 0
    ((_, kept),) = ((record, record.read()) for record in store.records())
    assert len(kept.turns) == 201


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these have folders of their own")
@pytest.mark.parametrize("home", [None, "", "relative", "."])
def test_a_home_that_is_none_is_that_of_the_password_database(
    no_home: None, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    import pwd

    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_STATE_HOME", "also/relative")
    entry = pwd.getpwuid(os.getuid())
    assert user_folder("state") == Path(entry.pw_dir) / ".local" / "state" / "aichatfree"

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert user_folder("state") is None
    assert user_folder("config") is None
    with pytest.raises(OSError, match="no home folder"):
        Store.of_user()
