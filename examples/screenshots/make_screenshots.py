"""Make chat.svg and check.svg: the real command, on a pseudo-terminal, against the local server.

Run it from a checkout with the extras ``cli`` and ``test``: ``python examples/screenshots/make_screenshots.py``.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pexpect
import pyte
from rich.color import ANSI_COLOR_NAMES
from rich.console import Console
from rich.text import Text

from aichatfree.server import LocalServer

HERE = Path(__file__).parent
COLUMNS = 84
LOOKS = {"bold": "bold", "italic": "italics", "underline": "underscore"}
CTRL_D = "\x04"
REPLIES = {
    "How do I reverse a list": """\
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


def reply(messages: list[dict[str, object]]) -> Iterator[str]:
    """The reply to the last message, in pieces."""
    text = str(messages[-1]["parts"])
    answer = next((answer for question, answer in REPLIES.items() if question in text), "OK")
    for at in range(0, len(answer), 12):
        yield answer[at : at + 12]


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *args: str, lines: int) -> None:
        self.screen = pyte.Screen(COLUMNS, lines)
        self._stream = pyte.ByteStream(self.screen)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AICHATFREE_")}
        environment = {**kept, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": tempfile.mkdtemp()}
        self._process = pexpect.spawn(
            sys.executable,
            ["-m", "aichatfree", *args],
            env=environment,  # type: ignore[arg-type]
            dimensions=(lines, COLUMNS),
        )
        self.screen.write_process_input = self._process.send  # type: ignore[method-assign]

    def type(self, text: str) -> None:
        """Type, and wait until the screen is at rest."""
        self._process.send(text)
        self.settle()

    def settle(self) -> None:
        """Read until nothing more comes for a second."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 1:
            try:
                data = self._process.read_nonblocking(65536, timeout=0.1)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                return
            self._stream.feed(data)
            quiet_since = time.monotonic()

    def picture(self, command: str, path: Path) -> None:
        """Write what is on the screen as an SVG, under the command that was typed for it."""
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        lines = [self._line(number) for number in range(self.screen.lines)]
        while lines and not lines[-1].plain.strip():
            lines.pop()
        console.print(Text.assemble(("$ ", "green"), command), *lines, sep="\n")
        picture = console.export_svg(title="aichatfree")
        path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), "utf-8")  # load no fonts

    def _line(self, number: int) -> Text:
        line = Text()
        cells = [self.screen.buffer[number][column] for column in range(COLUMNS)]
        for style, alike in groupby(cells, key=style_of):
            line.append("".join(cell.data for cell in alike), style)
        line.rstrip()
        return line


def style_of(cell: pyte.screens.Char) -> str:
    """What rich calls the look of a character on the screen."""
    styles = [style for style in ("bold", "italic", "underline") if getattr(cell, LOOKS[style])]
    if cell.fg != "default":
        name = cell.fg.replace("brown", "yellow").replace("bright", "bright_")
        styles.append(name if name in ANSI_COLOR_NAMES else f"#{cell.fg}")
    return " ".join(styles)


def main() -> None:
    """Make both pictures."""
    with LocalServer(reply, port=3000) as server:
        chat = Terminal("chat", "--base-url", server.url, lines=30)
        chat.settle()
        chat.type("How do I reverse a list in Python?\r")
        chat.type("And a string?\r")
        chat.type("/save reversing.json")
        chat.picture(f"aichatfree chat --base-url {server.url}", HERE / "chat.svg")
        chat.type("\x03")
        chat.type(CTRL_D)
    with LocalServer(password="sesame", port=3000) as server:
        check = Terminal("check", "--base-url", server.url, lines=30)
        check.settle()
        check.picture(f"aichatfree check --base-url {server.url}", HERE / "check.svg")


if __name__ == "__main__":
    main()
