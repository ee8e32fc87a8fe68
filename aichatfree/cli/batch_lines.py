"""The input of a batch: its lines, whatever their form, and what each of them asks."""

from __future__ import annotations

import codecs
import io
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from .._core.wire.messages import to_contents
from ..errors import InvalidRequestError
from .batch_line import Ask, BadLineError, Line
from .batch_openai import read_request
from .report import Refusal, os_words

_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer ones first where one begins like another. That of UTF-8 is no part of the first line."""


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
            self._file.seek(0)
            start = self._file.read(4)
        except OSError as error:
            raise Refusal(f"cannot read {os_words(error)}: give a file with one prompt a line") from error
        self._encoding = next((encoding for mark, encoding in _ENCODINGS if start.startswith(mark)), None)
        try:
            self.plain = self._is_plain()
            """Whether its lines are prompts as they are, and not JSON."""
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[Line]:
        for number, data in enumerate(self._lines(), 1):
            data = data.strip()
            if data:
                yield Line(number, data, self.plain)

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _lines(self) -> Iterator[bytes]:
        self._file.seek(0)
        if self._encoding is None:
            yield self._file.readline().removeprefix(codecs.BOM_UTF8)
            for line in self._file:  # noqa: UP028 - delegated to, the file would be closed with the generator
                yield line
            return
        text = io.TextIOWrapper(self._file, self._encoding, newline="\n")
        try:
            for decoded in text:
                yield decoded.encode()
        except UnicodeError as error:
            raise Refusal(
                f"{self.name} begins as {self._encoding.upper()} and is not ({error}): save it as UTF-8"
            ) from error
        finally:
            text.detach()

    def _is_plain(self) -> bool:
        """Whether no line is, or tries to be, what a line of JSON would be here."""
        plain = False
        for data in map(bytes.strip, self._lines()):
            if data.startswith((b"{", b"[")):
                return False
            if data.startswith(b'"'):
                with suppress(ValueError):
                    json.loads(data)
                    return False
            plain = plain or bool(data)
        return plain


def read_line(line: Line, system: str | None) -> Ask:
    """What a line asks.

    Args:
        line: The line.
        system: The system message's text where the line brings none, if there is to be one.

    Raises:
        BadLineError: It asks nothing; the text says what is wrong.
    """
    value: object
    if line.plain:
        try:
            value = {"prompt": line.data.decode()}
        except UnicodeDecodeError as error:
            raise BadLineError(f"line {line.number} is not UTF-8: save the file as UTF-8", Ask(line.number)) from error
    else:
        value = _parse(line)
    if isinstance(value, (str, list)):
        value = {"prompt" if isinstance(value, str) else "messages": value}
    elif not isinstance(value, dict):
        raise BadLineError(f'line {line.number} is no prompt: write "..." or {{"prompt": "..."}}', Ask(line.number))
    ask = read_request(line, value) if "custom_id" in value else _read_own(line, value)
    if not any(isinstance(message, dict) and message.get("role") == "system" for message in ask.messages):
        own = value.get("system")
        if own is not None and not isinstance(own, str):
            raise BadLineError(f'"system" in line {line.number} must be a text', ask)
        text = system if own is None else own
        messages = [{"role": "system", "content": text}, *ask.messages] if text else ask.messages
        ask = Ask(ask.name, messages, system if own is None else None, ask.body)
    try:
        to_contents(ask.messages)
    except InvalidRequestError as error:
        raise BadLineError(f"line {line.number}: {error}", ask) from error
    return ask


def _read_own(line: Line, value: dict[str, Any]) -> Ask:
    ask = Ask(value.get("id", line.number))
    prompt, messages = value.get("prompt"), value.get("messages")
    if (prompt is None) == (messages is None):
        raise BadLineError(f'line {line.number} needs either "prompt" or "messages"', ask)
    if prompt is not None:
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list):
        raise BadLineError(f'"messages" in line {line.number} must be a list', ask)
    return Ask(ask.name, messages)


def _parse(line: Line) -> object:
    try:
        return json.loads(line.data, parse_constant=_not_json, parse_float=_finite)
    except RecursionError as error:
        why: object = "nested too deeply"
        raise BadLineError(f"line {line.number} is no JSON ({why})", Ask(line.number)) from error
    except UnicodeDecodeError as error:
        why = "not UTF-8; save the file as UTF-8"
        raise BadLineError(f"line {line.number} is no JSON ({why})", Ask(line.number)) from error
    except ValueError as error:
        why = "a number of too many digits" if "digits" in str(error) and "limit" in str(error) else error
        raise BadLineError(f"line {line.number} is no JSON ({why})", Ask(line.number)) from error


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is a word of Python's; write null or a number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is too large for a number; put it in quotes")
    return value
