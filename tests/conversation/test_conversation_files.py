"""Conversations in files: whole or not at all, and readable by nobody else."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aichatfree import AsyncClient, Client, InvalidRequestError
from aichatfree._async.conversation import AsyncConversation
from aichatfree._sync.conversation import BaseConversation, Conversation

HISTORY = [{"role": "user", "content": "Grüße 👋"}, {"role": "assistant", "content": "zwei\nZeilen"}]


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Any:
    return Client() if request.param == "sync" else AsyncClient()


@pytest.fixture
def conversation(client: Any) -> Any:
    return client.conversation("kurz", HISTORY, max_messages=10, on_interrupt="keep")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def load(path: Any, client: Any) -> BaseConversation[Any]:
    kind = AsyncConversation if isinstance(client, AsyncClient) else Conversation
    return kind.load(path, client=client)


def test_what_is_saved_is_loaded(tmp_path: Path, client: Any, conversation: Any) -> None:
    conversation._unanswered = "und?"
    path = tmp_path / "chat.json"
    conversation.save(path)
    again = load(path, client)
    assert again.messages == conversation.messages
    assert again.to_dict() == conversation.to_dict()
    assert again.unanswered == "und?"
    assert load(str(path), client).messages == conversation.messages
    assert os.listdir(tmp_path) == ["chat.json"]


def test_the_file_has_the_documented_form(tmp_path: Path, conversation: Any) -> None:
    path = tmp_path / "chat.json"
    conversation.save(str(path))
    text = path.read_text(encoding="utf-8")
    assert "Grüße 👋" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "version": 1,
        "max_messages": 10,
        "on_interrupt": "keep",
        "messages": [{"role": "system", "content": "kurz"}, *HISTORY],
    }


def test_lone_surrogates_can_be_saved(tmp_path: Path, client: Any) -> None:
    path = tmp_path / "chat.json"
    history = [{"role": "user", "content": "a\ud800"}, {"role": "assistant", "content": "\udfffb"}]
    client.conversation("s\ud801", history).save(path)
    assert [message.content for message in load(path, client).messages] == ["s\ufffd", "a\ufffd", "\ufffdb"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_permissions(tmp_path: Path, conversation: Any) -> None:
    path = tmp_path / "chat.json"
    conversation.save(path)
    assert mode(path) == 0o600
    for kept in (0o644, 0o660):
        path.chmod(kept)
        conversation.save(path)
        assert mode(path) == kept


def test_a_link_stays_a_link(tmp_path: Path, client: Any, conversation: Any) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / "chat.json"
    link.symlink_to(folder / "real.json")
    conversation.save(link)
    conversation.save(link)
    assert link.is_symlink()
    assert load(folder / "real.json", client).messages == conversation.messages


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, client: Any, conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.json"
    conversation.save(path)
    before = path.read_bytes()
    conversation.undo()

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        conversation.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["chat.json"]


CRASHER = """
import os, signal, sys
from aichatfree import Client
conversation = Client().conversation(history=["u" * 100_000, {"role": "assistant", "content": "a"}])
real = os.fsync
def fsync(descriptor):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
conversation.save(sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_crash_while_saving_leaves_the_old_file_whole(tmp_path: Path, client: Any, conversation: Any) -> None:
    path = tmp_path / "chat.json"
    conversation.save(path)
    crashed = subprocess.run([sys.executable, "-c", CRASHER, str(path)], check=False, timeout=50)
    assert crashed.returncode == -9
    assert load(path, client).messages == conversation.messages
    assert load(path, client).messages[0].content == "kurz"


def test_the_data_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, conversation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def replace(source: Any, target: Any) -> None:
        assert Path(source).parent == Path(target).parent
        steps.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    conversation.save(tmp_path / "chat.json")
    assert steps == ["file", "replace", "folder"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path, conversation: Any) -> None:
    with pytest.raises(InvalidRequestError, match="is not a file: give the path of a file to write"):
        conversation.save(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidRequestError, match="is not a file"):
            conversation.save(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        conversation.save(tmp_path / "missing" / "chat.json")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is not JSON"),
        (b"{", r"it is not JSON \(.*line 1 column 2"),
        (b'"\xff"', r"it is not UTF-8 \(byte 1\)"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"version": ' + b"9" * 5000 + b"}", "it is not JSON|needs a newer release"),
        (b"[]", 'a conversation is a JSON object with "version" and "messages", not something of type list'),
        (b'{"version": 7, "messages": []}', "version 7, which needs a newer release"),
        (b'{"version": 1, "messages": [{"role": "robot", "content": "x"}]}', r"messages\[0\] has the role 'robot'"),
        (b'{"version": 1, "messages": [{"role": "user", "content": "x"}]}', "has no answer"),
        (b'{"version": 1, "messages": [], "max_messages": 1}', "max_messages is 1"),
        (b'{"version": 1, "messages": [], "on_interrupt": "ask"}', "on_interrupt is 'ask'"),
        (b'{"version": 1, "messages": [], "unanswered": ""}', "the text is empty"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, client: Any, data: bytes, words: str) -> None:
    path = tmp_path / "chat.json"
    path.write_bytes(data)
    with pytest.raises(InvalidRequestError, match=words) as caught:
        load(path, client)
    assert str(caught.value).startswith(f"{path} holds no conversation: ")


def test_a_file_that_cannot_be_read_is_the_systems_error(tmp_path: Path, client: Any) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.json", client)
    with pytest.raises(OSError):
        load(tmp_path, client)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path, client: Any) -> None:
    path = tmp_path / "chat.json"
    path.write_text('{"version": 1, "messages": []}', encoding="utf-8-sig")
    assert load(path, client).messages == ()


@pytest.fixture(autouse=True)
def _no_folder_is_left_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    yield
    assert before == (len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0)
