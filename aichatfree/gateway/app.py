"""The gateway as an aiohttp application, or as a part of another."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from .._async.client import AsyncClient
from .guard import Guard
from .service import DEFAULT_MAX_CONCURRENT, Gateway

__all__ = ["create_app", "create_subapp"]


def create_app(
    client: AsyncClient,
    *,
    api_key: str | None = None,
    models: Iterable[str] = (),
    allow_origins: Iterable[str] = (),
    max_concurrent: int = DEFAULT_MAX_CONCURRENT,
    host: str | None = None,
) -> web.Application:
    """An application that serves the OpenAI API over a client.

    It serves `POST /v1/chat/completions` and `/v1/responses`, `GET /v1/models` and `/v1/models/{id}`, and `/healthz`.
    Run it with `handler_cancellation=True`, so that a caller who hangs up ends the call below at once; without, that is
    noticed within half a second.

    Args:
        client: Whom to ask. It stays the caller's, who closes it after the application.
        api_key: The key that callers must show as `Authorization: Bearer KEY`. None or "": none, and only requests
            that arrive at a loopback address are served.
        models: The names of the models that exist; none: any name is taken.
        allow_origins: Sites such as `https://chat.example` whose pages may ask, beside those of this machine.
        max_concurrent: How many calls may run at once; further ones are refused with a 503 and told when to come again.
        host: The address that is listened on, by which the rules for Host and Origin go; None: the one at which each
            request arrives.

    Raises:
        ValueError: One of `allow_origins` is not an origin, or `max_concurrent` is less than 1.
        InvalidRequestError: The client is closed.
    """
    gateway = Gateway(Guard(api_key, allow_origins, host), models, max_concurrent)
    gateway.client = client
    app = gateway.application("/v1")
    app.router.add_get("/healthz", gateway.health)
    return app


create_app.__module__ = "aichatfree.gateway"


def create_subapp(
    *,
    api_key: str | None = None,
    models: Iterable[str] = (),
    allow_origins: Iterable[str] = (),
    max_concurrent: int = DEFAULT_MAX_CONCURRENT,
    host: str | None = None,
) -> web.Application:
    """The same without `/healthz`, to be added to another application under `/v1`.

    Its client is to be given to `app[GATEWAY].own` before the first request: it may ask that other application itself,
    whose address is known only once it listens.

    Args:
        api_key: As for `create_app`.
        models: As for `create_app`.
        allow_origins: As for `create_app`.
        max_concurrent: As for `create_app`.
        host: As for `create_app`.

    Raises:
        ValueError: As for `create_app`.
    """
    return Gateway(Guard(api_key, allow_origins, host), models, max_concurrent).application("")
