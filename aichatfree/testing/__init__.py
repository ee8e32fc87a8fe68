"""A testing kit: a server of the protocol on this machine that misbehaves on demand.

`ScriptedServer` serves `Reply` after `Reply`, good or bad, over real sockets, and records what it is asked.
The pytest fixtures `aichatfree_server`, `aichatfree_client` and `aichatfree_async_client` come with the package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aichatfree.testing.faults import (
        BrokenChunk,
        BrokenEncoding,
        Drop,
        Fault,
        Garbage,
        Informational,
        OversizedHeaders,
        Stall,
        WrongLength,
    )
    from aichatfree.testing.memory import AsyncMemoryTransport, MemoryTransport
    from aichatfree.testing.proxy import ProxyServer
    from aichatfree.testing.recorded import Headers, RecordedRequest
    from aichatfree.testing.reply import Pause, Repeat, Reply
    from aichatfree.testing.server import ScriptedServer

_HOMES = {
    "AsyncMemoryTransport": "memory",
    "MemoryTransport": "memory",
    "BrokenChunk": "faults",
    "BrokenEncoding": "faults",
    "Drop": "faults",
    "Fault": "faults",
    "Garbage": "faults",
    "Headers": "recorded",
    "Informational": "faults",
    "OversizedHeaders": "faults",
    "Pause": "reply",
    "ProxyServer": "proxy",
    "RecordedRequest": "recorded",
    "Repeat": "reply",
    "Reply": "reply",
    "ScriptedServer": "server",
    "Stall": "faults",
    "WrongLength": "faults",
}

__all__ = [
    "AsyncMemoryTransport",
    "BrokenChunk",
    "BrokenEncoding",
    "Drop",
    "Fault",
    "Garbage",
    "Headers",
    "Informational",
    "MemoryTransport",
    "OversizedHeaders",
    "Pause",
    "ProxyServer",
    "RecordedRequest",
    "Repeat",
    "Reply",
    "ScriptedServer",
    "Stall",
    "WrongLength",
]


if not TYPE_CHECKING:  # else a type checker would take every name for one of this package

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
