"""Markdown as lines: no word of it is lost, at any width, and a line that is final stays as it is."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aichatfree.cli.console import SafeConsole
from aichatfree.cli.filter import visible
from aichatfree.cli.layout import lay_out
from aichatfree.cli.markdown import _Page
from aichatfree.cli.progress import Progress

MARKDOWN = {
    "words": "Some *emphasis*, __strong__ ~~struck~~ `code` and a\nnew line.  \nAnd\\\nanother.",
    "headings": "# One #\n\nTwo\n===\n\nThree\n---\n\n###### Six",
    "links": "[text](http://a.example/x%20y 'the title') <http://b.example/%41> ![picture](c.png)",
    "definitions": '[lost][x]\n\n[x]: /where "why"',
    "html": "<b>bold</b> <!-- comment -->\n\n<div>\nblock\n</div>",
    "lists": "- one\n- two\n\n  more\n- three\n  1. four\n  2. five\n\n     ```\n     six\n     ```\n\n7) seven",
    "empty-items": "- \n- a\n-\n\n1.\n2. b",
    "nested-lists": "".join(f"{'  ' * depth}- item{depth}\n" for depth in range(14)),
    "nested-quotes": "".join(f"{'> ' * depth}quote{depth}\n{'> ' * depth}\n" for depth in range(1, 21)),
    "too-deep": "> " * 300 + "bottom",
    "far-too-deep": ">" * 5000 + " bottom\n" + "- " * 2000 + "item",
    "table": "| name | what |\n|---|--:|\n| a | b |\n| long " + "words " * 30 + "| c |",
    "many-columns": "|".join(["", *(f"h{n}" for n in range(30)), ""])
    + "\n"
    + "|---" * 30
    + "|\n"
    + "|".join(["", *(f"c{n}" for n in range(30)), ""]),
    "more-cells-than-columns": "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n| 4 \\| 5 | 6 |",
    "table-without-rows": "| a | b |\n|---|---|",
    "code": "```python title=x\ndef f():\n\treturn '''a\n\nb'''\n```\n\n    indented\n\n~~~\nopen",
    "long-word": "Before.\n\n" + "0123456789" * 30 + "\n\nAfter.",
    "wide": "日本語のテキスト 👩\u200d🚀 " * 10,
    "rule": "a\n\n***\n\nb",
}


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def console(width: int = 80) -> SafeConsole:
    made = SafeConsole(_Screen())
    made.size = (width, 24)  # type: ignore[assignment]
    return made


def shown(text: str, width: int = 80) -> list[str]:
    """The lines of all blocks, without what stands between them."""
    blocks = lay_out(visible(text), console(width))
    return [line.plain for block in blocks for unit in block for line in unit]


def words(text: str) -> Counter[str]:
    return Counter(re.sub(r"[^0-9A-Za-z\u3040-\u9fff]", "", text))


@pytest.mark.parametrize("width", [1, 2, 5, 12, 20, 40, 80, 300])
@pytest.mark.parametrize("kind", MARKDOWN)
def test_no_word_is_lost_at_any_width(kind: str, width: int) -> None:
    text = MARKDOWN[kind]
    lost = words(text) - words("".join(shown(text, width)))
    if kind == "code":
        lost -= words("python")  # told by the colours
    assert not lost
    assert "\u2026" not in "".join(shown(text, width))


@pytest.mark.parametrize("kind", [kind for kind in MARKDOWN if "code" not in kind])
def test_lines_fit_the_window(kind: str) -> None:
    for width in (20, 40, 80):
        blocks = lay_out(MARKDOWN[kind], console(width))
        assert max(line.cell_len for block in blocks for unit in block for line in unit) <= width


def test_code_stands_at_the_left_edge_whole_and_as_it_was_written() -> None:
    code = ["if True:", "\tx = 1", "", "    y = " + "1 + " * 100 + "1"]
    fence = "\n".join(["```python", *code, "```"])
    assert shown(fence, 40) == code
    listed = "1. Do:\n\n   " + fence.replace("\n", "\n   ")
    assert shown(listed, 40)[-4:] == code
    assert shown("> " + fence.replace("\n", "\n> "), 40)[-4:] == code


def test_a_list_keeps_its_marks_and_its_blank_lines() -> None:
    assert shown("- one\n- two\n\n- three\n  - four") == [" • one", " • two", "", " • three", "    • four"]
    assert shown("7. seven\n8. eight\n   lines") == [" 7. seven", " 8. eight", "    lines"]
    assert shown("> a\n> b\n>\n> c") == ["▌ a", "▌ b", "▌", "▌ c"]


def test_a_table_stands_side_by_side_where_there_is_room_and_else_as_records() -> None:
    table = "| name | n |\n|---|--:|\n| one | 1 |\n| two | 22 |"
    assert shown(table) == ["name   n", "────────", "one    1", "two   22"]
    assert shown(table, 5) == ["name:", "one", "n: 1", "", "name:", "two", "n: 22"]


def test_addresses_are_shown_as_they_were_written() -> None:
    assert shown("[a](http://x/%1b%20 'why')") == ["a (http://x/%1b%20 why)"]
    assert shown("<http://x/%1b]0;x%07>") == ["<http://x/%1b]0;x%07>"] or shown("<http://x/%41>") == ["http://x/%41"]
    assert shown("<me@x.example>") == ["me@x.example"]


def pages(pieces: list[str]) -> list[str]:
    """What has been printed for good when the last piece has come."""
    page = _Page(console())
    lines: list[str] = []
    for piece in pieces:
        final, _ = page.turn(piece, whole=False)
        lines += [line.plain for line in final]
    final, growing = page.turn("", whole=True)
    assert not growing
    return [*lines, *(line.plain for line in final)]


@pytest.mark.parametrize("kind", [kind for kind in MARKDOWN if "deep" not in kind])
def test_a_text_that_grows_is_printed_once_and_as_if_it_had_come_at_once(kind: str) -> None:
    text = MARKDOWN[kind] + "\n\nEnd."
    for step in (1, 3, 17) if len(text) < 200 else (11, 31):
        assert pages([text[at : at + step] for at in range(0, len(text), step)]) == pages([text])


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.sampled_from(
            ["a", " ", "\n", "\n\n", "- ", "  ", "1. ", "> ", "```\n", "~~~", "|", "---", "#", "*", "`", "\t"]
        )
    )
)
def test_whatever_grows_is_printed_once(pieces: list[str]) -> None:
    assert pages(pieces) == pages(["".join(pieces)])


def test_code_and_items_are_final_before_their_block_is_whole() -> None:
    page = _Page(console())
    final, growing = page.turn("```\none\ntwo\nthr", whole=False)
    assert ([line.plain for line in final], [line.plain for line in growing]) == (["one", "two"], ["thr"])
    final, growing = _Page(console()).turn("- one\n- two\n- thr", whole=False)
    assert [line.plain for line in final] == [" • one"]


def test_a_bar_fits_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    class Results:
        digests = dict.fromkeys(range(7))
        failed = frozenset({3})

    for columns in (40, 80, 200):
        monkeypatch.setattr("aichatfree.cli.progress.size", lambda columns=columns: (columns, 24))
        line = Progress(40, Results())._line(10**9)
        assert "7/40" in line
        assert "1 failed" in line
        assert len(line) <= columns
