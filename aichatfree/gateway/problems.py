"""What goes wrong, as the OpenAI API says it: a status, an error object, whether another attempt can help. No I/O."""

from __future__ import annotations

import math
import re
from typing import Any

from ..errors import (
    AIChatFreeError,
    APIError,
    AuthenticationError,
    ConnectError,
    EmptyReplyError,
    InvalidPasswordError,
    InvalidRequestError,
    InvalidSignatureError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ReplyTooLargeError,
    RequestTimeoutError,
    ServerError,
    StreamInterruptedError,
)
from .patience import may_help

__all__ = ["Problem", "problem_of"]

_SERVER_ERROR = "server_error"
_MAX_WAIT_SECONDS = 365 * 24 * 3600.0
"""What is more is passed on as a year, which programs can read as a number."""


class Problem(Exception):  # noqa: N818 - an answer to a caller, and no failure of this program
    """An answer that is an error.

    Args:
        status: The HTTP status.
        message: What is wrong and what to do about it.
        param: The parameter of the request that is to blame, as a path such as ``messages[0].content``.
        code: A word for programs.
        kind: The ``type`` of the error object; None: the one that goes with the status.
        retry_after: Seconds after which another attempt may succeed, where that is known.
        retryable: Whether another attempt can help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.kind = kind or (_SERVER_ERROR if status >= 500 else "invalid_request_error")
        self.retry_after = retry_after
        self.retryable = retryable
        self.allow: str | None = None
        """The methods that may be used in place of the request's, for a 405."""

    def body(self) -> dict[str, Any]:
        """The error object."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """The header fields that go with it."""
        fields: dict[str, str] = {}
        if self.retry_after is not None:
            fields["Retry-After"] = str(math.ceil(min(self.retry_after, _MAX_WAIT_SECONDS)))
        if not self.retryable:
            fields["x-should-retry"] = "false"
        if self.allow is not None:
            fields["Allow"] = self.allow
        if self.status == 401:
            fields["WWW-Authenticate"] = "Bearer"
        return fields


# The first class that fits counts, so a subclass stands before its base.
_CODES: tuple[tuple[type[AIChatFreeError], int, str], ...] = (
    (InvalidRequestError, 400, "invalid_request"),
    (RateLimitError, 429, "rate_limit_exceeded"),
    (OverloadedError, 503, "overloaded"),
    (RequestTimeoutError, 504, "timeout"),
    (InvalidPasswordError, 502, "upstream_password"),
    (InvalidSignatureError, 502, "upstream_secret"),
    (AuthenticationError, 502, "upstream_credentials"),
    (PermissionDeniedError, 502, "upstream_refused"),
    (NotFoundError, 502, "upstream_not_found"),
    (RedirectError, 502, "upstream_redirect"),
    (ConnectError, 502, "upstream_unreachable"),
    (StreamInterruptedError, 502, "reply_interrupted"),
    (EmptyReplyError, 502, "reply_empty"),
    (ReplyTooLargeError, 502, "reply_too_large"),
    (ServerError, 502, "upstream_failed"),
    (AIChatFreeError, 502, "upstream_unusable"),
)
_BY_STATUS = {408: (504, "timeout"), 413: (400, "context_length_exceeded")}
"""Statuses of the server that have no class of their own, and what they are here."""


def problem_of(error: AIChatFreeError, *, address: str, seen_text: bool) -> Problem:
    """The answer for an error of a client.

    Args:
        error: What the call ended with.
        address: The server's base URL, which the message must not show.
        seen_text: Whether the caller has got some of the reply.
    """
    status, code = next((status, code) for kind, status, code in _CODES if isinstance(error, kind))
    retry_after = None
    if isinstance(error, APIError):
        retry_after = error.retry_after
        status, code = (
            _BY_STATUS.get(error.status_code, (status, code)) if code == "upstream_unusable" else (status, code)
        )
    return Problem(
        status,
        _without(error._own_words or str(error), address),
        param="messages" if isinstance(error, InvalidRequestError) and not isinstance(error, APIError) else None,
        code=code,
        kind="rate_limit_error" if status == 429 else None,
        retry_after=retry_after,
        # Who has attempts of its own on top of ours would multiply them.
        retryable=not error.attempts and may_help(error, restartable=not seen_text),
    )


def _without(text: str, address: str) -> str:
    """``text`` without examples of addresses, and with the server's own replaced wherever it stands."""
    text = re.sub(r",? such as https?://[^\s,;]+", "", text)
    host = address.partition("://")[2]
    for shown in (address, host, host.partition("/")[0]):
        if shown:
            text = text.replace(shown, "the server")
    return text
