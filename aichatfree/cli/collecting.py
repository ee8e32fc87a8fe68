"""When the collector of cyclic garbage looks at what a command has loaded: never, as all of it stays.

Of the processor time that ``aichatfree ask`` takes beside its libraries', the collector took more than half: it went
through the modules while they were being loaded, again and again, and once more at the end.
"""

from __future__ import annotations

import gc

_ENOUGH = 100_000
"""New objects before the collector runs while a program starts: more than are made until a client is there."""

_usual: tuple[int, int, int] | None = None


def starting() -> None:
    """The program is being loaded. Only for a program of our own: elsewhere, the collector is not ours to set."""
    global _usual  # noqa: PLW0603 - as there is one collector
    if not hasattr(gc, "freeze"):  # another Python, with another collector
        return
    _usual = gc.get_threshold()
    gc.set_threshold(_ENOUGH, *_usual[1:])


def loaded() -> None:
    """What there is now stays; from here on the collector works as ever, on what is new."""
    global _usual  # noqa: PLW0603 - as there is one collector
    if _usual is not None:
        gc.freeze()
        gc.set_threshold(*_usual)
        _usual = None


def ending() -> None:
    """The program ends, and its memory with it: there is nothing to look for any more."""
    if hasattr(gc, "freeze"):
        gc.freeze()
