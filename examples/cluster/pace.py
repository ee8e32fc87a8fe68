"""One rate for many machines: a service that hands out moments, and what a worker says to it.

The service is a plain HTTP server of a few lines, so that it works with every engine. `POST /slot` answers with the
seconds to wait before a request may go out; `POST /pause?seconds=N` makes everybody wait, as when a quota is used up.
"""

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener


class Pace:
    """When the next request of all the workers may go out.

    Args:
        max_rate: Requests a minute, retries included; they are spaced evenly.
        now: A monotonic clock, in seconds.
    """

    def __init__(self, max_rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60 / max_rate
        self._now = now
        self._next = now()
        self._lock = Lock()
        self.slots = 0

    def slot(self) -> float:
        """Take a moment: the seconds until it."""
        with self._lock:
            now = self._now()
            at = max(now, self._next)
            self._next = at + self._interval
            self.slots += 1
            return at - now

    def pause(self, seconds: float) -> None:
        """No moment is handed out before so many seconds have passed."""
        with self._lock:
            self._next = max(self._next, self._now() + seconds)


class PaceServer:
    """Serves a `Pace`. For workers on other machines give the address they reach this one by; there is no password."""

    def __init__(self, max_rate: float, host: str = "127.0.0.1", port: int = 0) -> None:
        self.pace = pace = Pace(max_rate)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                url = urlsplit(self.path)
                if url.path == "/pause":
                    pace.pause(float(parse_qs(url.query)["seconds"][0]))
                seconds = pace.slot() if url.path == "/slot" else 0.0
                body = f"{seconds:.6f}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((host, port), Handler)
        self.url = f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> "PaceServer":
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


_open = build_opener(ProxyHandler({})).open  # the workers' own network


def wait_for_slot(url: str) -> None:
    """Wait until a request may go out."""
    with _open(Request(f"{url}/slot", method="POST"), timeout=30) as answer:
        time.sleep(float(answer.read()))


def pause_all(url: str, seconds: float) -> None:
    """Make every worker wait, this one included."""
    with _open(Request(f"{url}/pause?seconds={seconds}", method="POST"), timeout=30):
        pass
