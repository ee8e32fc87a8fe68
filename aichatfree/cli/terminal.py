"""The two streams of a command line: what cannot be shown there is replaced, and a closed one is let be."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

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
# Anything a terminal may take for a command: C0 but tab and newline, DEL, C1.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# Bytes that Python could not decode (PEP 383).
_ESCAPED = re.compile(r"[\udc80-\udcff]")


def _spell(error: UnicodeError) -> tuple[str, int]:
    """An error handler for encoding: common signs are spelled in ASCII, anything else becomes a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_SPELLINGS.get(character, "?") for character in lost), error.end


codecs.register_error("aichatfree.spell", _spell)


class _Nowhere(io.TextIOBase):
    """Takes any text."""

    def write(self, text: str) -> int:
        return len(text)


def prepare_streams() -> None:
    """Make stdout and stderr take any text, whatever their encoding, and write newlines as they are.

    A stream that was closed by whoever started us is empty, or takes everything.
    """
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BytesIO())
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _Nowhere())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="aichatfree.spell", newline="")


def drop_output() -> None:
    """Let the rest of stdout go nowhere: its reader is gone, and the interpreter will flush it once more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def complain(text: str) -> None:
    """Write one line to stderr, under the program's name."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"aichatfree: {one_line(text)}\n")
        sys.stderr.flush()


def one_line(text: str) -> str:
    """``text`` on one line, with nothing in it that a terminal would obey."""
    return _CONTROLS.sub("\ufffd", " ".join(text.split()))


def visible(text: str) -> str:
    """``text`` with nothing in it that a terminal would obey but newlines and tabs; carriage returns go."""
    return _CONTROLS.sub("\ufffd", text.replace("\r", ""))


def print_json(value: object) -> None:
    """Write one line of JSON to stdout; with escapes, which mean the same, where its encoding is not Unicode."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    sys.stdout.write(json.dumps(value, ensure_ascii=not unicode) + "\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout or stderr as they are now. It heeds NO_COLOR, COLUMNS and TERM."""
    from rich.console import Console

    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, markup=False, emoji=False)


def as_text(argument: str) -> str:
    """An argument of the command line as text, also where the locale could not decode it: then it is UTF-8."""
    return os.fsencode(argument).decode("utf-8", "replace") if _ESCAPED.search(argument) else argument
