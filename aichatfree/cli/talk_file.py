"""The file of a conversation: several programs may write it at once, and none of them loses a turn of another."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InvalidRequestError
from .talk import Talk, merge

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOCK_SECONDS = 5.0
"""How long to wait for another program, which needs a few milliseconds, before giving up."""


class TalkFile:
    """A conversation's file.

    It is replaced in one step, so that a crash leaves the old content or the new one. What another program has written
    since this one looked is merged, not overwritten.

    Args:
        path: Where it is. A link is followed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: Talk | None = None
        """What was in the file when this program read or wrote it last."""

    def read(self) -> Talk:
        """What the file holds.

        Raises:
            OSError: It cannot be read.
            InvalidRequestError: It holds no conversation; the text says why.
        """
        self._seen = self._read()
        return self._seen

    def save(self, mine: Talk) -> Talk:
        """Bring the file up to date.

        Args:
            mine: What this program has: what was read from the file, with its own changes.

        Returns:
            What is in the file now, which is more than ``mine`` where another program wrote to it as well.

        Raises:
            OSError: It cannot be written.
            InvalidRequestError: It holds something else by now; the text says why.
        """
        with self._locked():
            try:
                theirs: Talk | None = self._read()
            except FileNotFoundError:
                theirs = None
            if theirs is not None and self._seen is not None and not theirs.same_words(self._seen):
                mine = merge(self._seen, theirs, mine)
            self._write(mine)
            self._seen = mine
        return mine

    def create(self, mine: Talk, *, overwrite: bool = False) -> None:
        """Write a file that is not there yet, or take the place of what is there.

        Raises:
            FileExistsError: There is one, and it is not to be overwritten.
            OSError: It cannot be written.
        """
        with self._locked():
            if not overwrite and os.path.lexists(self.path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))
            self._write(mine)
            self._seen = mine

    def _read(self) -> Talk:
        # A pipe of that name would let us wait for ever.
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InvalidRequestError(f"{self.path} is not a file: give the path of a file")
            data = file.read()
        try:
            return Talk.parse(data)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{self.path} holds no conversation: {error}") from error

    def _write(self, talk: Talk) -> None:
        try:
            found = self.path.stat()  # a link that leads to itself fails here, in plain words
            if not stat.S_ISREG(found.st_mode):
                raise InvalidRequestError(f"{self.path} is not a file: give the path of a file to write")
            mode = stat.S_IMODE(found.st_mode)
        except FileNotFoundError:
            mode = 0o600
        target = Path(os.path.realpath(self.path))  # a link stays one
        try:
            self._replace(target, talk.encode(), mode)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(self.path)) from error

    def _replace(self, target: Path, data: bytes, mode: int) -> None:
        import tempfile  # it takes a while, and an ask needs it after its reply only

        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".aichatfree-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            self._finish(Path(name), mode)
            os.replace(name, target)  # noqa: PTH105 - the atomic one, by its own name
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _finish(self, path: Path, mode: int) -> None:
        """Give the new file its permissions, before it gets its name."""
        path.chmod(mode)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other programs out of the folder: a file that is replaced cannot be the lock itself."""
        folder = Path(os.path.realpath(self.path)).parent
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError:  # Windows; a folder that cannot be listed
            yield
            return
        try:
            take_lock(descriptor, self.path)
            yield
        finally:
            os.close(descriptor)


def take_lock(descriptor: int, path: Path) -> None:
    """Wait until no other program holds the lock on an open file or folder, and take it.

    Args:
        descriptor: What is open; closing it gives the lock back.
        path: What to call it in an error.

    Raises:
        TimeoutError: Another program does not give it back.
    """
    if fcntl is None:
        return
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "another program keeps it locked", str(path)) from None
            time.sleep(0.01)
        except OSError:
            return  # a file system without locks
