"""aichatfree: a client for AIChatFree and every other GeminiProChat server.

::

    from aichatfree import Client

    for piece in Client().stream("Hello, how are you?"):
        print(piece, end="", flush=True)
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as type checkers understand it, without loading typing
if TYPE_CHECKING:
    from .async_client import AsyncClient as AsyncClient
    from .async_stream import AsyncStream as AsyncStream
    from .client import Client as Client
    from .conversation import AsyncConversation as AsyncConversation
    from .conversation import Conversation as Conversation
    from .core.batch import MapResult as MapResult
    from .core.call import Stats as Stats
    from .core.messages import Message as Message
    from .core.report import CheckReport as CheckReport
    from .core.report import CheckResult as CheckResult
    from .core.retry import RetryPolicy as RetryPolicy
    from .core.settings import Timeout as Timeout
    from .core.signing import generate_signature as generate_signature
    from .errors import AIChatFreeError as AIChatFreeError
    from .errors import APIError as APIError
    from .errors import AuthenticationError as AuthenticationError
    from .errors import BadRequestError as BadRequestError
    from .errors import ConnectError as ConnectError
    from .errors import EmptyReplyError as EmptyReplyError
    from .errors import InvalidPasswordError as InvalidPasswordError
    from .errors import InvalidRequestError as InvalidRequestError
    from .errors import InvalidSignatureError as InvalidSignatureError
    from .errors import NotFoundError as NotFoundError
    from .errors import OverloadedError as OverloadedError
    from .errors import PermissionDeniedError as PermissionDeniedError
    from .errors import RateLimitError as RateLimitError
    from .errors import RedirectError as RedirectError
    from .errors import ReplyTooLargeError as ReplyTooLargeError
    from .errors import RequestTimeoutError as RequestTimeoutError
    from .errors import ServerError as ServerError
    from .errors import StreamInterruptedError as StreamInterruptedError
    from .errors import TransportError as TransportError
    from .provider import AIChatFree as AIChatFree
    from .provider import AsyncGeneratorProvider as AsyncGeneratorProvider
    from .provider import ProviderModelMixin as ProviderModelMixin
    from .stream import Stream as Stream

_HOMES = {
    "client": ("Client",),
    "stream": ("Stream",),
    "async_client": ("AsyncClient",),
    "async_stream": ("AsyncStream",),
    "conversation": ("AsyncConversation", "Conversation"),
    "core.batch": ("MapResult",),
    "core.call": ("Stats",),
    "core.messages": ("Message",),
    "core.report": ("CheckReport", "CheckResult"),
    "core.retry": ("RetryPolicy",),
    "core.settings": ("Timeout",),
    "core.signing": ("generate_signature",),
    "provider": ("AIChatFree", "AsyncGeneratorProvider", "ProviderModelMixin"),
    "errors": (
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
        "RateLimitError",
        "RedirectError",
        "ReplyTooLargeError",
        "RequestTimeoutError",
        "ServerError",
        "StreamInterruptedError",
        "TransportError",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted((*_HOME_OF, "__version__"))  # noqa: PLE0605 - one list of names is enough

if logging := sys.modules.get("logging"):  # where nobody has loaded it yet, core.log does so, and does the same
    logging.getLogger(__name__).addHandler(logging.NullHandler())
del logging


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562), so that ``import aichatfree`` costs next to nothing."""
    if name == "__version__":
        from .core.version import version

        return version()
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
