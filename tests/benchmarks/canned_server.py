"""A server that answers with bytes made beforehand, so cheap that it is not what is measured.

The first part of the path says what to answer: ``/2000x20/...`` is a reply of 2,000 pieces of 20 characters, written
at once; ``/2000x20~200/...`` has 200 microseconds between the pieces; ``/2000x0/...`` is 2,000 pieces of one byte. The
rest of the path chooses the form: plain text in chunks for ``/api/generate``, server-sent events for OpenAI's clients,
lines of JSON for ollama's.

It is a process of its own: it prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

TEXT = "The quick brown fox jumps over the lazy dog; naïve as I am, I told it “no” — 好的。 "
TIMER_SECONDS = 0.001
"""Pauses from here on are timers, so that many streams run at once. Shorter ones are slept through, with one stream."""


class Spec(NamedTuple):
    """What a reply is made of.

    Args:
        pieces: How many.
        characters: In each; 0 for pieces of one byte, so that characters come in parts.
        pause: Seconds between two.
    """

    pieces: int
    characters: int
    pause: float = 0.0

    def __str__(self) -> str:
        pause = f"~{self.pause * 1e6:.0f}" if self.pause else ""
        return f"{self.pieces}x{self.characters}{pause}"

    @classmethod
    def parse(cls, text: str) -> Spec:
        size, _, pause = text.partition("~")
        pieces, characters = map(int, size.split("x"))
        return cls(pieces, characters, int(pause or 0) / 1e6)

    def texts(self) -> Iterator[str]:
        """The pieces, each going on where the one before it ended; of pieces of one byte the text as a whole."""
        if not self.characters:
            yield (TEXT.encode() * (self.pieces // len(TEXT) + 1))[: self.pieces].decode(errors="ignore")
            return
        source = TEXT * (self.characters // len(TEXT) + 2)
        for number in range(self.pieces):
            start = number * self.characters % len(TEXT)
            yield source[start : start + self.characters]


def openai_event(text: str, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    event = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"


def ollama_line(text: str, done: bool = False) -> str:
    message = {"role": "assistant", "content": text}
    line = {"model": "m", "created_at": "2025-01-01T00:00:00Z", "message": message, "done": done}
    return f"{json.dumps(line, ensure_ascii=False)}\n"


class Form(NamedTuple):
    """How a reply is written: the end of the path, the content type, the form of a piece, what comes last."""

    path: str
    content_type: str
    dump: Callable[[str], str]
    last: str = ""


FORMS = (
    Form("/api/generate", "text/plain; charset=utf-8", str),
    Form("/chat/completions", "text/event-stream", openai_event, f"{openai_event('', 'stop')}data: [DONE]\n\n"),
    Form("/api/chat", "application/x-ndjson", ollama_line, ollama_line("", done=True)),
)


def chunk(text: str) -> bytes:
    return chunk_of(text.encode())


def chunk_of(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class Answer(NamedTuple):
    """An answer in bytes."""

    head: bytes
    chunks: list[bytes]
    whole: bytes
    pause: float
    dump: Callable[[str], str]


@lru_cache
def answer_to(path: str) -> Answer:
    spec = Spec.parse(path.split("/")[1])
    form = next(form for form in FORMS if path.endswith(form.path))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {form.content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    texts = [form.dump(text).encode() for text in spec.texts()]
    chunks = [chunk_of(data) for data in texts] if spec.characters else [chunk_of(bytes([byte])) for byte in texts[0]]
    chunks[-1] += chunk(form.last) + b"0\r\n\r\n"
    return Answer(head, chunks, head + b"".join(chunks), spec.pause, form.dump)


class Connection(asyncio.Protocol):
    """Answers each request of a connection as its path says."""

    def __init__(self) -> None:
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if end and len(body) >= int(length[1] if length else 0):
            self._received.clear()
            self._answer(answer_to(head.split(b" ", 2)[1].decode()))

    def _answer(self, answer: Answer) -> None:
        if not answer.pause:
            self._transport.write(answer.whole)
        elif answer.pause < TIMER_SECONDS:
            self._transport.write(answer.head)
            for piece in answer.chunks:
                time.sleep(answer.pause)
                self._transport.write(piece)
        else:
            now = asyncio.get_running_loop().time()
            self._transport.write(answer.head + chunk(answer.dump(f"{time.monotonic():020.6f}")))
            self._next(iter(answer.chunks), now + answer.pause, answer.pause)

    def _next(self, chunks: Iterator[bytes], due: float, pause: float) -> None:
        piece = next(chunks, None)
        if piece is not None and not self._transport.is_closing():
            asyncio.get_running_loop().call_at(due, self._write_one, piece, chunks, due, pause)

    def _write_one(self, piece: bytes, chunks: Iterator[bytes], due: float, pause: float) -> None:
        self._transport.write(piece)
        self._next(chunks, due + pause, pause)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await ended.wait()


def allow_many_files() -> None:
    """Raise this process's limit of open files as far as it may. Windows has none."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(serve())
