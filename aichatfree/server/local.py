"""`LocalServer`, a server of the protocol in a thread of this process; `run`, the same in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import time
from collections.abc import Callable, Iterable
from types import TracebackType

from aiohttp import web

from aichatfree.server.app import THREADS, create_app
from aichatfree.server.loop_thread import LoopThread
from aichatfree.server.replies import ReplySource

__all__ = ["LocalServer", "run"]

KEEP_ALIVE_SECONDS = 5.0
"""How long an idle connection stays open: the real server's (Node's) value."""

GRACE_SECONDS = 0.15
"""How long a running reply may go on when the server is closed. aiohttp grants it twice."""


class LocalServer:
    """A real server of the protocol on this machine, without a model behind it.

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
    ) -> None:
        self._app = create_app(
            reply, secret=secret, password=password, delay=delay, time_limit_seconds=time_limit_seconds
        )
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
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
            self._runner = self._thread.call(_listen(self._app, self._host, self._port))
        except BaseException:
            self._thread.close()
            raise
        self._url = _url(self._runner)
        return self

    def close(self) -> None:
        """Stop serving; replies still running are cut within half a second. A second call does nothing."""
        runner, self._runner = self._runner, None
        if self._thread is None or runner is None:
            return
        self._thread.call(runner.cleanup())
        self._thread.close()
        deadline = time.monotonic() + GRACE_SECONDS
        threads = self._app[THREADS]
        for thread in list(threads):
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
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM; returns then. Prints nothing.

    Args:
        reply: As for `LocalServer`, and so are the others.
        secret: See there.
        password: See there.
        host: See there.
        port: See there; 3000 is the port of GeminiProChat's image.
        delay: See there.
        on_start: Called with the URL when the server can be reached.

    Raises:
        OSError: The address cannot be listened on.
    """
    app = create_app(reply, secret=secret, password=password, delay=delay)
    with contextlib.suppress(KeyboardInterrupt):  # where the loop cannot handle signals itself
        asyncio.run(_run(app, host, port, on_start))


async def _run(app: web.Application, host: str, port: int, on_start: Callable[[str], None] | None) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    handled = []
    runner = await _listen(app, host, port)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not on Windows, and not outside the main thread.
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, stopped.set)
                handled.append(number)
        if on_start is not None:
            on_start(_url(runner))
        await stopped.wait()
    finally:
        await runner.cleanup()
        for number in handled:
            loop.remove_signal_handler(number)


async def _listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,  # a client that goes away ends its reply
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=GRACE_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except (OSError, OverflowError) as exc:
        await runner.cleanup()
        raise _cannot_listen(host, port, exc) from exc
    return runner


def _cannot_listen(host: str, port: int, exc: Exception) -> OSError:
    number = getattr(exc, "errno", None) or 0
    # What asyncio says instead repeats the address.
    why = os.strerror(number) if number > 0 else str(exc)
    text = f"cannot listen on {host}, port {port}: {why}; choose another port, or 0 for any that is free"
    return OSError(number, text) if number else OSError(text)


def _url(runner: web.AppRunner) -> str:
    """Where a client on this machine reaches the server, also if it listens on every address."""
    host, port = runner.addresses[0][:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
