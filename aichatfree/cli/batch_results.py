"""The output of a batch: a file that outlives any interruption."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from .batch_openai import ID
from .batch_output import encode
from .report import Refusal, os_words

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STARTS = (b'{"line": ', b'{"id": "batch_req_')
"""How each line of the output begins."""

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))

_ROOM = 64 * 1024
"""Bytes that the disk must have for it to be worth the while to begin."""


class Results:
    """The output: one JSON object a line, appended and brought to the disk as soon as it is known.

    A line cut off by a crash is removed when the file is opened. Only one process may write it, and nothing that no
    batch wrote is changed.

    Args:
        path: Where it is.

    Raises:
        Refusal: It cannot be written, is written by another process, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests: dict[int, str] = {}
        self.failed: set[int] = set()
        self._rewritable = False
        self._file = self._open()
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> IO[bytes]:
        path = self.path
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise Refusal(f"{path} is no file: give -o the path of a file to write")
            while True:
                file = path.open("ab+", buffering=0)
                try:
                    _lock(file, path)
                    # Another batch may have replaced the file while we waited for nobody to write it.
                    if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                        return file
                except BaseException:
                    file.close()
                    raise
                file.close()
        except OSError as error:
            raise Refusal(f"cannot write {os_words(error)}") from error

    def _read(self) -> None:
        end = 0
        for number, data, result in self._lines():
            if result is None:
                torn = end > 0 and not data.endswith(b"\n") and any(_begins(data, start) for start in _STARTS)
                # Who crashed in the middle of its first line is not told from a file of somebody else's.
                if not torn and not (end > 0 and not data.strip(b"\0")):
                    raise Refusal(f"line {number} of {self.path} is no result of a batch: give another -o")
                break
            line, digest, failed = result
            self.digests[line] = digest
            if failed:
                self.failed.add(line)
            end += len(data)
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)

    def _lines(self) -> Iterator[tuple[int, bytes, tuple[int, str, bool] | None]]:
        """Number, bytes and content of each line; no content where it is not whole, or no result."""
        with self.path.open("rb") as file:
            for number, data in enumerate(file, 1):
                yield number, data, _read_result(data) if data.endswith(b"\n") else None

    def check(self, *, rewrite: bool) -> None:
        """Try now what would fail later: room on the disk, and a new file that takes the place of this one.

        Args:
            rewrite: Whether :meth:`sort` or :meth:`forget` will be needed.

        Raises:
            Refusal: It would fail.
        """
        self._rewritable = False
        target = self.path.resolve()
        folder, file = target.parent.stat(), target.stat()
        own = os.geteuid() if hasattr(os, "geteuid") else 0
        why = None
        if target in _mounted():
            why = f"{self.path} is mounted and cannot be replaced: give another -o"
        elif folder.st_mode & stat.S_ISVTX and own not in (0, folder.st_uid, file.st_uid):
            why = f"{self.path} is somebody else's and cannot be replaced: give another -o"
        try:
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp") as trial:
                trial.write(b" " * _ROOM)
                trial.flush()
                os.fsync(trial.fileno())
        except OSError as error:
            if error.errno in _FULL:
                raise Refusal(f"cannot write {self.path}: {error.strerror}; make room, or give another -o") from error
            if error.errno != errno.EFBIG:  # a limit on the size of files says nothing of the next one
                why = f"the folder {target.parent} cannot be written ({error.strerror}): give -o in another"
        if why is not None and rewrite:
            raise Refusal(f"{why}, or use --as-completed")
        self._rewritable = why is None

    def add(self, number: int, digest: str, result: dict[str, Any], *, failed: bool) -> None:
        """Write what came of a line.

        Args:
            number: The line's number.
            digest: Its digest.
            result: What came of it.
            failed: Whether that is a failure.

        Raises:
            OSError: It cannot be written.
        """
        data = encode(result)
        if not self.digests and self._rewritable:
            self._replace([data])  # a first line is whole or not there: half of one could be a file of somebody else's
            self._note(number, digest, failed=failed)
            return
        end = self._file.seek(0, os.SEEK_END)
        try:
            _write(self._file, data)
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._note(number, digest, failed=failed)

    def _note(self, number: int, digest: str, *, failed: bool) -> None:
        self.digests[number] = digest
        if failed:
            self.failed.add(number)

    def forget(self, numbers: Collection[int]) -> None:
        """Remove these lines, so that they are asked again."""
        if numbers:
            self._rewrite([number for number in self.digests if number not in numbers])

    def sort(self) -> None:
        """Bring the lines into the order of the input."""
        numbers = list(self.digests)
        if numbers != sorted(numbers):
            self._rewrite(sorted(numbers))

    def _rewrite(self, numbers: Collection[int]) -> None:
        """Replace the file, in one step, by one with these lines in this order."""
        places: dict[int, tuple[int, int]] = {}
        at = 0
        for _, data, result in self._lines():
            if result is not None:
                places[result[0]] = (at, len(data))
            at += len(data)
        with self.path.open("rb") as old:
            self._replace(_slices(old, [places[number] for number in numbers]))
        self.failed.intersection_update(numbers)
        self.digests = {number: self.digests[number] for number in numbers}

    def _replace(self, lines: Iterable[bytes]) -> None:
        target = self.path.resolve()  # a link stays one
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        new = os.fdopen(descriptor, "rb+", buffering=0)
        try:
            _lock(new, self.path)  # before it has the name by which others find it
            for line in lines:
                _write(new, line)
            os.fsync(descriptor)
            Path(name).chmod(stat.S_IMODE(target.stat().st_mode))
            if fcntl is None:  # Windows replaces no file, and by none, that is open
                self._file.close()
                new.close()
            Path(name).replace(target)
        except BaseException:
            new.close()
            Path(name).unlink(missing_ok=True)
            raise
        self._file.close()
        self._file = self._open() if new.closed else new

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read_result(data: bytes) -> tuple[int, str, bool] | None:
    """The number and the digest of a line of the output, and whether it tells of a failure; None if it is none."""
    if not data.startswith(_STARTS):
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    line, digest = value.get("line"), value.get("input")
    if type(line) is int and isinstance(digest, str):
        return line, digest, "error" in value
    found = ID.fullmatch(str(value.get("id")))
    if found and "custom_id" in value:
        return int(found[1]), found[2], value.get("error") is not None
    return None


def _begins(data: bytes, start: bytes) -> bool:
    return data.startswith(start) or start.startswith(data)


def _slices(file: IO[bytes], places: list[tuple[int, int]]) -> Iterator[bytes]:
    for offset, length in places:
        file.seek(offset)
        yield file.read(length)


def _lock(file: IO[bytes], path: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"another batch is writing {path}: wait for it, or give another -o") from None
        except OSError:
            pass  # a file system without locks


def _mounted() -> set[Path]:
    """The places where something is mounted, files among them, as far as this system tells."""
    with suppress(OSError):
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
        names = (line.split(" ")[4] for line in lines if line.count(" ") > 4)
        return {Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), name)) for name in names}
    return set()


def _write(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
