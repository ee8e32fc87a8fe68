"""What the three upstreams share: one call, from the messages to the last piece of the reply."""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ... import Timeout, __version__
from ..failures import UpstreamError, note
from . import wording
from .events import EventStream, JSONLines
from .exchange import Exchange, StaleConnectionError
from .keys import Key, KeyRedactor, Keys
from .limits import Limits
from .options import Options
from .reply import Reply
from .sessions import Sessions

__all__ = ["Answer", "Message", "Upstream"]

Message = Mapping[str, Any]

MAX_ERROR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of the answer to a probe: a list of some hundred models."""
ERROR_SECONDS = 5.0
"""For so long the body of an error may take, once its status is known."""
PROBE_SECONDS = 10.0
"""No limit of a probe is longer."""
MARKED_SECONDS = 5.0
"""For so long a reply that has its finish marker waits for what may follow, such as the count of its tokens."""
TRAILER_SECONDS = 0.1
"""For so long a reply that needs no more of its body waits for the end of it, to keep the connection."""
LARGE_BYTES = 64 * 1024
MAX_STALE = 3
"""So many pooled connections in a row may turn out to be closed."""


def _in_steps(body: bytes | None) -> bytes | io.BytesIO | None:
    """A body as aiohttp wants it: a large one in a file, which it sends in steps instead of all at once."""
    return io.BytesIO(body) if body is not None and len(body) > LARGE_BYTES else body


class Answer(NamedTuple):
    """The answer to a probe: the error that its status makes, or its body."""

    error: UpstreamError | None
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Upstream:
    """A model that is asked over HTTP: an async callable from messages to the pieces of a reply.

    It may be called many times at once, in any event loop; connections are kept for later calls in the same loop.

    Args:
        options: What is common to all.
        keys: Those that take turns; none: the upstream takes none.
    """

    name = "the upstream"
    decoder: type[EventStream] | type[JSONLines] = EventStream

    def __init__(self, options: Options, keys: Sequence[Key] = ()) -> None:
        self._options = options
        self._keys = Keys(keys)
        self._redact = KeyRedactor([*options.secrets, *(key.reveal() for key in keys)])
        secure = any(address.startswith("https:") for address in (options.url, options.proxy or ""))
        self._sessions = Sessions(secure=secure)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._options.model!r} at {self._options.url}>"

    async def __call__(self, messages: Sequence[Message]) -> AsyncGenerator[str, None]:
        """Ask the model.

        Args:
            messages: As on the wire, `[{"role": "user", "parts": [{"text": "Hello"}]}]`.

        Yields:
            The text of the reply, as it comes in.

        Raises:
            UpstreamError: There is no reply, or it broke off after what has been yielded.
            BlockedError: The provider refuses the prompt, or its own reply.
        """
        body = json.dumps(self._payload(messages), ensure_ascii=False, separators=(",", ":")).encode()
        limits = Limits(self._options.timeout)
        refused: UpstreamError | None = None
        for key in self._keys.serving():
            started = False
            try:
                async with aclosing(self._ask(limits, body, key)) as pieces:
                    async for piece in pieces:
                        started = True
                        yield piece
                return
            except UpstreamError as error:
                if started or not self._another_key_may_serve(key, error):
                    raise
                refused = error
        raise self._nobody_serves(refused)

    async def probe(self) -> None:
        """Ask something cheap, to find out whether the upstream is there, takes the key, and has the model.

        Raises:
            UpstreamError: It does not work; its text is a sentence for whoever runs the server.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close all connections, within about a second.

        Replies that are running end with an error. A later call opens connections anew.
        """
        await self._sessions.aclose()

    # --- What each upstream does in its own way

    def _path(self) -> str:
        """Where questions are sent, below the base URL."""
        raise NotImplementedError

    def _payload(self, messages: Sequence[Message]) -> dict[str, Any]:
        """The body of a request."""
        raise NotImplementedError

    def _credentials(self, key: Key | None) -> dict[str, str]:
        """The headers that identify this server."""
        authorization = self._options.authorization
        return {} if authorization is None else {"Authorization": authorization}

    def _read(self, event: dict[str, Any], reply: Reply) -> None:
        """Take what an event says; see `Reply`."""
        raise NotImplementedError

    # --- What all do alike

    async def _ask(self, limits: Limits, body: bytes, key: Key | None) -> AsyncGenerator[str, None]:
        """The pieces of one reply, asked for with one key."""
        exchange = await self._send(limits, "POST", self._path(), body, key)
        reply = Reply(self.decoder(), self._read, self._redact)
        try:
            if not 200 <= exchange.status < 300:
                raise await self._refusal(exchange)
            failure: UpstreamError | None = None
            went_on = False  # after a finish marker: some servers of Gemini's API have set one in every event
            while failure is None and not reply.last:
                marked = reply.finish is not None
                try:
                    failure = reply.feed(await exchange.read())
                except UpstreamError as error:
                    reply.last = True
                    failure = error if went_on or not marked else None  # a whole reply is whole, however its body ends
                text = reply.text(end=reply.last or failure is not None)
                if text:
                    went_on = went_on or marked
                    yield text
                if reply.finish:
                    exchange.be_patient(math.inf if went_on else MARKED_SECONDS)
            if failure is not None:
                failure.status = failure.status or exchange.status
                raise failure
            await self._rest_of(exchange)
        finally:
            exchange.close()
        if reply.finish == "length":
            note("stopped at the token limit")

    async def _rest_of(self, exchange: Exchange) -> None:
        """Read to the end of a body if that comes at once, so that the connection can be kept."""
        exchange.be_patient(TRAILER_SECONDS)
        try:
            while await exchange.read():
                pass
        except UpstreamError:
            pass

    async def _send(self, limits: Limits, method: str, path: str, body: bytes | None, key: Key | None) -> Exchange:
        session = await self._sessions.get()
        for _ in range(MAX_STALE + 1):
            exchange = Exchange(limits, self._redact)
            try:
                await exchange.send(
                    # Made where they are used: no variable, which some tracebacks show, ever holds a key.
                    lambda: session.request(
                        method,
                        self._options.url + path,
                        headers={**self._headers(body), **self._credentials(key)},
                        data=_in_steps(body),
                        proxy=self._options.proxy,
                        allow_redirects=False,
                        trace_request_ctx=exchange,  # noqa: B023 - called at once
                    )
                )
                return exchange
            except StaleConnectionError:
                exchange.close()
            except BaseException:
                exchange.close()
                raise
        raise wording.unreachable("the connection was cut before an answer came")

    def _headers(self, body: bytes | None) -> dict[str, str]:
        streams = self.decoder is EventStream and body is not None
        headers = {
            "Accept": "text/event-stream, application/json" if streams else "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"aichatfree/{__version__}",
        }
        return headers if body is None else {**headers, "Content-Type": "application/json"}

    async def _refusal(self, exchange: Exchange) -> UpstreamError:
        body = await self._short_body(exchange, MAX_ERROR_BYTES)
        return wording.refusal(
            exchange.status, exchange.phrase, exchange.headers, body, redact=self._redact, now=time.time()
        )

    async def _short_body(self, exchange: Exchange, max_bytes: int) -> bytes:
        """As much of a body as comes within a few seconds, up to some size."""
        body = bytearray()
        loop = asyncio.get_running_loop()
        ends = loop.time() + ERROR_SECONDS
        try:
            while len(body) < max_bytes and (left := ends - loop.time()) > 0:
                exchange.be_patient(left)
                data = await exchange.read()
                if not data:
                    break
                body += data
        except UpstreamError:
            pass
        return bytes(body[:max_bytes])

    # --- Keys

    def _another_key_may_serve(self, key: Key | None, error: UpstreamError) -> bool:
        """Let a key rest whose quota is used up.

        One that is refused does not rest: it is not asked as long as another serves.
        """
        if key is None or len(self._keys) == 1:
            return False
        if error.status == 429:
            self._keys.rest(key, error.retry_after)
            note(f"the quota of key {self._keys.number(key)} of {len(self._keys)} is used up")
            return True
        return error.status in (401, 403) or (error.status == 400 and "API key" in error.message)

    def _nobody_serves(self, refused: UpstreamError | None) -> UpstreamError:
        wait = self._keys.shortest_wait()
        if refused is not None and wait == 0:
            return refused
        seconds = math.ceil(wait * 10) / 10
        said = wording.Said("Quota exceeded for every key of this server.", wait=seconds)
        error = wording.failure(429, "", said, redact=self._redact)
        error.reason = f"every key rests, for {seconds:g} s at least"
        return error

    # --- Probing

    async def _probe(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Ask something that has a short answer.

        Raises:
            UpstreamError: There is none; its text is a sentence.
        """
        given = self._options.timeout
        limits = (given.connect, given.first_byte, given.idle, given.total)
        short = (PROBE_SECONDS if limit is None else min(limit, PROBE_SECONDS) for limit in limits)
        key = next(self._keys.serving(), self._keys.current)
        try:
            exchange = await self._send(Limits(Timeout(*short)), method, path, body, key)
            try:
                if 200 <= exchange.status < 300:
                    return Answer(None, await self._short_body(exchange, MAX_ANSWER_BYTES))
                return Answer(await self._refusal(exchange), b"")
            finally:
                exchange.close()
        except UpstreamError as error:
            failed = error
        raise self._sentence(failed)

    def _sentence(self, error: UpstreamError, advice: str = "") -> UpstreamError:
        """An error in a probe, as a sentence for whoever runs the server."""
        words = error.reason
        if error.status is not None:
            said = error.message.removeprefix(wording.PREFIX).removeprefix("Error fetching from ").strip()
            words = f"{error.reason}: {said}" if error.status == 400 else said
        text = f"{self.name} at {urlsplit(self._options.url).netloc} does not answer as it should: {words}"
        return UpstreamError(
            error.message,
            code=error.code,
            status=error.status,
            reason=f"{text} ({advice})" if advice else text,
            retry_after=error.retry_after,
        )
