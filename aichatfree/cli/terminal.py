"""The two streams of a command line, and the one gate to a terminal.

Where stdout or stderr is a terminal, :class:`Screen` takes its place. Whatever is written there, by whichever library,
is filtered as the last thing before the terminal, so that it does not matter what was decoded on the way. Two methods
let more pass: :meth:`Screen.paint` the colours of our own renderer, whose content the console has filtered before it
coloured it, and :meth:`Screen.command` what this program itself wants of the terminal.
A pipe or a file gets the exact bytes.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from .filter import coloured, escape_json, one_line, visible

__all__ = [
    "Screen",
    "as_text",
    "complain",
    "draw_around",
    "drop_output",
    "one_line",
    "prepare_streams",
    "print_json",
    "size",
    "visible",
    "write_exactly",
]

_SPELLINGS = {
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("“”„«»″", '"'),
    **dict.fromkeys("‐‑‒–—−─━", "-"),
    **dict.fromkeys("•·▪◦●", "*"),
    **dict.fromkeys("│┃▌", "|"),
    **dict.fromkeys("\xa0\u202f", " "),
    "…": "...",
    "→": "->",
    "✓": "ok",
    "✗": "x",
}
_USUAL_SIZE = (80, 24)

# Bytes that Python could not decode (PEP 383).
_ESCAPED = r"[\udc80-\udcff]"


def _spell(error: UnicodeError) -> tuple[str, int]:
    """An error handler for encoding: common signs are spelled in ASCII, anything else becomes a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_SPELLINGS.get(character, "?") for character in lost), error.end


def _exact(error: UnicodeError) -> tuple[bytes, int]:
    """An error handler for encoding as UTF-8: a byte of a file name is that byte, half a character is U+FFFD."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    data = (bytes([ord(one) - 0xDC00]) if re.match(_ESCAPED, one) else b"\xef\xbf\xbd" for one in lost)
    return b"".join(data), error.end


codecs.register_error("aichatfree.spell", _spell)
codecs.register_error("aichatfree.exact", _exact)


class _Nowhere(io.TextIOBase):
    """Takes any text."""

    def write(self, text: str) -> int:
        return len(text)


class Screen(io.TextIOBase):
    """A stream to a terminal that only text can pass.

    It has no ``buffer``: libraries that look for one would write past it.

    Args:
        stream: The stream to the terminal.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The terminal's encoding."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of a character that this encoding does not have."""
        return self.stream.errors

    def isatty(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The terminal's file descriptor."""
        return self.stream.fileno()

    def flush(self) -> None:
        """Send what was written."""
        self.stream.flush()

    def write(self, text: str) -> int:
        """Write text, from wherever it comes."""
        self._put(visible(text))
        return len(text)

    def paint(self, text: str) -> int:
        """Write what our renderer composed: of all that commands a terminal, only colours pass."""
        self._put(coloured(text))
        return len(text)

    def command(self, text: str) -> None:
        """Write what may command the terminal, at once. The caller vouches for every character."""
        self.stream.write(text)
        self.stream.flush()

    def _put(self, text: str) -> None:
        if _drawing is None:
            self.stream.write(text)
        else:
            _drawing(self, text)


_drawing: Callable[[Screen, str], None] | None = None


def draw_around(write: Callable[[Screen, str], None] | None) -> None:
    """While a reply is drawn over and over, let what others write to the terminal go through ``write``."""
    global _drawing  # noqa: PLW0603 - as there is one terminal
    _drawing = write


def prepare_streams() -> None:
    """Make stdout and stderr take any text, a terminal only text, a pipe or file UTF-8 with newlines as they are.

    A stream that was closed by whoever started us is empty, or takes everything.
    """
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    elif isinstance(sys.stdin, io.TextIOWrapper) and _is_ascii(sys.stdin.encoding):
        # A locale that knows ASCII only says nothing about what is typed; that is UTF-8 almost everywhere.
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _Nowhere())
        elif isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="aichatfree.spell", newline="")
                setattr(sys, name, Screen(stream))
            elif name == "stdout" and not os.environ.get("PYTHONIOENCODING"):
                stream.reconfigure(encoding="utf-8", errors="aichatfree.exact", newline="")
            else:
                stream.reconfigure(errors="aichatfree.spell", newline="")


def _is_ascii(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "ascii"


def write_exactly(text: str) -> None:
    """Write a piece of a reply to stdout, which is no terminal, at once and as the bytes that it came as.

    Raises:
        OSError: It cannot be written.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(text)
    else:
        buffer.write(text.encode("utf-8", "aichatfree.exact"))
    sys.stdout.flush()


def drop_output(stream: Any = None) -> None:
    """Let the rest of a stream go nowhere: it cannot be written, and the interpreter will flush it once more.

    Args:
        stream: The stream; None is stdout.
    """
    stream = sys.stdout if stream is None else stream
    with contextlib.suppress(AttributeError, OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    with contextlib.suppress(OSError, ValueError):
        stream.flush()


def complain(text: str) -> None:
    """Write one line to stderr, under the program's name."""
    try:
        sys.stderr.write(f"aichatfree: {one_line(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        drop_output(sys.stderr)


def print_json(value: object) -> None:
    """Write one line of JSON to stdout; with escapes, which mean the same, where its encoding is not Unicode."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    sys.stdout.write(escape_json(json.dumps(value, ensure_ascii=not unicode)) + "\n")
    sys.stdout.flush()


def size() -> tuple[int, int]:
    """Columns and lines of the terminal: what it says itself, or what COLUMNS and LINES say, where that is less."""
    known = (0, 0)
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            known = os.get_terminal_size(stream.fileno())
            break
    result = []
    for name, found, usual in zip(("COLUMNS", "LINES"), known, _USUAL_SIZE, strict=True):
        said = os.environ.get(name, "")
        wanted = int(said) if said.isascii() and said.isdigit() and len(said) < 6 else 0
        result.append(min(wanted or found, found or wanted) or usual)
    return result[0], result[1]


def as_text(argument: str) -> str:
    """An argument of the command line as text, also where the locale could not decode it: then it is UTF-8.

    Raises:
        UnicodeDecodeError: It is neither.
    """
    return os.fsencode(argument).decode("utf-8") if re.search(_ESCAPED, argument) else argument
