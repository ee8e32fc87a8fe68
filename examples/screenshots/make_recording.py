"""Make recording.svg: a short film of the real command in a real shell, on a pseudo-terminal, against the local server.

Run it from a checkout with the extras ``cli`` and ``test``: ``python examples/screenshots/make_recording.py``.
The film is CSS that moves a strip of frames: no script, no fonts and no pictures from elsewhere. Who asked their system
for less motion sees the last frame.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import pexpect
import pyte

from aichatfree.server import LocalServer

HERE = Path(__file__).parent
COLUMNS, LINES = 80, 22
CELL_WIDTH, LINE_HEIGHT = 8.4, 18.0
MARGIN = 14
BETWEEN = 0.07
"""Seconds between two frames at least."""
LONGEST = 1.2
"""What takes longer is shown so long."""
AT_THE_END = 4.0

COLOURS = {
    "black": "#3b4252",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#dcdfe4",
    "default": "#dcdfe4",
}
BACKGROUND = "#1e2127"

REPLIES = {
    "reverse a list": """\
Two ways, depending on what you need:

```python
names.reverse()              # in place
backwards = names[::-1]      # a new list
```

- `reverse()` changes the list and returns **None**.
- A slice leaves the list as it was.
""",
    "And a string": "Strings have no `reverse()`, but the slice works: `text[::-1]`.",
}


class Frame(NamedTuple):
    """What the screen showed from a moment on."""

    at: float
    lines: tuple[str, ...]
    """Each line as the content of an SVG text."""


def reply(messages: list[dict[str, object]]) -> Iterator[str]:
    """The reply to the last message, in pieces, as fast as models write."""
    text = str(messages[-1]["parts"])
    answer = next((answer for question, answer in REPLIES.items() if question in text), "OK")
    for at in range(0, len(answer), 8):
        time.sleep(0.04)
        yield answer[at : at + 8]


class Camera:
    """A shell on a terminal, filmed."""

    def __init__(self, env: dict[str, str]) -> None:
        self.frames: list[Frame] = []
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._shell = pexpect.spawn(
            "/bin/bash",
            ["--norc", "--noprofile", "-i"],
            env=env,  # type: ignore[arg-type]
            dimensions=(LINES, COLUMNS),
        )
        self._screen.write_process_input = self._shell.send  # type: ignore[method-assign]

    def __enter__(self) -> Camera:
        self.wait_for("$ ")
        self.frames.clear()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._shell.close(force=True)

    def type(self, text: str) -> None:
        """Type as a person does."""
        for key in text:
            self._shell.send(key)
            self._film(0.06)

    def wait_for(self, prompt: str) -> None:
        """Film until a prompt waits for more to be typed."""
        deadline = time.monotonic() + 30
        while True:
            self._film(0.3)
            line = self._screen.display[self._screen.cursor.y][: self._screen.cursor.x]
            if line == prompt:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{prompt!r} was not seen on this screen:\n" + "\n".join(self._screen.display))

    def _film(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                self._stream.feed(self._shell.read_nonblocking(65536, timeout=min(left, BETWEEN)))
            except pexpect.TIMEOUT:
                pass
            now = time.monotonic()
            if not self.frames or now - self.frames[-1].at >= BETWEEN:
                lines = tuple(self._line(number) for number in range(LINES))
                if not self.frames or lines != self.frames[-1].lines:
                    self.frames.append(Frame(now, lines))

    def _line(self, number: int) -> str:
        cells = [self._screen.buffer[number][column] for column in range(COLUMNS)]
        while cells and cells[-1].data in (" ", "") and not cells[-1].reverse:
            cells.pop()
        runs = groupby(cells, key=lambda cell: (cell.fg, cell.bold, cell.italics, cell.underscore))
        return "".join(_run("".join(cell.data for cell in alike), *style) for style, alike in runs)


def _run(text: str, colour: str, bold: bool, italic: bool, underlined: bool) -> str:
    name = colour.removeprefix("bright")
    looks = [f'fill="{COLOURS.get(name, f"#{name}")}"'] if colour != "default" else []
    looks += ['font-weight="bold"'] if bold else []
    looks += ['font-style="italic"'] if italic else []
    looks += ['text-decoration="underline"'] if underlined else []
    text = escape(text, quote=False).replace(" ", "\xa0")
    return f"<tspan {' '.join(looks)}>{text}</tspan>" if looks else text


def draw(frames: list[Frame]) -> str:
    """The film.

    Args:
        frames: What was on the screen, in order; the last one stays a while.
    """
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, LINES * LINE_HEIGHT + 2 * MARGIN + 24
    ids: dict[str, str] = {}
    strip: list[str] = []
    for number, frame in enumerate(frames):
        used = (
            f'<use href="#{ids.setdefault(line, f"l{len(ids)}")}" y="{place * LINE_HEIGHT:.0f}"/>'
            for place, line in enumerate(frame.lines)
            if line
        )
        strip.append(f'<g transform="translate({number * width:.0f})">{"".join(used)}</g>')
    lengths = [min(after.at - before.at, LONGEST) for before, after in pairwise(frames)]
    lengths.append(AT_THE_END)
    total, at = sum(lengths), 0.0
    steps: list[str] = []
    for number, length in enumerate(lengths):
        steps.append(f"{at / total * 100:.2f}%{{transform:translateX({-number * width:.0f}px)}}")
        at += length
    last = -(len(frames) - 1) * width
    lines = "".join(f'<text id="{name}">{line}</text>' for line, name in ids.items())
    dots = "".join(
        f'<circle cx="{MARGIN + 6 + place * 18}" cy="18" r="5.5" fill="{fill}"/>'
        for place, fill in enumerate(("#ff5f56", "#ffbd2e", "#27c93f"))
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="aichatfree ask, \
chat --continue and history in a terminal">
<style>
text{{font:14px Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:{COLOURS["default"]};white-space:pre}}
.film{{animation:film {total:.2f}s step-end infinite}}
@keyframes film{{{"".join(steps)}}}
@media (prefers-reduced-motion:reduce){{.film{{animation:none;transform:translateX({last:.0f}px)}}}}
</style>
<defs><clipPath id="window"><rect width="{width:.0f}" height="{height:.0f}" rx="8"/></clipPath>{lines}</defs>
<g clip-path="url(#window)"><rect width="{width:.0f}" height="{height:.0f}" fill="{BACKGROUND}"/>{dots}
<g transform="translate({MARGIN} {MARGIN + 36})"><g class="film">
{chr(10).join(strip)}
</g></g></g>
</svg>
"""


def main() -> None:
    """Make the film."""
    with tempfile.TemporaryDirectory() as folder, LocalServer(reply, port=3000) as server:
        program = Path(folder) / "bin" / "aichatfree"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m aichatfree "$@"\n')
        program.chmod(0o755)
        env = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(HERE.parents[1]),
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
            "PS1": "$ ",
            "AICHATFREE_BASE_URL": server.url,
        }
        with Camera(env) as camera:
            camera.type('aichatfree ask "How do I reverse a list in Python?"\r')
            camera.wait_for("$ ")
            camera.type("aichatfree chat --continue\r")
            camera.wait_for("> ")
            camera.type("And a string?\r")
            camera.wait_for("> ")
            camera.type("\x04")
            camera.wait_for("$ ")
            camera.type("aichatfree history\r")
            camera.wait_for("$ ")
        (HERE / "recording.svg").write_text(draw(camera.frames), "utf-8")


if __name__ == "__main__":
    main()
