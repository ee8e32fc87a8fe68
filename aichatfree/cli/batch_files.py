"""The two files of a batch: what to ask, and what came of it, which outlives any interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import InvalidRequestError
from .report import Refusal, os_words

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_START = b'{"line": '
"""How each line of the output begins."""


@dataclass(frozen=True)
class Line:
    """One line of the input.

    Args:
        number: From 1, blank lines counted.
        data: What it holds, as it is.
    """

    number: int
    data: bytes

    @property
    def digest(self) -> str:
        """Tells the line from others, so that an answer is never taken for that of another question."""
        return hashlib.sha256(self.data).hexdigest()[:16]


class Source:
    """The input: one prompt a line. It can be read as often as needed.

    Args:
        name: Its path; ``-`` is stdin.

    Raises:
        Refusal: It cannot be read.
    """

    def __init__(self, name: str) -> None:
        self.name = "stdin" if name == "-" else name
        try:
            self._file: IO[bytes] = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115
            if not self._file.seekable():
                with self._file as pipe:
                    self._file = tempfile.TemporaryFile()  # noqa: SIM115
                    shutil.copyfileobj(pipe, self._file)
        except OSError as error:
            raise Refusal(f"cannot read {os_words(error)}: give a file with one prompt a line") from error

    def __iter__(self) -> Iterator[Line]:
        self._file.seek(0)
        for number, data in enumerate(self._file, 1):
            data = data.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else data.strip()
            if data:
                yield Line(number, data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_prompt(line: Line, system: str | None) -> tuple[object, list[Any]]:
    """The id of a line, and the messages that it asks with.

    Args:
        line: The line.
        system: The system message's text where the line brings none, if there is to be one.

    Raises:
        InvalidRequestError: It is neither; the text says what is wrong.
    """
    try:
        value = json.loads(line.data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"line {line.number} is no JSON ({error})") from error
    if isinstance(value, (str, list)):
        value = {"prompt" if isinstance(value, str) else "messages": value}
    elif not isinstance(value, dict):
        raise InvalidRequestError(f'line {line.number} is no prompt: write "..." or {{"prompt": "..."}}')
    prompt, messages = value.get("prompt"), value.get("messages")
    if (prompt is None) == (messages is None):
        raise InvalidRequestError(f'line {line.number} needs either "prompt" or "messages"')
    if prompt is not None:
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list):
        raise InvalidRequestError(f'"messages" in line {line.number} must be a list')
    if not any(isinstance(message, dict) and message.get("role") == "system" for message in messages):
        system = value.get("system", system)
        messages = [{"role": "system", "content": system}, *messages] if system else messages
    return value.get("id", line.number), messages


def read_id(line: Line) -> object:
    """The id of a line, if it can be made out; else its number."""
    with suppress(ValueError, RecursionError):
        value = json.loads(line.data)
        if isinstance(value, dict):
            return value.get("id", line.number)
    return line.number


class Results:
    """The output: one JSON object a line, appended and brought to the disk as soon as it is known.

    A line cut off by a crash is removed when the file is opened. Only one process may write it.

    Args:
        path: Where it is.

    Raises:
        Refusal: It cannot be written, is written by another process, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests: dict[int, str] = {}
        self.failed: set[int] = set()
        self._open()

    def _open(self) -> None:
        path = self.path
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise Refusal(f"{path} is no file: give -o the path of a file to write")
            self._file = path.open("ab+", buffering=0)
        except OSError as error:
            raise Refusal(f"cannot write {os_words(error)}") from error
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refusal(f"another batch is writing {self.path}: wait for it, or give another -o") from None
            except OSError:
                pass  # a file system without locks

    def _read(self) -> None:
        end = 0
        self.digests.clear()
        self.failed.clear()
        for number, data, result in self._lines():
            if result is None:
                torn = not data.endswith(b"\n") and (data.startswith(_START) or _START.startswith(data))
                if not torn and data.strip(b"\0"):
                    raise Refusal(f"line {number} of {self.path} is no result of a batch: give another -o")
                break
            self.digests[result["line"]] = result["input"]
            if "error" in result:
                self.failed.add(result["line"])
            end += len(data)
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)

    def _lines(self) -> Iterator[tuple[int, bytes, dict[str, Any] | None]]:
        """Number, bytes and content of each line; no content where it is not whole, or no result."""
        with self.path.open("rb") as file:
            for number, data in enumerate(file, 1):
                result: dict[str, Any] | None = None
                if data.startswith(_START) and data.endswith(b"\n"):
                    with suppress(ValueError, RecursionError):
                        value = json.loads(data)
                        if isinstance(value.get("line"), int) and isinstance(value.get("input"), str):
                            result = value
                yield number, data, result

    def add(self, line: Line, result: dict[str, Any]) -> None:
        """Write what came of a line.

        Raises:
            OSError: It cannot be written.
        """
        data = _encode({"line": line.number, **result, "input": line.digest})
        end = self._file.seek(0, os.SEEK_END)
        try:
            _write(self._file, data)
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self.digests[line.number] = line.digest
        if "error" in result:
            self.failed.add(line.number)

    def forget_failed(self) -> None:
        """Remove the lines that failed, so that they are asked again."""
        if self.failed:
            self._rewrite([number for number in self.digests if number not in self.failed])

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
                places[result["line"]] = (at, len(data))
            at += len(data)
        target = self.path.resolve()  # a link stays one
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as new, self.path.open("rb") as old:
                for number in numbers:
                    offset, length = places[number]
                    old.seek(offset)
                    new.write(old.read(length))
                new.flush()
                os.fsync(new.fileno())
            Path(name).chmod(stat.S_IMODE(target.stat().st_mode))
            self._file.close()  # Windows replaces no open file
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _encode(value: dict[str, Any]) -> bytes:
    try:
        return f"{json.dumps(value, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:  # an id with half a surrogate pair
        return f"{json.dumps(value)}\n".encode()


def _write(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
