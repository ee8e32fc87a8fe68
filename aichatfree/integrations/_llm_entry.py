"""What the ``llm`` command loads, whatever its version: it must be importable always, and register nothing in doubt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

try:
    from llm import hookimpl
    from llm.models import AsyncKeyModel, KeyModel, Prompt

    usable = isinstance(AsyncKeyModel, type) and isinstance(KeyModel, type) and hasattr(Prompt, "messages")
except Exception:  # an llm that is too old, or broken: its other plugins must work on
    usable = False

if usable:

    @hookimpl  # type: ignore[untyped-decorator, unused-ignore]
    def register_models(register: Callable[..., Any]) -> None:
        """Register the models, or, if anything about them fails, none."""
        try:
            from .llm import ALIASES, AIChatFreeModel, AsyncAIChatFreeModel

            models = AIChatFreeModel(), AsyncAIChatFreeModel()
        except Exception as error:
            logging.getLogger("aichatfree").warning("the llm plugin is not available: %s", error)
            return
        register(*models, aliases=ALIASES)
