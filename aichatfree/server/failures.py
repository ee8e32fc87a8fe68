"""What an upstream (the model behind a server) raises when it fails, and how it speaks to the request log."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

__all__ = ["BlockedError", "UpstreamError", "current_note", "note"]


class UpstreamError(Exception):
    """The model behind the server did not answer, or its reply broke off.

    Its text is `reason`: neither holds anything of a conversation, nor a key.

    Args:
        message: The words for `error.message` of the 500 that the client gets, exactly.
        code: `error.code` of that answer, or None for none.
        status: The HTTP status with which the upstream answered, None if it did not.
        reason: One short phrase for the operator's log.
        retry_after: Seconds after which another attempt may succeed, where the upstream told.

    Attributes:
        message: As above.
        code: As above.
        status: As above.
        reason: As above.
        retry_after: As above.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = "Error",
        status: int | None = None,
        reason: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason or message)
        self.message = message
        self.code = code
        self.status = status
        self.reason = reason or message
        self.retry_after = retry_after


class BlockedError(UpstreamError):
    """The provider's filters refused the prompt or stopped the reply; `reason` names which filter."""


current_note: ContextVar[Callable[[str], None] | None] = ContextVar("aichatfree_note", default=None)
"""Set by a server around a request: it takes what the request's log line should say besides, such as that the reply
stopped at the token limit."""


def note(text: str) -> None:
    """Say something for the log line of the current request, if anybody keeps one.

    Args:
        text: A short phrase, with nothing of the conversation in it.
    """
    hook = current_note.get()
    if hook is not None:
        hook(text)
