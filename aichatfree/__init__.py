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
    from ._async.client import AsyncClient as AsyncClient
    from ._async.conversation import AsyncConversation as AsyncConversation
    from ._async.stream import AsyncStream as AsyncStream
    from ._core.call import Stats as Stats
    from ._core.deadlines import Deadline as Deadline
    from ._core.diagnosis import CheckReport as CheckReport
    from ._core.diagnosis import CheckResult as CheckResult
    from ._core.pacing import MapResult as MapResult
    from ._core.retry import RetryPolicy as RetryPolicy
    from ._core.settings import Options as Options
    from ._core.timeouts import Timeout as Timeout
    from ._core.transport import AsyncExchange as AsyncExchange
    from ._core.transport import AsyncTransport as AsyncTransport
    from ._core.transport import Exchange as Exchange
    from ._core.transport import Transport as Transport
    from ._core.wire.messages import Message as Message
    from ._core.wire.requests import Request as Request
    from ._core.wire.signing import generate_signature as generate_signature
    from ._sync.client import Client as Client
    from ._sync.conversation import Conversation as Conversation
    from ._sync.stream import Stream as Stream
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
    from .provider.aichatfree import AIChatFree as AIChatFree
    from .provider.generator import AsyncGeneratorProvider as AsyncGeneratorProvider
    from .provider.generator import ProviderModelMixin as ProviderModelMixin

    __version__: str

_HOMES = {
    "_sync.client": ("Client",),
    "_sync.stream": ("Stream",),
    "_async.client": ("AsyncClient",),
    "_async.stream": ("AsyncStream",),
    "_sync.conversation": ("Conversation",),
    "_async.conversation": ("AsyncConversation",),
    "_core.pacing": ("MapResult",),
    "_core.call": ("Stats",),
    "_core.wire.messages": ("Message",),
    "_core.diagnosis": (
        "CheckReport",
        "CheckResult",
    ),
    "_core.retry": ("RetryPolicy",),
    "_core.timeouts": ("Timeout",),
    "_core.settings": ("Options",),
    "_core.wire.signing": ("generate_signature",),
    "_core.transport": (
        "AsyncExchange",
        "AsyncTransport",
        "Exchange",
        "Transport",
    ),
    "_core.wire.requests": ("Request",),
    "_core.deadlines": ("Deadline",),
    "provider.aichatfree": ("AIChatFree",),
    "provider.generator": (
        "AsyncGeneratorProvider",
        "ProviderModelMixin",
    ),
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

if logging := sys.modules.get("logging"):  # where nobody has loaded it yet, _core.log does so, and does the same
    logging.getLogger(__name__).addHandler(logging.NullHandler())
del logging


if not TYPE_CHECKING:  # else a type checker would take every name for one of this package

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562), so that ``import aichatfree`` costs next to nothing."""
        if name == "__version__":
            from ._core.version import version

            return version()
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_suggestion(name)}")
        from importlib import import_module

        value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value


def _suggestion(name: str) -> str:
    if name.startswith("_"):
        return ""
    from difflib import get_close_matches

    close = get_close_matches(name, __all__, 1)
    return f". Did you mean: {close[0]!r}?" if close else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
