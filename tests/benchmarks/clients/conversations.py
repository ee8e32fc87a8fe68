"""A conversation that goes on: ours, and a loop that keeps the history in a list and dumps all of it for each turn.

Both keep as many messages as they were given, so that each turn costs the same: the question, which is the history's
first message again, and its reply join it, and the oldest turn leaves.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from .contenders import (
    BareAiohttp,
    Messages,
    OurAsyncClient,
    OurClient,
    PlainRequests,
    Take,
    wire_messages,
)

SYNC_LIST, ASYNC_LIST = "requests, a list kept", "aiohttp, a list kept"


class OurConversation(OurClient):
    name = "Conversation.stream"
    baseline = SYNC_LIST

    def begin(self, messages: Messages) -> None:
        self.conversation = self.client.conversation(history=messages[:-1], max_messages=max(2, len(messages)))

    def ask(self, messages: Messages, take: Take) -> None:
        for piece in self.conversation.stream(messages[0]["content"]):
            take(piece)


class OurAsyncConversation(OurAsyncClient):
    name = "AsyncConversation.stream"
    baseline = ASYNC_LIST

    def begin(self, messages: Messages) -> None:
        self.conversation = self.client.conversation(history=messages[:-1], max_messages=max(2, len(messages)))

    async def ask(self, messages: Messages, take: Take) -> None:
        async for piece in self.conversation.stream(messages[0]["content"]):
            take(piece)


class _List:
    """The history as it goes over the line."""

    def __init__(self, messages: Messages) -> None:
        self._most = len(messages) - 1
        self._kept: list[dict[str, Any]] = wire_messages(messages[:-1])

    def body(self, question: str) -> bytes:
        self._kept.append({"role": "user", "parts": [{"text": question}]})
        now = int(time.time() * 1000)
        sign = hashlib.sha256(f"{now}:{question}:".encode()).hexdigest()
        return json.dumps({"messages": self._kept, "time": now, "pass": None, "sign": sign}).encode()

    def answered(self, pieces: list[str]) -> None:
        self._kept.append({"role": "model", "parts": [{"text": "".join(pieces)}]})
        del self._kept[: len(self._kept) - self._most]


class RequestsList(PlainRequests):
    name = baseline = SYNC_LIST

    def begin(self, messages: Messages) -> None:
        self.kept = _List(messages)

    def ask(self, messages: Messages, take: Take) -> None:
        pieces: list[str] = []
        self.post(self.kept.body(messages[0]["content"]), pieces.append)
        self.kept.answered(pieces)
        for piece in pieces:
            take(piece)


class AiohttpList(BareAiohttp):
    name = baseline = ASYNC_LIST

    def begin(self, messages: Messages) -> None:
        self.kept = _List(messages)

    async def ask(self, messages: Messages, take: Take) -> None:
        pieces: list[str] = []
        await self.post(self.kept.body(messages[0]["content"]), pieces.append)
        self.kept.answered(pieces)
        for piece in pieces:
            take(piece)
