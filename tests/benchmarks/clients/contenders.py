"""Who is measured: this library, and what people would use instead of it.

Each contender asks the same and hands each piece of text to ``take``. The plain loops do what a user without this
library has to do: sign, and decode incrementally. Each imports what it needs when it is made,
and pays for nobody else.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import json
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

Take = Callable[[str], object]
Messages = list[dict[str, str]]

QUESTION: Messages = [{"role": "user", "content": "Hello, how are you?"}]
TIMEOUT_SECONDS = 60.0
HEADERS = {"Content-Type": "text/plain;charset=UTF-8"}
new_decoder = codecs.getincrementaldecoder("utf-8")


def wire_messages(messages: Messages) -> list[dict[str, Any]]:
    """Messages as they go over the line."""
    return [
        {"role": "model" if message["role"] == "assistant" else "user", "parts": [{"text": message["content"]}]}
        for message in messages
    ]


def signed_body(messages: Messages) -> bytes:
    """The request as one writes it down from the protocol."""
    now = int(time.time() * 1000)
    contents = wire_messages(messages)
    sign = hashlib.sha256(f"{now}:{messages[-1]['content']}:".encode()).hexdigest()
    return json.dumps({"messages": contents, "time": now, "pass": None, "sign": sign}).encode()


class Contender:
    """One way to ask.

    Args:
        base_url: The server, with what to answer as the first part of the path.
    """

    name: ClassVar[str]
    baseline: ClassVar[str]
    """The contender whose cost is 1."""
    needs: ClassVar[str] = "aichatfree"
    """The package without which there is no such contender."""

    def __init__(self, base_url: str) -> None:
        raise NotImplementedError

    def begin(self, messages: Messages) -> None:
        """Learn what will be asked, before it counts."""

    def repeat(self, calls: int, messages: Messages, take: Take) -> None:
        """Ask ``calls`` times, one after the other."""
        raise NotImplementedError

    def close(self) -> None:
        """Close every connection."""


class SyncContender(Contender):
    baseline = "requests"

    def ask(self, messages: Messages, take: Take) -> None:
        raise NotImplementedError

    def repeat(self, calls: int, messages: Messages, take: Take) -> None:
        for _ in range(calls):
            self.ask(messages, take)


class OurClient(SyncContender):
    name = "Client.stream"

    def __init__(self, base_url: str) -> None:
        from aichatfree import Client

        self.client = Client(base_url)

    def ask(self, messages: Messages, take: Take) -> None:
        for piece in self.client.stream(messages):
            take(piece)

    def close(self) -> None:
        self.client.close()


class PlainRequests(SyncContender):
    name = "requests"
    needs = "requests"
    connections = 10
    """How many threads ask at once, which an adapter has to be told."""

    def __init__(self, base_url: str) -> None:
        import requests

        self.session = requests.Session()
        self.session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=self.connections))
        self.url = f"{base_url}/api/generate"

    def ask(self, messages: Messages, take: Take) -> None:
        self.post(signed_body(messages), take)

    def post(self, body: bytes, take: Take) -> None:
        decoder = new_decoder()
        with self.session.post(self.url, data=body, headers=HEADERS, stream=True, timeout=TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            for data in response.iter_content(None):
                if text := decoder.decode(data):
                    take(text)
        if text := decoder.decode(b"", True):
            take(text)

    def close(self) -> None:
        self.session.close()


class BareUrllib3(SyncContender):
    name = "urllib3"
    needs = "urllib3"

    def __init__(self, base_url: str) -> None:
        import urllib3

        self.pool = urllib3.PoolManager(timeout=TIMEOUT_SECONDS)
        self.url = f"{base_url}/api/generate"

    def ask(self, messages: Messages, take: Take) -> None:
        decoder = new_decoder()
        response = self.pool.request(
            "POST", self.url, body=signed_body(messages), headers=HEADERS, preload_content=False
        )
        assert response.status == 200
        for data in response.stream():
            if text := decoder.decode(data):
                take(text)
        response.release_conn()
        if text := decoder.decode(b"", True):
            take(text)

    def close(self) -> None:
        self.pool.clear()


class OpenAI(SyncContender):
    name = "openai"
    needs = "openai"

    def __init__(self, base_url: str) -> None:
        openai: Any = import_module("openai")
        self.client = openai.OpenAI(base_url=f"{base_url}/v1", api_key="x", timeout=TIMEOUT_SECONDS)

    def ask(self, messages: Messages, take: Take) -> None:
        stream = self.client.chat.completions.create(model="m", messages=messages, stream=True)
        for chunk in stream:
            take(chunk.choices[0].delta.content)

    def close(self) -> None:
        self.client.close()


class Ollama(SyncContender):
    name = "ollama"
    needs = "ollama"

    def __init__(self, base_url: str) -> None:
        ollama: Any = import_module("ollama")
        self.client = ollama.Client(host=base_url, timeout=TIMEOUT_SECONDS)

    def ask(self, messages: Messages, take: Take) -> None:
        for part in self.client.chat(model="m", messages=messages, stream=True):
            if part.message.content:
                take(part.message.content)

    def close(self) -> None:
        self.client._client.close()  # older ones have no close() of their own


class AsyncContender(Contender):
    baseline = "aiohttp"

    def __init__(self, base_url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.open(base_url))

    async def open(self, base_url: str) -> None:
        raise NotImplementedError

    async def ask(self, messages: Messages, take: Take) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def repeat(self, calls: int, messages: Messages, take: Take) -> None:
        self.loop.run_until_complete(self._repeat(calls, messages, take))

    async def _repeat(self, calls: int, messages: Messages, take: Take) -> None:
        for _ in range(calls):
            await self.ask(messages, take)

    def close(self) -> None:
        self.loop.run_until_complete(self.aclose())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class OurAsyncClient(AsyncContender):
    name = "AsyncClient.stream"

    async def open(self, base_url: str) -> None:
        from aichatfree import AsyncClient

        self.client = AsyncClient(base_url)

    async def ask(self, messages: Messages, take: Take) -> None:
        async for piece in self.client.stream(messages):
            take(piece)

    async def aclose(self) -> None:
        await self.client.aclose()


class BareAiohttp(AsyncContender):
    name = "aiohttp"
    needs = "aiohttp"

    async def open(self, base_url: str) -> None:
        import aiohttp

        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT_SECONDS),
        )
        self.url = f"{base_url}/api/generate"

    async def ask(self, messages: Messages, take: Take) -> None:
        await self.post(signed_body(messages), take)

    async def post(self, body: bytes, take: Take) -> None:
        decoder = new_decoder()
        async with self.session.post(self.url, data=body, headers=HEADERS) as response:
            response.raise_for_status()
            async for data in response.content.iter_any():
                if text := decoder.decode(data):
                    take(text)
        if text := decoder.decode(b"", True):
            take(text)

    async def aclose(self) -> None:
        await self.session.close()
