"""Which characters of a text may reach a terminal. Pure functions: nothing here writes or knows a library."""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"

_STEERING = (
    "\x00-\x08\x0b-\x1f"  # C0 but tab and newline
    "\x7f-\x9f"  # DEL, and C1: a single character that begins a command, as ESC with its letter does
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # bidi: one that is not closed turns the rest of the line around
)
# They are compiled when they are used for the first time: that takes a while, and into a pipe goes the exact text.
_CONTROLS = f"[{_STEERING}]"
_CONTROLS_BUT_RETURN = f"(?!\r)[{_STEERING}]"
_NEWLINES = "\r\n?|[\u2028\u2029]"
_COLOURS_OR_CONTROLS = f"(\x1b\\[[0-9;]*m)|[{_STEERING}]"
_NOT_IN_JSON = "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]"


def visible(text: str) -> str:
    """``text`` with nothing in it that a terminal would obey but tabs and newlines, of whatever kind they were."""
    return re.sub(_CONTROLS, REPLACEMENT, re.sub(_NEWLINES, "\n", text))


class Cleaner:
    """:func:`visible` for a text that comes in pieces: a newline of two characters may be split between them."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str, *, last: bool = False) -> str:
        """The next part of the visible text.

        Args:
            piece: What has come.
            last: No more will come.
        """
        piece = self._held + piece
        self._held = "\r" if piece.endswith("\r") and not last else ""
        return visible(piece.removesuffix(self._held))


def edited(text: str) -> str:
    """What a line editor shows of what is typed; it moves to the beginning of a line by carriage returns."""
    return re.sub(_CONTROLS_BUT_RETURN, REPLACEMENT, text)


def one_line(text: str) -> str:
    """``text`` on one line, with nothing in it that a terminal would obey."""
    return re.sub(_CONTROLS, REPLACEMENT, " ".join(text.split()))


def coloured(text: str) -> str:
    """What our own renderer composed: its colours pass, and no other command of a terminal."""
    return re.sub(_COLOURS_OR_CONTROLS, lambda found: found[1] or REPLACEMENT, text)


def escape_json(text: str) -> str:
    """JSON that means the same, where what a terminal might obey, or what is half a character, is an escape.

    Args:
        text: JSON, in which C0 is escaped already.
    """
    return re.sub(_NOT_IN_JSON, lambda found: f"\\u{ord(found[0]):04x}", text)
