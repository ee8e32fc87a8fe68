"""Where conversations are kept: one file each, for their owner only, in the user's state folder."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InvalidRequestError
from .folders import user_folder
from .report import Refusal
from .talk import Talk
from .talk_file import TalkFile, take_lock

_STEP = 1_000_000
"""Nanoseconds between two stamps at least: a millisecond, the smallest part of an id."""


class Store:
    """The folder of conversations.

    Each write gets a later stamp than all before it, also where the clock went backwards: it is the file's time, and
    the first one is the conversation's id. The last stamp is the time of the lock file.

    Args:
        folder: Where it is; it is made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_user(cls) -> Store:
        """The user's own.

        Raises:
            OSError: There is no place for one.
        """
        state = user_folder("state")
        if state is None:
            raise FileNotFoundError(errno.ENOENT, "there is no home folder, and no XDG_STATE_HOME")
        return cls(state / "conversations")

    def add(self, talk: Talk) -> Record:
        """Keep a conversation that is not kept yet.

        Raises:
            OSError: The folder cannot be written.
        """
        record = Record(self, "")
        record.save(talk)
        return record

    def prepare(self) -> None:
        """Make the folder, and let nobody else in.

        Raises:
            OSError: It cannot be made.
        """
        private_folder(self.folder.parent)
        private_folder(self.folder)

    def records(self) -> list[Record]:
        """All that is there, the one written last first."""
        try:
            with os.scandir(self.folder) as entries:
                # A link, or whatever else somebody put here, is not one of ours.
                found = [
                    (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name.removesuffix(".json"))
                    for entry in entries
                    if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False)
                ]
        except FileNotFoundError:
            return []
        return [Record(self, name, stamp) for stamp, name in sorted(found, reverse=True)]

    def last(self) -> tuple[Record, Talk] | None:
        """The conversation written last in which something was answered, None if there is none."""
        for record in self.records():
            try:
                talk = record.read()
            except (OSError, InvalidRequestError):
                continue
            if talk.turns:
                return record, talk
        return None

    def find(self, name: str) -> Record:
        """The conversation of that id, or whose id begins so; ``last`` is the one written last.

        Raises:
            Refusal: There is none, or more than one.
        """
        records = self.records()
        if name == "last":
            last = self.last()
            if last is None:
                raise Refusal("there is no conversation yet: aichatfree ask and chat keep theirs")
            return last[0]
        alike = [record for record in records if record.id.startswith(name)]
        exact = [record for record in alike if record.id == name]
        if name and len(exact or alike) == 1:
            return (exact or alike)[0]
        if not name or not alike:
            raise Refusal(f"there is no conversation {name!r}: aichatfree history lists what there is")
        some = ", ".join(record.id for record in alike[:3])
        raise Refusal(f"{len(alike)} conversations begin with {name}, such as {some}: give more of the id")


class Record(TalkFile):
    """One conversation that is kept.

    Args:
        store: The folder it is in.
        name: Its id; ``""`` until it is written for the first time.
        stamp: When it was written last, in nanoseconds, as far as the clock was right.
    """

    def __init__(self, store: Store, name: str, stamp: int = 0) -> None:
        super().__init__(store.folder / f"{name}.json")
        self.id = name
        self.stamp = stamp
        self._store = store

    def save(self, mine: Talk) -> Talk:
        """Bring it up to date, as :meth:`TalkFile.save`; with an id of its own the first time."""
        self._store.prepare()
        return super().save(mine)

    def delete(self) -> None:
        """Remove it.

        Raises:
            OSError: It cannot be removed.
        """
        self.path.unlink()

    def _write(self, talk: Talk) -> None:
        super()._write(talk.replace(more={**talk.more, "id": self.id}))

    def _finish(self, path: Path, mode: int) -> None:
        path.chmod(0o600)
        os.utime(path, ns=(self.stamp, self.stamp))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other programs out, and take the next stamp."""
        lock = self._store.folder / ".lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            take_lock(descriptor, lock)
            state = os.fstat(descriptor)
            # One that was just made, or never used, has a time of its own that says nothing.
            before = state.st_mtime_ns + _STEP if state.st_size else 0
            self.stamp = max(time.time_ns(), before) // _STEP * _STEP
            if not self.id:
                while os.path.lexists(self._store.folder / f"{_name(self.stamp)}.json"):
                    self.stamp += _STEP
                self.id = _name(self.stamp)
                self.path = self._store.folder / f"{self.id}.json"
            if not state.st_size:
                os.write(descriptor, b"\n")
            os.utime(lock, ns=(self.stamp, self.stamp))
            yield
        finally:
            os.close(descriptor)


def private_folder(path: Path) -> None:
    """Make a folder that only its owner can look into, or make one that is there such a folder.

    Raises:
        OSError: It cannot be made, or is somebody else's.
    """
    if not path.is_dir():
        for folder in (*reversed(path.parents), path):
            folder.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    if os.name == "posix" and stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)  # whatever the umask; somebody else's folder cannot be changed


def _name(stamp: int) -> str:
    seconds, milliseconds = divmod(stamp // _STEP, 1000)
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{milliseconds:03}"
