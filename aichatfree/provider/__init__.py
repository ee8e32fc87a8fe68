"""The class that users of provider frameworks, such as g4f, know: AIChatFree."""

from .aichatfree import AIChatFree
from .generator import AsyncGeneratorProvider, ProviderModelMixin

__all__ = ["AIChatFree", "AsyncGeneratorProvider", "ProviderModelMixin"]
