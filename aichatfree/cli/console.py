"""A console of rich whose content is filtered before it is coloured. Imported only where needed: rich takes a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any, cast

from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from .filter import visible
from .terminal import Screen, size

_COLOURS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
    "windows": ColorSystem.WINDOWS,
}


class _Painter:
    """The file that a console writes to, where that is a terminal."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.write = screen.paint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._screen, name)


class SafeConsole(Console):
    """A console that writes no control character but those of its colours, whatever it is given to print.

    rich turns content into segments in :meth:`render`, which is public, and colours them after that; nothing decodes
    them any more. The :class:`Screen` below lets colours pass and nothing else, so that a release of rich which did
    otherwise could change colours at most.

    Args:
        stream: Where it writes.
    """

    def __init__(self, stream: Any) -> None:
        file = cast(IO[str], _Painter(stream) if isinstance(stream, Screen) else stream)
        columns, lines = size()
        super().__init__(
            file=file,
            width=columns,
            height=lines,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What to show of an object, with no link and nothing that a terminal would obey in it."""
        return (_harmless(segment) for segment in super().render(renderable, options))

    def paint(self, line: Text) -> str:
        """One line with its colours, and without the newline: neither wrapped nor cut."""
        system = _COLOURS.get(self.color_system or "")
        painted = []
        for segment in _without_colour(line.render(self), self.no_color):
            text, style, _ = _harmless(segment)
            painted.append(style.render(text, color_system=system) if style else text)
        return "".join(painted)


def _harmless(segment: Segment) -> Segment:
    text, style, control = segment
    if control:
        return segment
    if style is not None and style.link:
        style = style.update_link(None)
    return Segment(visible(text), style)


def _without_colour(segments: Iterable[Segment], wanted: bool) -> Iterator[Segment]:
    yield from Segment.remove_color(segments) if wanted else segments
