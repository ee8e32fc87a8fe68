"""An upstream that answers byte by byte as a test says."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any

Answer = Callable[["Peer"], Awaitable[None]] | bytes

MESSAGES: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": "Hi"}]}]


class Peer:
    """One request, and the connection that it came over."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.method = self.path = ""
        self.headers: dict[str, str] = {}
        self.body = b""

    async def receive(self, body: bool = True) -> bool:
        """Read the next request; False if there is none."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ", 2)
        self.headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
        if body:
            self.body = await self.reader.readexactly(int(self.headers.get("content-length", 0)))
        return True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close the connection so that the other end sees it reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other end has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class StandIn:
    """Serves from `async with` on. Each request is answered with the next of `answers`, the last for all further.

    Args:
        answers: Bytes, or functions of the `Peer`. The connection stays open after them unless they close it.
    """

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None, read_bodies: bool = True) -> None:
        self.answers = list(answers)
        self.requests: list[Peer] = []
        self.connections = 0
        self._tls = tls
        self._read_bodies = read_bodies
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> StandIn:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                peer = Peer(reader, writer)
                await peer.receive(self._read_bodies)
                self.requests.append(peer)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    await peer.send(answer)
                else:
                    await answer(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)


def plain(status: str, body: bytes | str | dict[str, Any] | list[Any] = b"", *fields: str) -> bytes:
    """A whole answer with a Content-Length; what is neither bytes nor str is written as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(data)}", "", ""]).encode() + data


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*pieces: bytes, end: bytes = END) -> bytes:
    """A streamed answer, each piece a chunk of its own."""
    return HEAD + b"".join(map(chunk, pieces)) + end


def sse(*events: Any) -> list[bytes]:
    """Events as the bytes of a stream; a str is written as it is."""
    return [b"data: " + (each if isinstance(each, str) else json.dumps(each)).encode() + b"\n\n" for each in events]


def lines(*documents: Any) -> list[bytes]:
    return [json.dumps(each).encode() + b"\n" for each in documents]


# --- Events as Google, OpenAI and Ollama document them


def gemini(*texts: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"parts": [{"text": text} for text in texts], "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", **more}


def openai(text: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def ollama(text: str = "", done: str | None = None, **message: Any) -> dict[str, Any]:
    line = {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": text, **message}}
    return {**line, "done": False} if done is None else {**line, "done": True, "done_reason": done, "eval_count": 1}


async def read(upstream: Any, messages: Iterable[dict[str, Any]] = MESSAGES) -> list[str]:
    return [piece async for piece in upstream(list(messages))]


class Kind:
    """One of the three upstreams, made for a stand-in, and its answers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def make(self, url: str, **options: Any) -> Any:
        from aichatfree.server import Gemini, Ollama, OpenAICompatible

        if self.name == "gemini":
            return Gemini(options.pop("api_key", "secret-key"), base_url=url, **options)
        if self.name == "ollama":
            return Ollama(url, model="m", **options)
        return OpenAICompatible(f"{url}/v1", model="m", **options)

    def pieces(self, *texts: str, finish: bool = True) -> list[bytes]:
        """The events of a reply, one for each text, and one that ends it."""
        if self.name == "gemini":
            return sse(*map(gemini, texts), *[gemini("", finish="STOP")] * finish)
        if self.name == "ollama":
            return lines(*map(ollama, texts), *[ollama(done="stop")] * finish)
        return sse(*map(openai, texts), *[openai(finish="stop"), "[DONE]"] * finish)

    def reply(self, *texts: str) -> bytes:
        return stream(*self.pieces(*texts))

    def error(self, message: str, code: int = 500) -> bytes:
        """An error in the middle of a stream."""
        if self.name == "ollama":
            return lines({"error": message})[0]
        return sse({"error": {"code": code, "message": message, "status": "x", "type": "x"}})[0]


KINDS = [Kind("gemini"), Kind("openai"), Kind("ollama")]
