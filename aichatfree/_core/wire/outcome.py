"""What became of an answer after its status had gone out: told by whoever serves, for whoever counts."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["outcome"]

outcome: ContextVar[str] = ContextVar("aichatfree_outcome", default="")
"""Of the request whose task this is: ``cut``, ``cancelled`` by its client, or ``""``: as its status says."""
