"""A real server of the protocol for this machine: `LocalServer` in a thread, `create_app` for aiohttp, `run`.

Importing this package imports nothing else; aiohttp is imported when one of the names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aichatfree.server.app import create_app
    from aichatfree.server.local import LocalServer, run
    from aichatfree.server.upstreams.gemini import Gemini
    from aichatfree.server.upstreams.ollama import Ollama
    from aichatfree.server.upstreams.openai_compatible import OpenAICompatible

__all__ = ["Gemini", "LocalServer", "Ollama", "OpenAICompatible", "create_app", "run"]

_HOMES = {
    "Gemini": "upstreams.gemini",
    "LocalServer": "local",
    "Ollama": "upstreams.ollama",
    "OpenAICompatible": "upstreams.openai_compatible",
    "create_app": "app",
    "run": "local",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
