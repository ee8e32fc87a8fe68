"""Markdown on a terminal, rendered while it arrives. Imported only where it is used: its libraries take a while."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from contextlib import ExitStack

from markdown_it.token import Token
from rich.console import ConsoleDimensions
from rich.text import Text

from .console import SafeConsole
from .drawing import Drawing
from .filter import Cleaner
from .keyboard import typing_unseen
from .layout import lay_out, parser
from .terminal import Screen

_FRAMES_PER_SECOND = 12
_MAX_SHARE = 0.3
"""How much of the time may go into rendering, at most."""
_WAITING = ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "-\\|/")


class Rendered:
    """Markdown. What no further text can change is printed for good; the rest is redrawn in place while it grows.

    All drawing is done by one thread, so that a reply that pauses is on the screen as far as it has come, and a fast
    one does not wait for the screen.

    Args:
        screen: The terminal.
    """

    def __init__(self, screen: Screen) -> None:
        self._console = SafeConsole(screen)
        self._drawing = Drawing(screen)
        self._page = _Page(self._console)
        self._received: deque[str] = deque()
        self._cleaner = Cleaner()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aichatfree-screen", daemon=True)
        self._open = ExitStack()
        self._signs = itertools.cycle(_WAITING[self._console.options.ascii_only])

    def __enter__(self) -> Rendered:
        with ExitStack() as opening:
            opening.enter_context(typing_unseen())  # an echo would move the cursor
            opening.enter_context(self._drawing)
            self._thread.start()
            self._open = opening.pop_all()
        return self

    def write(self, piece: str) -> None:
        """Take the next piece of the reply; it is drawn by and by."""
        self._received.append(piece)

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        try:
            self._thread.join()
            self._draw(last=True)
        finally:
            self._open.close()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            started = time.monotonic()
            try:
                with self._drawing.lock:
                    if self._drawing.usable:
                        self._draw()
            except (OSError, ValueError):
                return  # the terminal is gone: whoever writes to it next will say so
            pause = max(1 / _FRAMES_PER_SECOND, (time.monotonic() - started) / _MAX_SHARE)

    def _draw(self, *, last: bool = False) -> None:
        self._console.size = ConsoleDimensions(*self._drawing.room())
        received = [self._received.popleft() for _ in range(len(self._received))]
        final, growing = self._page.turn(self._cleaner.feed("".join(received), last=last), whole=last)
        if not final and not growing and not self._page.printed:
            growing = [Text(next(self._signs))]
        printed = "".join(f"{self._console.paint(line)}\n" for line in final)
        self._drawing.show(printed, [self._console.paint(line) for line in growing], last=last)


class _Page:
    """A growing text, as lines that are final and lines that are not.

    Args:
        console: Where it will be shown.
    """

    def __init__(self, console: SafeConsole) -> None:
        self._console = console
        self._pending = ""
        self._units = 0
        self.printed = False
        """Whether there are final lines."""

    def turn(self, text: str, *, whole: bool) -> tuple[list[Text], list[Text]]:
        """What has become final since the last call, and what further text may change.

        Args:
            text: What has come since the last call.
            whole: No more will come.
        """
        final: list[Text] = []
        pending = self._pending + text
        end = len(pending) if whole else whole_blocks(pending)
        if end:
            for block in lay_out(pending[:end], self._console):
                self._print(final, block, len(block))
                self._units = 0
            pending = pending[end:]
        self._pending = pending
        growing: list[Text] = []
        if pending.strip():
            first, *others = lay_out(pending, self._console) or [[]]
            self._print(final, first, min(final_units(pending), len(first)))
            if first and self.printed and not self._units:
                growing.append(Text())
            growing += [line for unit in first[self._units :] for line in unit]
            for block in others:
                growing += [Text(), *(line for unit in block for line in unit)]
        return final, growing

    def _print(self, final: list[Text], block: list[list[Text]], units: int) -> None:
        if units > self._units:
            if self.printed and not self._units:
                final.append(Text())
            final += [line for unit in block[self._units : units] for line in unit]
            self._units = units
            self.printed = True


def whole_blocks(text: str) -> int:
    """How much of a growing text is blocks that no further text can change: all but the last one."""
    lines = text.split("\n")
    starts = [token.map[0] for token in _complete_lines(lines) if token.level == 0 and token.map and token.nesting >= 0]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in lines[: starts[-1]])


def final_units(text: str) -> int:
    """How many units of the first block of a growing text no further text can change."""
    tokens = _complete_lines(text.split("\n"))
    if tokens and tokens[0].type == "fence":
        told = len(tokens[0].info.split()) > 1
        return tokens[0].content.count("\n") + told
    if tokens and tokens[0].type in ("bullet_list_open", "ordered_list_open"):
        return sum(token.type == "list_item_open" and token.level == 1 for token in tokens) - 1
    return 0


def _complete_lines(lines: list[str]) -> list[Token]:
    return parser(inline=False).parse("".join(f"{line}\n" for line in lines[:-1]))
