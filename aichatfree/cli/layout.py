"""Markdown as lines on a terminal. No word of it is cut off or left out, and code stands as it is to be copied."""

from __future__ import annotations

from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from rich.style import Style
from rich.text import Text

from .console import SafeConsole
from .tables import lay_out_table

Unit = list[Text]
"""Lines that stand together: an item of a list, a line of code, a whole block of any other kind."""

_DEEPEST = 60
"""Levels of lists and quotes in each other; the parser needs some stack for each of them, and drops what is deeper."""
_LEAST = 20
"""Columns that remain for words, however deep a list is, if the terminal has twice as many."""
_INLINE = {"strong": "bold", "em": "italic", "s": "strike"}
_CODE = "bold cyan"
_SIDES = {"text-align:right": "right", "text-align:center": "center"}


class _Parser(MarkdownIt):
    """CommonMark and tables; addresses stay as they were written, and are not decoded for display."""

    def normalizeLink(self, url: str) -> str:  # noqa: N802 - markdown_it's name
        return url

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802
        return link


@lru_cache
def parser(*, inline: bool = True) -> MarkdownIt:
    """The parser. HTML, images and definitions of links are text: there they would not be seen."""
    made = _Parser("commonmark", {"html": False, "maxNesting": _DEEPEST}).enable(["strikethrough", "table"])
    made.disable(["image", "reference"])
    return made if inline else made.disable("inline")


def lay_out(text: str, console: SafeConsole) -> list[list[Unit]]:
    """The blocks of a Markdown text, as the units that they consist of.

    Args:
        text: Text that :func:`~aichatfree.cli.filter.visible` has seen.
        console: Where it will be shown.
    """
    tokens = parser().parse(text)
    layout = _Layout(text.split("\n"), console)
    if any(token.level >= _DEEPEST - 2 for token in tokens):
        return [[layout.as_it_is(text.rstrip("\n"))]]
    return [units for node in SyntaxTreeNode(tokens).children if (units := layout.units(node))]


class _Layout:
    """Lays out the blocks of one text.

    Args:
        source: The lines of the text.
        console: Where it will be shown.
    """

    def __init__(self, source: list[str], console: SafeConsole) -> None:
        self._source = source
        self._console = console
        self._width = max(1, console.width)

    def units(self, node: SyntaxTreeNode) -> list[Unit]:
        """The units of a block that stands in no other."""
        if node.type in ("fence", "code_block"):
            return [[line] for line in self._code(node)]
        if node.type in ("bullet_list", "ordered_list"):
            return [self._gap(before, item) + self._item(item, "") for before, item in _pairs(node.children)]
        lines = self._block(node, "", "")
        return [lines] if lines else []

    def as_it_is(self, text: str) -> Unit:
        """Text as it is."""
        return [line for part in text.split("\n") for line in self._wrap(Text(part), self._width)]

    def _block(self, node: SyntaxTreeNode, first: str, rest: str) -> Unit:
        """The lines of a block; ``first`` stands before the first one and ``rest`` before the others."""
        if node.type in ("fence", "code_block"):
            # At the left edge wherever it belongs: what stands before a line would be copied with it.
            return ([Text(first.rstrip(), "dim")] if first != rest else []) + self._code(node)
        if node.type in ("bullet_list", "ordered_list"):
            lines: Unit = []
            for before, item in _pairs(node.children):
                lines += self._gap(before, item) + self._item(item, rest if lines else first)
            return lines
        if node.type == "blockquote":
            return self._container(node, f"{first}▌ ", f"{rest}▌ ")
        width = max(2, self._width - len(self._fit(rest)))
        if node.type == "table":
            content = self._table(node, width)
        elif node.type == "hr":
            content = [Text("─" * width, "dim")]
        else:
            style = {"h1": "bold underline"}.get(node.tag, "bold") if node.type == "heading" else ""
            content = self._wrap(self._inline(node, style), width)
        return self._prefixed(content, first, rest)

    def _item(self, item: SyntaxTreeNode, before: str) -> Unit:
        marker = f"{item.info}{item.markup} " if item.info else "• "
        return self._container(item, f"{before} {marker}", f"{before} {' ' * len(marker)}")

    def _container(self, node: SyntaxTreeNode, first: str, rest: str) -> Unit:
        lines: Unit = []
        for before, child in _pairs(node.children):
            lines += self._prefixed(self._gap(before, child), rest, rest)
            lines += self._block(child, rest if lines else first, rest)
        return lines or self._prefixed([Text()], first, rest)

    def _gap(self, before: SyntaxTreeNode | None, node: SyntaxTreeNode) -> Unit:
        """The blank line that stands between two blocks in the source."""
        if before is None or not node.map or not node.map[0]:
            return []
        return [] if self._source[node.map[0] - 1].strip(" >\t") else [Text()]

    def _fit(self, prefix: str) -> str:
        """As much of what stands before a line as leaves room for words."""
        return prefix[-max(3, min(self._width // 2, self._width - _LEAST)) :]

    def _prefixed(self, lines: Unit, first: str, rest: str) -> Unit:
        result = []
        for number, line in enumerate(lines):
            prefixed = Text(self._fit(rest if number else first), "dim").append_text(line)
            prefixed.rstrip()
            result.append(prefixed)
        return result

    def _wrap(self, text: Text, width: int) -> list[Text]:
        return list(text.wrap(self._console, max(2, width), overflow="fold", tab_size=4))

    def _code(self, node: SyntaxTreeNode) -> Unit:
        from .highlight import highlight

        info = node.info.strip()
        told = [Text(info, "dim")] if len(info.split()) > 1 else []
        return told + highlight(node.content, info)

    def _table(self, node: SyntaxTreeNode, width: int) -> Unit:
        rows = [row for part in node.children for row in part.children]
        head, *body = (
            [self._inline(cell, "bold" if cell.type == "th" else "") for cell in row.children] for row in rows
        )
        if node.map and any(_cells(line) > len(head) for line in self._source[node.map[0] : node.map[1]]):
            return [  # more cells than columns: a table has no place for them
                line
                for part in self._source[node.map[0] : node.map[1]]
                for line in self._wrap(Text(part.strip()), width)
            ]
        sides = [_SIDES.get(str(cell.attrs.get("style")), "left") for cell in rows[0].children]
        return lay_out_table(head, body, sides, width, self._wrap)

    def _inline(self, node: SyntaxTreeNode, style: str) -> Text:
        text = Text()
        for child in node.children:
            _append(text, child, Style.parse(style))
        return text


def _append(text: Text, node: SyntaxTreeNode, style: Style) -> None:
    if node.type in ("softbreak", "hardbreak"):
        text.append("\n")
    elif node.type == "code_inline":
        text.append(node.content, style + Style.parse(_CODE))
    elif node.type == "link":
        before = len(text)
        for child in node.children:
            _append(text, child, style)
        target = " ".join(str(node.attrs[name]) for name in ("href", "title") if node.attrs.get(name))
        if target.removeprefix("mailto:") != text.plain[before:]:
            text.append(f" ({target})", style)
    elif node.children:
        for child in node.children:
            _append(text, child, style + Style.parse(_INLINE.get(node.type, "")))
    elif node.content:
        text.append(node.content, style)


def _pairs(nodes: list[SyntaxTreeNode]) -> list[tuple[SyntaxTreeNode | None, SyntaxTreeNode]]:
    """Each node with the one before it."""
    return list(zip([None, *nodes], nodes, strict=False))


def _cells(line: str) -> int:
    """How many cells a line of a table has."""
    inner = line.strip().replace("\\\\", "").replace("\\|", "").removeprefix("|").removesuffix("|")
    return inner.count("|") + 1
