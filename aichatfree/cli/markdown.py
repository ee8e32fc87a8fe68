"""Markdown on a terminal, rendered while it arrives. Imported only where it is used: its libraries take a while."""

from __future__ import annotations

import threading
import time
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment, SegmentLines
from rich.spinner import Spinner

from .keyboard import typing_unseen
from .terminal import console, visible

_FRAMES_PER_SECOND = 12
_MAX_SHARE = 0.3
"""How much of the time may go into rendering, at most."""


class Rendered:
    """Markdown. Blocks that are whole are printed for good; the last one is redrawn in place while it grows.

    All drawing is done by one thread, so that a reply that pauses is on the screen as far as it has come, and a fast
    one does not wait for the screen.
    """

    def __init__(self) -> None:
        self._text = ""
        self._printed = 0
        self._console = console()
        self._waiting = Spinner("line" if self._console.options.ascii_only else "dots")
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._keyboard = typing_unseen()  # an echo would move the cursor
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aichatfree-screen", daemon=True)

    def __enter__(self) -> Rendered:
        self._keyboard.__enter__()
        self._live.start()
        self._thread.start()
        return self

    def write(self, piece: str) -> None:
        """Take the next piece of the reply; it is drawn by and by."""
        self._text += visible(piece)

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        try:
            self._thread.join()
        finally:  # also where a second Ctrl-C comes
            self._live.stop()
            self._keyboard.__exit__(None, None, None)
            self._print(self._text[self._printed :])

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            started = time.monotonic()
            self._draw()
            pause = max(1 / _FRAMES_PER_SECOND, (time.monotonic() - started) / _MAX_SHARE)

    def _draw(self) -> None:
        pending = self._text[self._printed :]
        if whole := whole_blocks(pending):
            self._live.update("")
            self._print(pending[:whole])
            pending = pending[whole:]
        self._live.update(self._tail(pending) if pending.strip() or self._printed else self._waiting, refresh=True)

    def _print(self, text: str) -> None:
        if lines := render(text, self._console):
            if self._printed:
                self._console.print()
            self._console.print(SegmentLines(lines, new_lines=True))
        self._printed += len(text)

    def _tail(self, text: str) -> RenderableType:
        """As many of the last lines as fit on the screen: no display can redraw what has scrolled away."""
        lines = render(text, self._console)
        if self._printed:
            lines.insert(0, [])
        return SegmentLines(lines[-max(1, self._console.height - 3) :], new_lines=True)


def render(text: str, screen: Console) -> list[list[Segment]]:
    """The lines of Markdown on a terminal, with one blank line between blocks.

    HTML and the addresses of links and images are shown, and line breaks stay.
    """
    lines: list[list[Segment]] = []
    block: list[Token] = []
    for token in _parser().parse(text):
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            document = Markdown("", code_theme="ansi_dark", hyperlinks=False)
            document.parsed, block = block, []
            rendered = screen.render_lines(document, pad=False)
            filled = [at for at, line in enumerate(rendered) if any(segment.text.strip() for segment in line)]
            if filled:
                lines += [[]] if lines else []
                lines += rendered[filled[0] : filled[-1] + 1]
    return lines


def whole_blocks(text: str) -> int:
    """How much of a growing text is blocks that no further text can change: all but the last one."""
    lines = text.split("\n")
    tokens = _parser(inline=False).parse("\n".join(lines[:-1]))
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map and token.nesting >= 0]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in lines[: starts[-1]])


@lru_cache
def _parser(*, inline: bool = True) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("image")
    return parser if inline else parser.disable("inline")
