"""Code with colours, character by character as it was written."""

from __future__ import annotations

from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

_MOST = 200_000
"""Characters of code that are given colours: longer code would take seconds."""


def highlight(code: str, info: str) -> list[Text]:
    """The lines of code.

    Args:
        code: The code, with a newline at the end of each line.
        info: What the fence says of it; its first word is the language.
    """
    code = code.removesuffix("\n")
    text = Text(code)
    for start, end, style in _colours(code, info.split(maxsplit=1)[0] if info else ""):
        text.stylize(style, start, end)
    return list(text.split("\n", allow_blank=True))


def _colours(code: str, language: str) -> list[tuple[int, int, Style]]:
    # With no width of a tab the lexer leaves tabs as they are.
    syntax = Syntax("", language, theme="ansi_dark", tab_size=0)
    if syntax.lexer is None or len(code) > _MOST:
        return []
    theme = Syntax.get_theme("ansi_dark")
    found: list[tuple[int, int, Style]] = []
    at = 0
    for kind, token in syntax.lexer.get_tokens(code):
        if at < len(code) and not code.startswith(token.removesuffix("\n"), at):
            return []  # this lexer changes what it reads
        found.append((at, at + len(token), theme.get_style_for_token(kind)))
        at += len(token)
    return found
