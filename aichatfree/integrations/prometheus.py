"""``/metrics`` in Prometheus' text format for an aiohttp application: ``pip install 'aichatfree[metrics]'``.

For those of ``aichatfree.server`` and ``aichatfree.gateway``, or any other::

    from aiohttp import web
    from aichatfree.integrations.prometheus import add_metrics
    from aichatfree.server import create_app

    app = create_app("Hello!", host="127.0.0.1", prepare=add_metrics)
    web.run_app(app, host="127.0.0.1", port=3000)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.aiohttp import make_aiohttp_handler

__all__ = ["add_metrics"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_began: ContextVar[tuple[int, float]] = ContextVar("aichatfree_metrics_began", default=(0, 0.0))
_PATHS = frozenset({"/", "/api/generate", "/api/auth", "/healthz"})
"""Of the servers of this protocol: told apart even where one handler takes every path."""
_OUTCOME = "aichatfree_outcome"
"""The variable in which it is told: found by its name, since an integration knows public names only."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_metrics(
    app: web.Application, *, path: str = "/metrics", registry: CollectorRegistry | None = None
) -> CollectorRegistry:
    """Count and time the requests of an application, and serve the figures.

    Labels have few values: a path that no route matches is ``unmatched``, an unusual method ``other``; nothing that a
    caller sends becomes a label. A request that its client gave up has the status ``cancelled``, and a reply of
    ``aichatfree.server`` or ``aichatfree.gateway`` that broke off after its head has ``cut``.

    ================================================ ==============================================
    ``aichatfree_http_requests_total``               by method, route and status
    ``aichatfree_http_request_duration_seconds``     until the last byte, by route
    ``aichatfree_http_first_byte_seconds``           until the head of the answer, by route
    ``aichatfree_http_requests_in_progress``         now
    ``process_*``                                    memory, processor time, file descriptors
    ================================================ ==============================================

    Args:
        app: An application that has not been started.
        path: Where the figures are served. The middlewares of the application, such as a check for a key, hold for
            this path as well.
        registry: Where the figures are kept; by default a registry of its own, with those of the process.

    Returns:
        The registry, for figures of your own.

    Raises:
        RuntimeError: The application has been started, or ``path`` has a handler already.
        ValueError: The registry has such figures already, or ``path`` does not begin with a slash.
    """
    if app.frozen:
        raise RuntimeError("the application has been started: add_metrics before that")
    if any(route.method in ("GET", "*") for route in app.router.routes() if _route_of(route.resource) == path):
        raise RuntimeError(f"{path} has a handler already: choose another path=")
    if registry is None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
    figures = _Figures(registry)
    app.router.add_get(path, make_aiohttp_handler(registry))
    app.middlewares.insert(0, figures.middleware)  # the outermost: what another refuses is counted too
    app.on_response_prepare.append(figures.answer_begins)
    return registry


class _Figures:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "aichatfree_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._duration = Histogram(
            "aichatfree_http_request_duration_seconds",
            "From the head of a request to the last byte of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_byte = Histogram(
            "aichatfree_http_first_byte_seconds",
            "From the head of a request to the head of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_progress = Gauge(
            "aichatfree_http_requests_in_progress", "Requests being answered now.", registry=registry
        )

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        began = time.perf_counter()
        _began.set((id(request), began))
        status = "500"
        with self._in_progress.track_inprogress():
            try:
                response = await handler(request)
                status = str(response.status)
                return response
            except web.HTTPException as answer:
                status = str(answer.status)
                raise
            except (asyncio.CancelledError, ConnectionError):
                status = "cancelled"
                raise
            finally:
                route = _route(request)
                status = _outcome() or status
                method = request.method if request.method in _METHODS else "other"
                self._requests.labels(method, route, status).inc()
                self._duration.labels(route).observe(time.perf_counter() - began)

    async def answer_begins(self, request: web.Request, response: web.StreamResponse) -> None:
        number, began = _began.get()
        if number == id(request):  # else it never came as far as the middleware
            self._first_byte.labels(_route(request)).observe(time.perf_counter() - began)


def _outcome() -> str:
    """What a server of this package says of a reply whose status had gone out; each request is a task of its own."""
    return next((str(value) for told, value in copy_context().items() if told.name == _OUTCOME), "")


def _route(request: web.Request) -> str:
    if request.path in _PATHS and request.match_info.route.resource is not None:
        return request.path
    return _route_of(request.match_info.route.resource)


def _route_of(resource: web.AbstractResource | None) -> str:
    return "unmatched" if resource is None else resource.canonical
