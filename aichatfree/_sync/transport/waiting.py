"""How this wing waits."""

from __future__ import annotations

from threading import Event as Alarm

__all__ = ["Alarm"]
