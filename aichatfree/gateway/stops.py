"""Stop sequences: where a reply that comes in pieces is to end. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Stops"]


class Stops:
    """Cuts a text that comes in pieces before the stop sequence that begins first, wherever the pieces begin and end.

    Args:
        sequences: None of them empty.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = tuple(sequences)
        self._held = ""
        self.found = False
        """Whether a sequence was found. The text ends there."""

    def feed(self, piece: str) -> str:
        """Take the next piece; return what of the text certainly stands before any stop sequence."""
        text = self._held + piece
        end = min((at for sequence in self._sequences if (at := text.find(sequence)) >= 0), default=-1)
        begun = self._may_begin(text, len(text) if end < 0 else end)
        if begun is not None:
            # One that begins earlier may still be completed by what comes: only that can tell.
            self._held = text[begun:]
            return text[:begun]
        self._held = ""
        if end < 0:
            return text
        self.found = True
        return text[:end]

    def finish(self) -> str:
        """The text has ended: return what of it was held back and stands before a stop sequence."""
        text, self._held = self._held, ""
        ends = [at for sequence in self._sequences if (at := text.find(sequence)) >= 0]
        if ends:
            self.found = True
            return text[: min(ends)]
        return text

    def _may_begin(self, text: str, before: int) -> int | None:
        """The first place before ``before`` from which ``text`` is the beginning of a sequence that goes on."""
        longest = max(map(len, self._sequences), default=0)
        for at in range(max(0, len(text) - longest + 1), before):
            rest = text[at:]
            if any(len(sequence) > len(rest) and sequence.startswith(rest) for sequence in self._sequences):
                return at
        return None
