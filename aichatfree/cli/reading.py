"""What is to be sent: files, stdin, arguments. It is sent as it was meant, or refused; never changed in silence."""

from __future__ import annotations

import codecs
import locale
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .report import Refusal
from .terminal import as_text, complain

BLANK_LINE = "\n\n"
_SILENCE = 2.0
"""Seconds of waiting for stdin before a word about it."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as the mark of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks."""


def read_question(prompt: tuple[str, ...], files: tuple[str, ...], *, stdin: bool = True) -> str:
    """The prompt: files, then stdin, then the arguments, with blank lines between.

    Args:
        prompt: The arguments.
        files: Names of files; ``-`` is stdin.
        stdin: Whether stdin may be read where no one asks for it.

    Raises:
        Refusal: A file cannot be read, or is not text, or there is no text at all.
    """
    if prompt == ("-",):
        prompt, files = (), (*files, "-")
    if not stdin and "-" in files:
        raise Refusal("- reads stdin, and -n leaves it alone: leave one of them out")
    texts = [read_text(name) for name in files]
    if stdin and "-" not in files and _stdin_has_text(bool(prompt or files)):
        texts.append(read_text("-"))
    texts = [text.strip("\n") for text in (*texts, read_argument(" ".join(prompt)))]
    question = BLANK_LINE.join(text for text in texts if text.strip())
    if not question:
        raise Refusal('the prompt is empty: give one, such as aichatfree ask "Hello", or pipe it in')
    return question


def read_argument(argument: str) -> str:
    """An argument of the command line as text.

    Raises:
        Refusal: It is text neither in the locale's encoding nor in UTF-8.
    """
    try:
        return as_text(argument)
    except UnicodeDecodeError:
        raise Refusal("an argument is not valid UTF-8: put the text in a file and send that with --file") from None


def read_text(name: str) -> str:
    """The text of a file.

    Args:
        name: Its path; ``-`` is stdin.

    Raises:
        Refusal: It cannot be read, or is not text.
    """
    where = "stdin" if name == "-" else name
    try:
        if name == "-":
            with _word_about_silence():
                data = sys.stdin.buffer.read()
        else:
            with open(name, "rb") as file:  # noqa: PTH123 - /dev/stdin and the like as well
                data = file.read()
    except OSError as error:
        raise Refusal(f"cannot read {where}: {error.strerror}; check --file") from error
    except ValueError as error:  # a name with a NUL in it
        raise Refusal(f"cannot read {where}: {error}; check --file") from error
    return decode(data, where)


def decode(data: bytes, where: str) -> str:
    """The text that bytes stand for: as their byte order mark says, else UTF-8, else as the locale says.

    Args:
        data: The bytes.
        where: Where they come from, for people.

    Raises:
        Refusal: They are not text.
    """
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    candidates = [encoding] if encoding else ["utf-8", *_of_the_locale()]
    for candidate in candidates:
        try:
            text = data.decode(candidate)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = data.decode(candidates[0], "replace")
        if "\0" not in text:
            complain(f"warning: {where} is no valid {candidates[0].upper()}: what could not be read was replaced")
    if "\0" in text:
        raise Refusal(f"{where} is no text: it holds binary data, and this protocol carries text only")
    return text


def _of_the_locale() -> list[str]:
    """The locale's encoding, where that is one of its own."""
    name = codecs.lookup(locale.getpreferredencoding(False)).name
    return [] if name in ("utf-8", "ascii") else [name]


def _stdin_has_text(asked_already: bool) -> bool:
    """Whether stdin is to be read: a pipe or a file is, and anything but a terminal where there is no other prompt."""
    try:
        kind = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # a stand-in
        return not sys.stdin.closed
    if stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind):
        return True
    return not asked_already and not sys.stdin.isatty()


@contextmanager
def _word_about_silence() -> Iterator[None]:
    """Say so if stdin keeps us waiting: whoever sees nothing happen may not know that it is read at all."""
    hint = "end it with Ctrl-D" if sys.stdin.isatty() else "-n leaves it alone"
    timer = threading.Timer(_SILENCE, complain, [f"waiting for the end of stdin, which is sent too; {hint}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
