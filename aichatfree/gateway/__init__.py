"""The OpenAI API in front of a client: programs that speak it can use a GeminiProChat server.

`LocalGateway` serves it from a thread of this process; `create_app` is the same as an aiohttp application, for whoever
embeds it. Importing this package imports nothing else; aiohttp is imported when one of the names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aichatfree.gateway.app import create_app
    from aichatfree.gateway.local import LocalGateway

__all__ = ["LocalGateway", "create_app"]

_HOMES = {"LocalGateway": "local", "create_app": "app"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
