"""The version of this library. It stands in setup.cfg alone; here it is looked up in the installed metadata."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def version() -> str:
    """The installed version, ``"0"`` in a source tree that was never installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed  # ~10 ms: not at import, and only once

    try:
        return installed("aichatfree")
    except PackageNotFoundError:
        return "0"
