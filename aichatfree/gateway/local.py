"""`LocalGateway`, a gateway in a thread of this process; `run`, the same in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Unpack

from aiohttp import web

from .._async.client import AsyncClient
from .._core.settings import AllOptions
from ..server.connections import address_of, allow_many_connections, cannot_listen, stop_accepting
from ..server.loop_thread import LoopThread
from ..server.sites import is_loopback
from .app import create_app
from .service import DEFAULT_MAX_CONCURRENT, GATEWAY, GRACE_SECONDS

__all__ = ["LocalGateway", "run"]

KEEP_ALIVE_SECONDS = 75.0
LOCAL_GRACE_SECONDS = 0.15
"""How long a running reply may go on when a `LocalGateway` is closed, or Ctrl-C ends `run`."""
CUT_SECONDS = 0.5
"""How long the words of a cut have to reach the caller."""

_quiet = logging.getLogger("aichatfree.gateway.http")
_quiet.disabled = True  # aiohttp would repeat what a caller sent that is not HTTP


class LocalGateway:
    """The OpenAI API over a client of its own, in one thread from `start` (or `with`) to `close`, once.

    ```python
    with LocalGateway(base_url="http://127.0.0.1:3000", api_key="k") as gateway:
        client = openai.OpenAI(base_url=gateway.url, api_key="k")
    ```

    Args:
        api_key: The key that callers must show. None or "": none, and it listens on loopback addresses only.
        models: The names of the models that exist; none: any name is taken.
        allow_origins: Sites such as `https://chat.example` whose pages may ask, beside those of this machine.
        host: The address to listen on.
        port: The port; 0 takes any that is free.
        max_concurrent: How many calls may run at once; further ones are refused with a 503.
        prepare: Called with the aiohttp application, to add to it: `prepare=add_metrics`, of
            `aichatfree.integrations.prometheus`, adds `/metrics`. The key holds for what is added.
        **client_options: Those of `AsyncClient`: `base_url`, `password`, `secret`, `timeout` and so on.

    Raises:
        ValueError: It would serve others than this machine without a key, or one of `allow_origins` is not an origin.
        InvalidRequestError: An option of the client cannot work.
    """

    __module__ = "aichatfree.gateway"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        models: Iterable[str] = (),
        allow_origins: Iterable[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        max_concurrent: int = DEFAULT_MAX_CONCURRENT,
        prepare: Callable[[web.Application], object] | None = None,
        **client_options: Unpack[AllOptions],
    ) -> None:
        check_key(host, api_key)
        self._client = AsyncClient(**client_options)
        self._app = create_app(
            self._client,
            api_key=api_key,
            models=models,
            allow_origins=allow_origins,
            max_concurrent=max_concurrent,
            host=host,
        )
        if prepare is not None:
            prepare(self._app)
        self._app[GATEWAY].grace_seconds = LOCAL_GRACE_SECONDS
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._thread: LoopThread | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The base URL for clients of the OpenAI API; it ends with `/v1`. Raises RuntimeError before `start`."""
        if not self._url:
            raise RuntimeError("this LocalGateway has not been started: use `with LocalGateway() as gateway:`")
        return f"{self._url}/v1"

    @property
    def port(self) -> int:
        """The port that it listens on. Raises RuntimeError before `start`."""
        return int(self.url.removesuffix("/v1").rpartition(":")[2])

    def start(self) -> LocalGateway:
        """Start serving; `with` does it by itself.

        Raises:
            OSError: The address cannot be listened on.
            RuntimeError: It has been started before.
        """
        if self._thread is not None:
            raise RuntimeError("a LocalGateway is started once: make another")
        self._thread = LoopThread("aichatfree-local-gateway")
        self._thread.start()
        try:
            self._runner = self._thread.call(_listen(self._app, self._host, self._port))
        except BaseException:
            self._thread.close()
            raise
        self._url = address_of(self._runner)
        return self

    def close(self) -> None:
        """Stop serving; replies still running are cut within a second. A second call does nothing."""
        runner, self._runner = self._runner, None
        if self._thread is None or runner is None:
            return
        try:
            self._thread.call(self._close(runner))
        finally:
            self._thread.close()

    async def _close(self, runner: web.AppRunner) -> None:
        await stop_accepting(runner)
        await runner.cleanup()
        await self._client.aclose()

    def __enter__(self) -> LocalGateway:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalGateway {'at ' + self.url if self._runner else 'not running'}>"


def run(
    client: AsyncClient,
    *,
    api_key: str | None = None,
    models: Iterable[str] = (),
    allow_origins: Iterable[str] = (),
    host: str = "127.0.0.1",
    port: int = 8787,
    max_concurrent: int = DEFAULT_MAX_CONCURRENT,
    prepare: Callable[[web.Application], object] | None = None,
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM; returns then. Prints nothing.

    On either there are no new requests. After SIGTERM running replies may go on for ten seconds, after Ctrl-C or a
    second signal for no longer; what then still runs is cut visibly.

    Args:
        client: Whom to ask; it is closed at the end.
        api_key: As for `LocalGateway`, and so are the others.
        models: See there.
        allow_origins: See there.
        host: See there.
        port: See there.
        max_concurrent: See there.
        prepare: See there.
        on_start: Called with the URL when the gateway can be reached.

    Raises:
        OSError: The address cannot be listened on.
        ValueError: As for `LocalGateway`.
    """
    check_key(host, api_key)
    app = create_app(
        client, api_key=api_key, models=models, allow_origins=allow_origins, max_concurrent=max_concurrent, host=host
    )
    if prepare is not None:
        prepare(app)
    allow_many_connections()
    with suppress(KeyboardInterrupt):  # where the loop cannot handle signals itself
        asyncio.run(_run(app, client, host, port, on_start))


async def _run(
    app: web.Application, client: AsyncClient, host: str, port: int, on_start: Callable[[str], None] | None
) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    gateway = app[GATEWAY]
    handled = []

    def signalled(grace_seconds: float) -> None:
        if stopped.is_set():
            gateway.hurry.set()
        gateway.grace_seconds = grace_seconds
        stopped.set()

    runner = await _listen(app, host, port)
    try:
        for number, seconds in ((signal.SIGINT, LOCAL_GRACE_SECONDS), (signal.SIGTERM, GRACE_SECONDS)):
            # Not on Windows, and not outside the main thread.
            with suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, signalled, seconds)
                handled.append(number)
        if on_start is not None:
            on_start(f"{address_of(runner)}/v1")
        await stopped.wait()
    finally:
        await stop_accepting(runner)
        await runner.cleanup()
        await client.aclose()
        for number in handled:
            loop.remove_signal_handler(number)


def check_key(host: str, api_key: str | None) -> None:
    """See that a gateway without a key serves this machine only.

    Raises:
        ValueError: It would serve others.
    """
    if not api_key and not is_loopback(host):
        raise ValueError(
            f"without a key only loopback addresses are served, and {host} is not one: give a key "
            "(api_key=..., or AICHATFREE_GATEWAY_KEY)"
        )


async def _listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_quiet,
        handle_signals=False,
        handler_cancellation=True,  # a caller that hangs up ends its call
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=CUT_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except (OSError, OverflowError) as exc:
        await runner.cleanup()
        raise cannot_listen(host, port, exc) from exc
    return runner
