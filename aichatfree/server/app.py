"""The local server as an aiohttp application: it does on the wire what GeminiProChat's server does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiohttp import web

from . import protocol
from .access_log import Call
from .bodies import Bodies, BodyRefusedError
from .connections import bare, tidy_headers
from .failures import UpstreamError, current_note
from .heads import expect, forbidden, refusal_of
from .load import Places
from .page import PAGE_PATHS, page_response
from .replies import ReplySource, Threads, default_reply, reusable
from .sending import send_reply
from .sites import Sites, path_of

__all__ = ["HANDLER", "Handler", "create_app"]

_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]

DEFAULT_DELAY_SECONDS = 0.02
"""Between pieces of the default reply, so that one sees it stream."""
HEALTH_PATH = "/healthz"

_API_PATHS = (protocol.GENERATE_PATH, protocol.AUTH_PATH)
_HEALTHY = protocol.Verdict(200, "OK", "application/json", b'{"status": "ok"}')


def create_app(
    reply: ReplySource | None = None,
    *,
    secret: str = "",
    password: str | Iterable[str] | None = None,
    time_limit_seconds: float | None = None,
    delay: float | None = None,
    host: str | None = None,
    allow_origins: Iterable[str] = (),
    max_concurrent: int | None = None,
    page: bool = True,
    subapps: Mapping[str, web.Application] | None = None,
    prepare: Callable[[web.Application], object] | None = None,
) -> web.Application:
    """An application that serves `POST /api/generate` and `POST /api/auth` as the real server does.

    Whoever runs it by other means than this package's should pass `handler_cancellation=True` to aiohttp's runner:
    without it, aiohttp does not end a reply whose client has gone away.

    Args:
        reply: What to answer: a text, its pieces, or a sync or async function of the messages (as on the
            wire: `[{"role": "user", "parts": [{"text": "Hello"}]}]`, the parts of each joined into one) that returns a
            text, pieces, or an async iterable of pieces. Each piece is sent as a chunk of its own. A function that
            raises before its first piece makes a 500, as a failing model does; later, the text `Internal server error`
            ends the reply, and the connection is cut. What it raises is not repeated to the client, unless it is an
            `UpstreamError` or its text begins like the server's own, such as `[429 Too Many Requests]`. Sync
            functions run in threads. None: a text that says what this server is and repeats what was asked.
        secret: The server's `PUBLIC_SECRET_KEY`, with which requests must be signed.
        password: The site password: a str, which may hold several with commas between, an iterable, or None.
        time_limit_seconds: How far a request's time may be from this machine's; None (as in today's source): any.
        delay: Seconds between pieces; None: a little for the default reply, otherwise none.
        host: The address that is listened on. If it is a loopback address, a request with a `Host` that is no loopback
            name or with the `Origin` of another site gets a 403. None: none does.
        allow_origins: Sites, such as `https://chat.example`, whose pages may ask all the same, and read the answer.
        max_concurrent: How many replies may run at once; as many may wait for ten seconds, and the next one gets a
            500 that says 503, with a wait. None: any number.
        page: Whether `GET /` is a chat page; if not, it is `Not found`.
        subapps: Applications by the path under which they are served as well, such as `/v1`.
        prepare: Called with the application, to add to it: `prepare=add_metrics`, of
            `aichatfree.integrations.prometheus`, adds `/metrics`. The rules for `Host` and `Origin` hold for the routes
            that it adds, and they are logged.

    Raises:
        TypeError: `reply` is none of these.
        ValueError: One of `allow_origins` is not an origin, or `max_concurrent` is less than 1.
    """
    if delay is None:
        delay = DEFAULT_DELAY_SECONDS if reply is None else 0.0
    handler = Handler(
        default_reply if reply is None else reusable(reply),
        secret=secret,
        passwords=protocol.passwords_of(password),
        time_limit_seconds=time_limit_seconds,
        delay=delay,
        sites=Sites(host or "", allow_origins),
        places=Places(max_concurrent),
        page=page,
    )
    app = web.Application()
    app[HANDLER] = handler
    for prefix, subapp in (subapps or {}).items():
        app.add_subapp(prefix, subapp)
    # Found faster than by a pattern.
    for path in (*_API_PATHS, "/{path:.*}"):
        app.router.add_route("*", path, handler.handle, expect_handler=expect)
    app.on_response_prepare.append(tidy_headers)
    app.on_cleanup.append(handler.close)
    if prepare is not None:
        prepare(app)
    if subapps or prepare is not None:
        app.middlewares.append(handler.beside)  # the innermost, so that what it refuses is counted
    return app


_Answer = web.StreamResponse | Awaitable["_Answer"]
"""The answer to a request, or what is to be waited for until there is one."""


class Handler:
    """What the application does with each request."""

    def __init__(
        self,
        source: ReplySource,
        *,
        secret: str,
        passwords: frozenset[str],
        time_limit_seconds: float | None,
        delay: float,
        sites: Sites,
        places: Places,
        page: bool,
    ) -> None:
        self._source = source
        self._secret = secret
        self._passwords = passwords
        self._time_limit_seconds = time_limit_seconds
        self._delay = delay
        self.sites = sites
        self._places = places
        self._page = page
        self._bodies = Bodies()
        self._running: set[asyncio.Task[object]] = set()
        self.threads: Threads = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and write its line in the log."""
        call = Call(request.method, request.raw_path)
        current_note.set(call.note)  # each request runs in a task, and so in a context, of its own
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            response = self._answer(request, call)
            while not isinstance(response, web.StreamResponse):
                response = await response  # here, and not where it was made: each frame that waits takes memory
            call.status = response.status
            origin = request.headers.get("Origin")
            if origin is not None and not response.prepared and self.sites.allows(origin):
                response.headers.update(_cors(origin))
            return response
        finally:
            self._running.discard(task)
            call.log()

    def _answer(self, request: web.Request, call: Call) -> _Answer:
        if (answer := refusal_of(request, self.sites)) is not None:
            return answer
        method, target, headers = request.method, request.raw_path, request.headers
        host = headers.get("Host")
        path = target
        if path not in _API_PATHS:
            try:
                path = path_of(target, host or "")
            except ValueError:
                return bare(protocol.CRASHED)
        if method == "TRACE":
            return bare(protocol.CRASHED)
        origin = headers.get("Origin")
        if path in _API_PATHS and method != "POST":
            if method == "OPTIONS" and self.sites.allows(origin):
                return bare(protocol.Verdict(204, "No Content", headers=_PREFLIGHT))
            return bare(protocol.WRONG_METHOD)
        if origin is not None and (refusal := self.sites.origin_refusal(origin, host)):
            return forbidden(refusal)
        if path == protocol.GENERATE_PATH:
            return self._generate(request, call)
        if path == protocol.AUTH_PATH:
            return self._auth(request)
        if path == HEALTH_PATH and method in ("GET", "HEAD"):
            return bare(_HEALTHY)
        if self._page and path in PAGE_PATHS:
            return page_response(path)
        return bare(protocol.NOT_FOUND)

    async def _auth(self, request: web.Request) -> web.StreamResponse:
        try:
            return bare(protocol.judge_auth(await self._bodies.read(request), self._passwords))
        except BodyRefusedError as refused:
            return bare(refused.verdict, close=True)

    async def _generate(self, request: web.Request, call: Call) -> _Answer:
        try:
            body = await self._bodies.read(request)
        except BodyRefusedError as refused:
            return bare(refused.verdict, close=True)
        verdict = protocol.judge(
            body,
            secret=self._secret,
            passwords=self._passwords,
            time_limit_seconds=self._time_limit_seconds,
            now_ms=time.time() * 1000,
        )
        if verdict.messages is None:
            return bare(verdict)
        # Handed on and not kept: a stream may last, and a history may be large.
        question = [verdict.messages]
        del body, verdict
        try:
            await self._places.take()
        except UpstreamError as busy:
            call.note(busy.reason)
            return bare(protocol.upstream_error(busy.message))
        origin = request.headers.get("Origin")
        headers = {"Content-Type": protocol.REPLY_TYPE}
        if origin is not None and self.sites.allows(origin):
            headers.update(_cors(origin))
        return send_reply(
            request,
            self._source,
            question,
            threads=self.threads,
            delay=self._delay,
            call=call,
            headers=headers,
            leave=self._places.leave,
        )

    @web.middleware
    async def beside(self, request: web.Request, handler: _Route) -> web.StreamResponse:
        """Count what is served beside the protocol among what runs; judge and log it, if it is no application's own."""
        match = request.match_info
        if match.handler == self.handle:
            return await handler(request)
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await (handler(request) if len(match.apps) > 1 else self._added(request, handler))
        finally:
            self._running.discard(task)

    async def _added(self, request: web.Request, handler: _Route) -> web.StreamResponse:
        """Answer a request for a route that was added."""
        call = Call(request.method, request.raw_path)
        origin = request.headers.get("Origin")
        try:
            response: web.StreamResponse | None = refusal_of(request, self.sites)
            if response is not None:
                pass
            elif origin and (refusal := self.sites.origin_refusal(origin, request.headers.get("Host"))):
                response = forbidden(refusal)
            else:
                response = await handler(request)
            call.status = response.status
            if origin is not None and not response.prepared and self.sites.allows(origin):
                response.headers.update(_cors(origin))
            return response
        except web.HTTPException as answer:
            call.status = answer.status
            raise
        finally:
            call.log()

    async def finish(self, seconds: float, hurry: asyncio.Event | None = None) -> None:
        """Wait for the requests that run, at most so long, and cut the rest.

        Args:
            seconds: The longest wait.
            hurry: Ends the wait as soon as it is set.
        """
        if not self._running:
            return
        done = asyncio.ensure_future(asyncio.wait(set(self._running), timeout=seconds))
        hurried = asyncio.ensure_future((hurry or asyncio.Event()).wait())
        await asyncio.wait({done, hurried}, return_when=asyncio.FIRST_COMPLETED)
        for waiter in (done, hurried):
            waiter.cancel()
        late = set(self._running)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)

    async def close(self, app: web.Application) -> None:
        """Close the upstream, if the replies come from one."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


HANDLER: web.AppKey[Handler] = web.AppKey("handler", Handler)

_PREFLIGHT = (
    ("Access-Control-Allow-Methods", "POST"),
    ("Access-Control-Allow-Headers", "*"),
    ("Access-Control-Max-Age", "600"),
)


def _cors(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
