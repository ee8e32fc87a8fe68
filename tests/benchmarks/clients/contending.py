"""Every contender by its name."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from .contenders import BareAiohttp, BareUrllib3, Contender, Ollama, OpenAI, OurAsyncClient, OurClient, PlainRequests
from .conversations import AiohttpList, OurAsyncConversation, OurConversation, RequestsList


class RequestsAgain(PlainRequests):
    """A copy of its rival: what it differs by is what measuring cannot tell."""

    name = "requests, a copy"


class AiohttpAgain(BareAiohttp):
    """The same."""

    name = "aiohttp, a copy"


CALLS: tuple[type[Contender], ...] = (
    OurClient,
    PlainRequests,
    BareUrllib3,
    OpenAI,
    Ollama,
    OurAsyncClient,
    BareAiohttp,
)
CONVERSATIONS: tuple[type[Contender], ...] = (OurConversation, RequestsList, OurAsyncConversation, AiohttpList)
COPIES: tuple[type[Contender], ...] = (RequestsAgain, AiohttpAgain)
PLAIN = ("Client.stream", "requests", "AsyncClient.stream", "aiohttp")


def installed(names: tuple[str, ...] = ()) -> dict[str, str]:
    """The contenders whose packages are there, each with whose cost is 1: those named, or all that make calls."""
    found = [kind for kind in (*CALLS, *CONVERSATIONS, *COPIES) if (kind.name in names if names else kind in CALLS)]
    return {kind.name: kind.baseline for kind in found if find_spec(kind.needs)}


def by_name(name: str) -> Any:
    return next(kind for kind in (*CALLS, *CONVERSATIONS, *COPIES) if kind.name == name)
