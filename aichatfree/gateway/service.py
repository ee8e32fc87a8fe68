"""What a gateway does with a request, from its arrival to the last byte of the answer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import hdrs, web

from .._core.wire.outcome import outcome
from ..errors import AIChatFreeError
from . import completions, responses
from .asked import Asked, parse_object
from .bodies import read_body
from .guard import Guard
from .journal import Entry, problem_for_fault
from .patience import Patience
from .problems import Problem, problem_of
from .replies import Text, texts_of

if TYPE_CHECKING:
    from .. import AsyncClient, AsyncStream

__all__ = ["DEFAULT_MAX_CONCURRENT", "GATEWAY", "Gateway"]

DEFAULT_MAX_CONCURRENT = 1000
BUSY_SECONDS = 5
"""After how long a caller who found no place should come again."""
GRACE_SECONDS = 10.0
"""How long running replies may go on when the application shuts down."""
WATCH_SECONDS = 0.5
"""How often hang-ups are looked for, where the application is run without `handler_cancellation`."""

_STREAM_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-cache",
    "X-Accel-Buffering": "no",  # nginx would hold pieces back
}

Writer = completions.ChunkWriter | responses.EventWriter
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Texts = AsyncGenerator[Text]


class Form(NamedTuple):
    """One of the two APIs.

    Args:
        ask: Understands a body.
        whole: Makes the object of an answer that is not streamed.
        writer: Writes the events of one that is.
    """

    ask: Callable[[dict[str, Any]], Asked]
    whole: Callable[[str, int, Asked, list[str]], dict[str, Any]]
    writer: Callable[[str, int, Asked], Writer]


CHAT = Form(completions.ask, completions.completion, completions.ChunkWriter)
RESPONSES = Form(responses.ask, responses.response, responses.EventWriter)


class Gateway:
    """What the requests of one application share.

    Args:
        guard: Judges requests.
        models: The names of the models that exist; none: any name is taken.
        max_concurrent: How many calls may run at once.
    """

    def __init__(self, guard: Guard, models: Iterable[str], max_concurrent: int) -> None:
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent must be at least 1, not {max_concurrent}")
        self._guard = guard
        self._models = tuple(dict.fromkeys((models,) if isinstance(models, str) else models))
        self._max_concurrent = max_concurrent
        self._calls = 0
        self._started = int(time.time())
        self._client: AsyncClient | None = None
        self._running: dict[asyncio.Task[Any], Entry] = {}
        self._streams: set[AsyncStream] = set()
        self._closing = False
        self._owned: AsyncClient | None = None
        self.grace_seconds = GRACE_SECONDS
        """How long running replies may go on when the application shuts down."""
        self.hurry = asyncio.Event()
        """Set, it ends that wait."""

    @property
    def client(self) -> AsyncClient:
        """Whom to ask: the client that was set, but less patient where it is told to wait."""
        if self._client is None:
            raise RuntimeError("this gateway has no client yet")
        return self._client

    @client.setter
    def client(self, client: AsyncClient) -> None:
        self._client = client.with_options(retry=Patience(client._settings.retry))

    def own(self, client: AsyncClient) -> None:
        """Set the client, which is closed with the application."""
        self.client = self._owned = client

    def application(self, prefix: str) -> web.Application:
        """The application, whose paths begin with a prefix."""
        app = web.Application(middlewares=[self._middleware])
        app[GATEWAY] = self
        app.router.add_post(f"{prefix}/chat/completions", partial(self._complete, CHAT))
        app.router.add_post(f"{prefix}/responses", partial(self._complete, RESPONSES))
        app.router.add_get(f"{prefix}/models", self._list_models)
        app.router.add_get(f"{prefix}/models/{{model:.+}}", self._show_model)
        app.on_response_prepare.append(self._complete_headers)
        app.on_shutdown.append(self._drain)
        app.cleanup_ctx.append(self._watched)
        return app

    async def health(self, request: web.Request) -> web.Response:
        """Answer `GET /healthz`."""
        return web.json_response({"status": "ok"})

    # What every request meets.

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        entry = self._running[task] = Entry(request)
        try:
            response = await self._answered(request, handler, entry)
            entry.status = response.status
            return response
        finally:
            del self._running[task]
            entry.write()

    async def _answered(self, request: web.Request, handler: Handler, entry: Entry) -> web.StreamResponse:
        try:
            preflight = self._guard.judge(request)
            if preflight is not None:
                return preflight
            if self._closing:
                raise _shutting_down()
            return await handler(request)
        except Problem as problem:
            return _refusal(problem)
        except AIChatFreeError as error:
            return _refusal(self._problem(error))
        except ConnectionError:
            raise  # the caller is gone
        except Exception as error:
            if entry.begun:
                raise  # nothing can follow on half an answer: the connection is cut
            return _refusal(problem_for_fault(request, error))

    async def _complete_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.pop(hdrs.SERVER, None)
        response.headers["x-request-id"] = f"req_{os.urandom(16).hex()}"
        self._guard.tell_browser(request, response)

    # Models.

    async def _list_models(self, request: web.Request) -> web.Response:
        names = self._models or (self.client._settings.model,)
        return web.json_response({"object": "list", "data": [self._model(name) for name in names]})

    async def _show_model(self, request: web.Request) -> web.Response:
        name = request.match_info["model"]
        self._check_model(name)
        return web.json_response(self._model(name))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "aichatfree"}

    def _check_model(self, name: str) -> None:
        if self._models and name not in self._models:
            words = f"The model {name[:200]!r} does not exist here: GET /v1/models lists those that do."
            raise Problem(HTTPStatus.NOT_FOUND, words, param="model", code="model_not_found")

    # Replies.

    async def _complete(self, form: Form, request: web.Request) -> web.StreamResponse:
        self._check_place(1)
        self._calls += 1
        more = 0
        try:
            asked = form.ask(parse_object(await read_body(request)))
            self._check_model(asked.model)
            self._check_place(asked.count - 1)
            more = asked.count - 1
            self._calls += more
            return await self._reply(form, asked, request)
        finally:
            self._calls -= 1 + more

    def _check_place(self, calls: int) -> None:
        if self._calls + calls > self._max_concurrent:
            words = f"Too many calls run at once in this gateway: try again in {BUSY_SECONDS} seconds."
            raise Problem(503, words, code="overloaded", retry_after=BUSY_SECONDS, retryable=True)

    async def _reply(self, form: Form, asked: Asked, request: web.Request) -> web.StreamResponse:
        streams = [self.client.stream(asked.messages, model=asked.model) for _ in range(asked.count)]
        self._streams.update(streams)
        task = asyncio.current_task()
        assert task is not None
        entry = self._running[task]
        entry.streams = streams
        number, created = os.urandom(16).hex(), int(time.time())
        headers = {"x-aichatfree-ignored": ", ".join(asked.ignored)} if asked.ignored else {}
        try:
            async with aclosing(texts_of(streams, asked.stop)) as texts:
                if asked.stream:
                    writer = form.writer(number, created, asked)
                    return await self._stream(request, entry, writer, texts, asked.count, headers)
                pieces: list[list[str]] = [[] for _ in streams]
                async for index, text in texts:
                    if text is not None:
                        pieces[index].append(text)
            answer = form.whole(number, created, asked, ["".join(own) for own in pieces])
            return web.json_response(answer, headers=headers)
        finally:
            self._streams.difference_update(streams)

    async def _stream(
        self,
        request: web.Request,
        entry: Entry,
        writer: Writer,
        texts: Texts,
        count: int,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        # The status waits until every reply has begun: until then, an error is an answer of its own.
        first: list[Text] = []
        silent = set(range(count))
        while silent:
            first.append(await anext(texts))
            silent.discard(first[-1][0])
        running = count - sum(piece is None for _, piece in first)
        response = web.StreamResponse(headers={**_STREAM_HEADERS, **headers})
        entry.begun = True
        await response.prepare(request)
        data = writer.begin() + b"".join(_event(writer, text) for text in first)
        try:
            # What ends a reply goes out with what ends the stream: each write is a call of the system.
            if running:
                await response.write(data)
                data = b""
            async for index, piece in texts:
                running -= piece is None
                data = writer.finish(index) if piece is None else writer.piece(index, piece)
                if running:
                    await response.write(data)
            data += writer.end()
        except AIChatFreeError as error:
            entry.failed = True
            outcome.set("cut")
            data = writer.fail(self._problem(error, seen_text=True))
        await response.write_eof(data)
        return response

    def _problem(self, error: AIChatFreeError, *, seen_text: bool = False) -> Problem:
        if self._closing or self.client.closed:
            return _shutting_down()
        return problem_of(error, address=self.client.base_url, seen_text=seen_text)

    # The end.

    async def _drain(self, app: web.Application) -> None:
        """No new requests; running ones may go on for a while, and what still runs then fails visibly."""
        self._closing = True
        if self._running:
            done = asyncio.ensure_future(asyncio.wait(list(self._running)))
            hurried = asyncio.ensure_future(self.hurry.wait())
            await asyncio.wait({done, hurried}, timeout=self.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
            for waiter in (done, hurried):
                waiter.cancel()
        for stream in list(self._streams):
            await stream.aclose()

    async def _watched(self, app: web.Application) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._watch())
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        for client in (self._client, self._owned):
            if client is not None:
                await client.aclose()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for task, entry in list(self._running.items()):
                if entry.abandoned:
                    task.cancel()


GATEWAY: web.AppKey[Gateway] = web.AppKey("GATEWAY", Gateway)


def _event(writer: Writer, text: Text) -> bytes:
    index, piece = text
    return writer.finish(index) if piece is None else writer.piece(index, piece)


def _refusal(problem: Problem) -> web.Response:
    return web.json_response(problem.body(), status=problem.status, headers=problem.headers())


def _shutting_down() -> Problem:
    return Problem(503, "This gateway is shutting down: try again later.", code="shutting_down", retryable=True)
