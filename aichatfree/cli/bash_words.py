"""Words as people type them, where bash has split them."""

from __future__ import annotations

from collections.abc import Iterable

from click.shell_completion import BashComplete, add_completion_class


@add_completion_class
class BashWords(BashComplete):
    """Completion for bash, which ends words at colons: they stand in addresses, and in the names of models."""

    def complete(self) -> str:
        """What bash is told: of a word with colons, only what stands behind the last one."""
        given, begun = self.get_completion_args()
        *args, word = _joined([*given, begun])
        kept = word.removesuffix("" if begun.startswith(":") else begun)
        items = self.get_completions(args, word)
        for item in items:
            item.value = item.value.removeprefix(kept)
        return "\n".join(map(self.format_completion, items))


def _joined(words: Iterable[str]) -> list[str]:
    joined: list[str] = []
    open_ended = False
    for word in words:
        colon = word != "" and not word.strip(":")
        if joined and (colon or open_ended):
            joined[-1] += word
        else:
            joined.append(word)
        open_ended = colon
    return joined
