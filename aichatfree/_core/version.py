"""The version of this library. It stands in setup.cfg alone; here it is looked up in the installed metadata."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def version() -> str:
    """The installed version, ``"0"`` in a source tree that was never installed."""
    from importlib.metadata import PackageNotFoundError, distribution  # ~10 ms: not at import, and only once

    try:
        found = distribution("aichatfree")
    except PackageNotFoundError:
        return "0"
    # Read here: found.version has the whole file parsed as an e-mail, the README in it as well, which takes longer.
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    number = f"\n{text}".partition("\nVersion:")[2].partition("\n")[0].strip()
    return number or found.version
