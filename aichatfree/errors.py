"""Every error this library raises.

::

    AIChatFreeError
    ├── InvalidRequestError (also a ValueError)   refused here, before any I/O
    ├── TransportError                            no whole answer came
    │   ├── ConnectError                          DNS, refused, reset before an answer, TLS, proxy
    │   ├── RequestTimeoutError                   a limit of Timeout passed
    │   └── StreamInterruptedError                the reply broke off
    ├── APIError                                  the server answered, and not with a reply
    │   ├── BadRequestError (also an InvalidRequestError)   400
    │   ├── AuthenticationError                   401
    │   │   ├── InvalidPasswordError
    │   │   └── InvalidSignatureError
    │   ├── PermissionDeniedError                 403; a region or key the upstream refuses
    │   ├── NotFoundError                         404
    │   ├── RateLimitError                        429; an upstream quota inside a 500
    │   ├── OverloadedError                       503; an upstream 503 inside a 500
    │   ├── ServerError                           any other 5xx
    │   └── RedirectError                         a redirect the request must not follow
    ├── EmptyReplyError                           200 with no text
    └── ReplyTooLargeError                        more than max_reply_bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Phase = Literal["connect", "first_byte", "idle", "total"]

__all__ = [
    "AIChatFreeError",
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "ConnectError",
    "EmptyReplyError",
    "InvalidPasswordError",
    "InvalidRequestError",
    "InvalidSignatureError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "Phase",
    "RateLimitError",
    "RedirectError",
    "ReplyTooLargeError",
    "RequestTimeoutError",
    "ServerError",
    "StreamInterruptedError",
    "TransportError",
]


class AIChatFreeError(Exception):
    """The base of every error of this library.

    Attributes:
        partial: The text of the reply that had been emitted, ``""`` if none.
        attempts: The errors of the earlier attempts of the same call, oldest first.
    """

    # Defaults on the class: an error is made deep in the core and learns these on its way out. What is set on an
    # instance lives in its __dict__, which is what lets Exception's own pickling carry every attribute.
    partial: str = ""
    attempts: tuple[AIChatFreeError, ...] = ()
    _own_words: str = ""
    """What happened, without the server's words and without its address, for who must pass it on to strangers; empty
    where the text itself has neither."""


class InvalidRequestError(AIChatFreeError, ValueError):
    """What was passed in cannot be sent. Raised before any I/O; the text says what to change."""


class TransportError(AIChatFreeError):
    """No whole answer came from the server."""


class ConnectError(TransportError):
    """There was no answer: DNS, a refused or reset connection, TLS, a proxy, or something that speaks no HTTP.

    Attributes:
        reused_connection: The request went out on a pooled connection, which the server may have closed while it
            lay idle (GeminiProChat servers do so after 5 seconds).
    """

    reused_connection: bool = False


class RequestTimeoutError(TransportError):
    """A limit of :class:`aichatfree.Timeout` passed.

    Attributes:
        phase: The limit that passed: ``"connect"``, ``"first_byte"``, ``"idle"`` or ``"total"``.
    """

    phase: Phase

    def __init__(self, message: str, phase: Phase = "total") -> None:
        super().__init__(message)
        self.phase = phase


class StreamInterruptedError(TransportError):
    """The reply broke off: a cut connection, an incomplete body, or the server's in-band error text.

    Attributes:
        in_band: The server itself said so, with the error text that it appends to a reply it cannot finish.
        by_caller: Nothing failed: the stream, or its client, was closed, or a read was given up.
    """

    in_band: bool = False
    by_caller: bool = False


class APIError(AIChatFreeError):
    """The server answered, but not with a reply.

    Attributes:
        status_code: The HTTP status.
        code: ``error.code`` of the body, if the server sent one (a string such as ``"Error"``).
        message: The server's own words.
        body: The body of the answer as text, at most 64 KiB of it.
        headers: The answer's headers; names are looked up in any case.
        upstream_status: The status with which the model's provider answered the server, where the server tells.
        retry_after: Seconds after which the server says another attempt may succeed, where it tells.
    """

    def __init__(
        self,
        text: str,
        *,
        status_code: int = 0,
        code: str | None = None,
        message: str = "",
        body: str = "",
        headers: Mapping[str, str] | None = None,
        upstream_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.status_code = status_code
        self.code = code
        self.message = message
        self.body = body
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.upstream_status = upstream_status
        self.retry_after = retry_after


class BadRequestError(APIError, InvalidRequestError):
    """The server refused the request itself (400), or the model's provider did (a 400 inside a 500)."""


class AuthenticationError(APIError):
    """The server refused the credentials (401)."""


class InvalidPasswordError(AuthenticationError):
    """The site password is missing or wrong."""


class InvalidSignatureError(AuthenticationError):
    """The signature was refused: another secret, or a clock that is off where the server checks it."""


class PermissionDeniedError(APIError):
    """Access is refused (403), or the upstream refuses the server's region or key."""


class NotFoundError(APIError):
    """There is no ``/api/generate`` at this address (404), or no such model at the provider any more (inside a 500)."""


class RateLimitError(APIError):
    """Too many requests (429), or the upstream's quota is used up (inside a 500)."""


class OverloadedError(APIError):
    """The server (503), or the model behind it (a 503 inside a 500), is overloaded."""


class ServerError(APIError):
    """Any other failure of the server (5xx)."""


class RedirectError(APIError):
    """The server points elsewhere. The request bears the password, so it is not sent there.

    Attributes:
        location: The absolute address that the server named.
        next_url: The same address, where it is on the same origin (or its upgrade to https) and the redirect keeps
            the method, so that the request may follow it; else None.
    """

    location: str = ""
    next_url: str | None = None


class EmptyReplyError(AIChatFreeError):
    """The server answered with success and no text."""


class ReplyTooLargeError(AIChatFreeError):
    """The reply is larger than ``max_reply_bytes``; :attr:`partial` holds what came before the limit."""
