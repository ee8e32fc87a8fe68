"""`LocalServer`, a server of the protocol in a thread of this process; `run`, the same in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Unpack

from aiohttp import web

from .. import Client, Options
from .app import HANDLER, create_app
from .connections import Runner, address_of, allow_many_connections, listen, stop
from .loop_thread import LoopThread
from .replies import ReplySource

__all__ = ["LocalServer", "run"]

CLOSE_SECONDS = 0.15
"""How long a running reply may go on when a LocalServer is closed, or Ctrl-C ends `run`."""
GRACE_SECONDS = 10.0
"""How long a running reply may go on after SIGTERM."""
_FORCE_SECONDS = 0.15
"""What aiohttp grants, twice, to what remains after that."""


class LocalServer:
    """A real server of the protocol on this machine; its reply may be canned, or an upstream that asks a model.

    ```python
    with LocalServer(reply=["Hello, ", "world"], secret="s3cret") as server:
        print(Client(base_url=server.url, secret="s3cret").generate("Hi"))
    ```

    It runs in one thread from `start` (or `with`) to `close`, once.

    Args:
        reply: What to answer: a text, its pieces, or a function of the messages; see `create_app`.
        secret: With which requests must be signed.
        password: The site password: a str, which may hold several with commas between, an iterable, or None.
        host: The address to listen on.
        port: The port; 0 takes any that is free.
        delay: Seconds between pieces; None: a little for the default reply, otherwise none.
        time_limit_seconds: How far a request's time may be from this machine's; None: any.
        allow_origins: Sites whose pages may ask it, though it listens on a loopback address; see `create_app`.
        max_concurrent: How many replies may run at once; None: any number; see `create_app`.
        page: Whether `GET /` is a chat page.
        prepare: Called with the aiohttp application, to add to it, such as `/metrics`; see `create_app`.

    Raises:
        TypeError: `reply` is none of these.
        ValueError: `host` is empty, or see `create_app`.
    """

    def __init__(
        self,
        reply: ReplySource | None = None,
        *,
        secret: str = "",
        password: str | Iterable[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        delay: float | None = None,
        time_limit_seconds: float | None = None,
        allow_origins: Iterable[str] = (),
        max_concurrent: int | None = None,
        page: bool = True,
        prepare: Callable[[web.Application], object] | None = None,
    ) -> None:
        if not (password is None or isinstance(password, str)):
            password = tuple(password)
        self._secret = secret
        self._password = password if isinstance(password, str) else next(iter(password or ()), "")
        self._app = create_app(
            reply,
            secret=secret,
            password=password,
            delay=delay,
            time_limit_seconds=time_limit_seconds,
            host=_checked_host(host),
            allow_origins=allow_origins,
            max_concurrent=max_concurrent,
            page=page,
            prepare=prepare,
        )
        self._host = host
        self._port = port
        self._runner: Runner | None = None
        self._thread: LoopThread | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The base URL for a client, without a slash at the end. Raises RuntimeError before `start`."""
        if not self._url:
            raise RuntimeError("this LocalServer has not been started: use `with LocalServer() as server:`")
        return self._url

    def start(self) -> LocalServer:
        """Start serving; `with` does it by itself.

        Raises:
            OSError: The address cannot be listened on.
            RuntimeError: It has been started before.
        """
        if self._thread is not None:
            raise RuntimeError("a LocalServer is started once: make another")
        self._thread = LoopThread("aichatfree-local-server")
        self._thread.start()
        try:
            self._runner = self._thread.call(listen(self._app, self._host, self._port, shutdown_timeout=_FORCE_SECONDS))
        except BaseException:
            self._thread.close()
            raise
        self._app[HANDLER].sites.bound_to(address[0] for address in self._runner.addresses)
        self._url = address_of(self._runner)
        return self

    def client(self, **options: Unpack[Options]) -> Client:
        """A client of this server, with its secret and password; the environment does not count.

        Args:
            **options: The options of :class:`aichatfree.Client`, which take precedence.

        Raises:
            RuntimeError: The server has not been started.
            InvalidRequestError: An option is unknown or cannot work.
        """
        own: Options = {"secret": self._secret, "password": self._password, "trust_env": False}
        chosen: Options = {**own, **options}
        return Client(self.url, **chosen)

    def close(self) -> None:
        """Stop serving; replies still running are cut within half a second. A second call does nothing."""
        runner, self._runner = self._runner, None
        if self._thread is None or runner is None:
            return
        handler = self._app[HANDLER]
        self._thread.call(stop(runner, lambda: handler.finish(CLOSE_SECONDS)))
        self._thread.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for thread in list(handler.threads):
            # A reply's sync code cannot be cut: it ends at its next piece, or with the process.
            thread.join(max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalServer {'at ' + self._url if self._runner else 'not running'}>"


def run(
    reply: ReplySource | None = None,
    *,
    secret: str = "",
    password: str | Iterable[str] | None = None,
    host: str = "127.0.0.1",
    port: int = 3000,
    delay: float | None = None,
    allow_origins: Iterable[str] = (),
    max_concurrent: int | None = None,
    page: bool = True,
    subapps: Mapping[str, web.Application] | None = None,
    prepare: Callable[[web.Application], object] | None = None,
    on_start: Callable[[str], None] | None = None,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM; returns then. Prints nothing.

    After SIGTERM no request is taken any more, replies that run have ten seconds, and the rest is cut; a second signal
    cuts at once, as Ctrl-C does.

    Args:
        reply: As for `LocalServer`, and so are the others.
        secret: See there.
        password: See there.
        host: See there.
        port: See there; 3000 is the port of GeminiProChat's image.
        delay: See there.
        allow_origins: See there.
        max_concurrent: See there.
        page: See there.
        subapps: Applications by the path under which they are served as well, such as `/v1`.
        prepare: See `LocalServer`.
        on_start: Called with the URL when the server can be reached.
        beside: Called after that; what it returns runs beside the server, and is cancelled at its end.

    Raises:
        OSError: The address cannot be listened on.
        ValueError: `host` is empty, or see `create_app`.
    """
    app = create_app(
        reply,
        secret=secret,
        password=password,
        delay=delay,
        host=_checked_host(host),
        allow_origins=allow_origins,
        max_concurrent=max_concurrent,
        page=page,
        subapps=subapps,
        prepare=prepare,
    )
    allow_many_connections()
    with contextlib.suppress(KeyboardInterrupt):  # where the loop cannot handle signals itself
        asyncio.run(_run(app, host, port, on_start, beside))


async def _run(
    app: web.Application,
    host: str,
    port: int,
    on_start: Callable[[str], None] | None,
    beside: Callable[[], Coroutine[Any, Any, None]] | None,
) -> None:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[float] = loop.create_future()
    hurry = asyncio.Event()
    handled = []

    def signalled(grace: float) -> None:
        if first.done():
            hurry.set()
        else:
            first.set_result(grace)

    runner = await listen(app, host, port, shutdown_timeout=_FORCE_SECONDS)
    grace = CLOSE_SECONDS
    app[HANDLER].sites.bound_to(address[0] for address in runner.addresses)
    try:
        for number, seconds in ((signal.SIGINT, CLOSE_SECONDS), (signal.SIGTERM, GRACE_SECONDS)):
            # Not on Windows, and not outside the main thread.
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, signalled, seconds)
                handled.append(number)
        if on_start is not None:
            on_start(address_of(runner))
        other = None if beside is None else asyncio.ensure_future(beside())
        grace = await first
        if other is not None:
            other.cancel()
    finally:
        await stop(runner, lambda: app[HANDLER].finish(grace, hurry))
        for number in handled:
            loop.remove_signal_handler(number)


def _checked_host(host: str) -> str:
    if not host.strip():
        raise ValueError("host must not be empty, which would be every address: say 0.0.0.0 if that is meant")
    return host
