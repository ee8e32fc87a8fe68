"""Sending a reply piece by piece, and what becomes of it when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import traceback
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from aiohttp import HttpVersion11, web

from .._core.wire.outcome import outcome
from . import protocol
from .access_log import Call
from .connections import Bare, bare, cut
from .failures import BlockedError, UpstreamError
from .replies import NotAReplyError, ReplySource, Threads, checked, close_reply, open_reply

__all__ = ["send_reply"]

logger = logging.getLogger("aichatfree.server")

_AT_ONCE = 64
_AT_ONCE_BYTES = 32 << 10
"""How many pieces and bytes are sent before others have their turn."""
_LAST_WORDS_SECONDS = 0.1
_READ_SECONDS = 0.05

_WIRE_WORDS = re.compile(r"\[(?:GoogleGenerativeAI Error|[1-5]\d\d [^\[\]]*)\]")
"""An exception whose text begins like this speaks to clients of the protocol, on purpose."""
_ANY_FAILURE = "[GoogleGenerativeAI Error]: Error fetching from  [500 Internal Server Error] The reply failed."


class _ClientGoneError(Exception):
    pass


class _Stream:
    """A response that begins with its first piece.

    Pieces that are there at once leave in one write, each a chunk of its own all the same. It takes place as soon as
    the task that makes them waits for anything, so that no piece is late.
    """

    __slots__ = ("_call", "_chunked", "_headers", "_request", "_size", "_waiting", "response")

    def __init__(self, request: web.Request, call: Call, headers: dict[str, str]) -> None:
        self._request = request
        self._call = call
        self._headers = headers
        self._chunked = request.version >= HttpVersion11  # aiohttp's own choice, where no length is known
        self._waiting: list[bytes] = []
        self._size = 0
        self.response: web.StreamResponse | None = None

    async def begin(self, data: bytes = b"") -> web.StreamResponse:
        """Send the head, along with a first piece."""
        self.response = response = web.StreamResponse(headers=self._headers)
        self._call.status = 200
        try:
            await response.prepare(self._request)
            if data:
                self._call.pieces += 1
                await response.write(data)
        except ConnectionError:
            raise _ClientGoneError from None
        return response

    def add(self, data: bytes) -> bool:
        """Send a further piece; whether `pause` must be awaited before the next one."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self._size += len(data)
        self._call.pieces += 1
        return self._size >= _AT_ONCE_BYTES or not self._call.pieces % _AT_ONCE

    def flush(self) -> None:
        """Write what waits."""
        transport = self._request.transport
        waiting = self._waiting
        if waiting:
            if transport is not None and not transport.is_closing():
                transport.write(b"".join(waiting))
            waiting.clear()
            self._size = 0

    async def pause(self) -> None:
        """Let others have their turn, and wait until the client has taken most of what was sent."""
        self.flush()
        await asyncio.sleep(0)
        try:
            await self._request.writer.drain()
        except ConnectionError:
            raise _ClientGoneError from None

    async def fail(self) -> web.StreamResponse:
        """Say in the reply that it failed, and cut the connection: old clients see the one, careful ones the other."""
        response = self.response or await self.begin()
        outcome.set("cut")
        self.flush()
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            await asyncio.wait_for(response.write(protocol.IN_BAND_ERROR.encode()), _LAST_WORDS_SECONDS)
        # A browser throws away what it has not handed to its page when the connection breaks.
        await asyncio.sleep(_READ_SECONDS)
        await cut(self._request)
        return response


async def send_reply(
    request: web.Request,
    source: ReplySource,
    question: list[list[dict[str, Any]]],
    *,
    threads: Threads,
    delay: float,
    call: Call,
    headers: dict[str, str],
    leave: Callable[[], None],
) -> web.StreamResponse:
    """Answer a request with a reply, or with the failure of one.

    Args:
        request: What is answered.
        source: Where the reply comes from.
        question: The messages, alone in a list from which they are taken, so that nobody keeps them.
        threads: See `open_reply`.
        delay: Seconds between pieces.
        call: Where the log line is written down.
        headers: Of a reply.
        leave: Called at the end, whatever happens.
    """
    stream = _Stream(request, call, headers)
    pieces: Any = ()
    try:
        pieces = await open_reply(source, question.pop(), threads) if callable(source) else source
        if isinstance(pieces, (list, tuple)):
            pieces = _in_turn(pieces)
        async for piece in pieces:
            if not checked(piece):
                continue
            data = protocol.to_utf8(piece)
            if stream.response is None:
                await stream.begin(data)
                continue
            if delay:
                await asyncio.sleep(delay)
            if stream.add(data):
                await stream.pause()
        stream.flush()
        return stream.response or await stream.begin()
    except _ClientGoneError:
        call.note("the client went away")
        outcome.set("cancelled")
        return stream.response or Bare()
    except asyncio.CancelledError:
        # The client is gone, or the server stops: whoever still listens must not take this for a whole reply.
        if stream.response is not None and request.transport is not None:
            call.note("cut off")
            with contextlib.suppress(_ClientGoneError):
                await stream.fail()
        raise
    except (Exception, SystemExit) as exc:
        verdict = _failure(exc, call, begun=stream.response is not None)
        if stream.response is None and not isinstance(exc, BlockedError):
            call.status = verdict.status
            return bare(verdict)
        try:
            return await stream.fail()
        except _ClientGoneError:
            return stream.response or Bare()
    finally:
        try:
            await close_reply(pieces)
        finally:
            leave()


async def _in_turn(pieces: Sequence[Any]) -> AsyncGenerator[Any, None]:
    for piece in pieces:
        yield piece


def _failure(exc: BaseException, call: Call, *, begun: bool) -> protocol.Verdict:
    """The answer to a failure before the first piece; the log says why, without any content."""
    call.note("failed after its first piece" if begun else "failed before its first piece")
    if isinstance(exc, UpstreamError):
        call.upstream_status = exc.status
        call.note(exc.reason)
        body = protocol.error_body(exc.message, exc.code)
        return protocol.Verdict(500, "Internal Server Error", protocol.ERROR_TYPE, body)
    # Neither its text nor a line of source is shown, which could hold something of a conversation: only where it was.
    frames = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(exc.__traceback__)]
    what = str(exc) if isinstance(exc, NotAReplyError) else type(exc).__name__
    call.note(type(exc).__name__)
    logger.warning("the reply failed: %s, at %s", what, ", from ".join(reversed(frames)))
    if isinstance(exc, NotAReplyError):
        return protocol.upstream_error(f"{_ANY_FAILURE} {exc}")
    words = str(exc)
    return protocol.upstream_error(words if _WIRE_WORDS.match(words) else _ANY_FAILURE)
