"""``aichatfree serve``: a server in the foreground, with a model behind it or without."""

from __future__ import annotations

import asyncio
import logging
import shlex
from typing import TYPE_CHECKING, Any

import click

from . import collecting
from .metrics import PATH, metrics_option, preparation
from .options import Settings, examples, server_options
from .report import Refusal
from .server_log import ServerLog
from .terminal import complain
from .upstreams import UpstreamOptions, upstream_options

if TYPE_CHECKING:
    from aiohttp import web

MAX_CONCURRENT = 64
PROBE_SECONDS = 30.0


@click.command(
    epilog=examples(
        "aichatfree serve",
        "aichatfree serve --upstream ollama --model llama3.2",
        "aichatfree serve --upstream openai:http://127.0.0.1:8080/v1 --model NAME",
        'aichatfree serve --port 8080 --password - --reply "Hello!"',
        'aichatfree ask --base-url http://127.0.0.1:3000 "Hello"',
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=3000,
    show_default=True,
    help="The port; 0 takes any that is free.",
)
@click.option("--reply", metavar="TEXT", help="What to answer; by default, a text that repeats what was asked.")
@upstream_options
@click.option(
    "--max-concurrent",
    metavar="N",
    type=click.IntRange(1),
    help=f"How many replies may run at once; with --upstream {MAX_CONCURRENT}, otherwise any number.",
)
@click.option("--no-probe", is_flag=True, help="Do not ask the upstream, at the start, whether it works.")
@click.option("--no-page", is_flag=True, help="Do not serve the chat page.")
@click.option(
    "--allow-origin",
    metavar="URL",
    multiple=True,
    help="A site whose pages may ask, too, such as https://chat.example (repeatable).",
)
@click.option(
    "--gateway",
    is_flag=True,
    help="Serve the OpenAI API as well, under /v1. Its key: AICHATFREE_GATEWAY_KEY, or gateway_key in the file.",
)
@metrics_option
@server_options
def serve(
    host: str,
    port: int,
    reply: str | None,
    max_concurrent: int | None,
    no_probe: bool,
    no_page: bool,
    allow_origin: tuple[str, ...],
    gateway: bool,
    metrics: bool,
    settings: Settings,
    **model: Any,
) -> int:
    """Run a server of the protocol on this machine until Ctrl-C, with a model behind it (--upstream) or without."""
    from ..server import run

    collecting.loaded()
    if not host.strip():
        raise Refusal("--host is empty, which would be every address: say 0.0.0.0 if that is meant")
    options = UpstreamOptions(**model)
    if options.upstream is None and no_probe:
        raise Refusal("--no-probe is for a model, and there is none: say which with --upstream")
    if options.upstream is not None and reply is not None:
        raise Refusal("--reply and --upstream exclude each other: either the text is given, or a model makes it")
    prepare = preparation(metrics)
    upstream = options.make(settings.upstream_key)
    if upstream is not None and max_concurrent is None:
        max_concurrent = MAX_CONCURRENT

    api = _gateway(host, allow_origin, settings) if gateway else None

    def tell(url: str) -> None:
        if api is not None:
            _ask_itself(api, url, settings, options.model)
            click.echo(f"The OpenAI API is on {url}/v1", err=True)
        if metrics:
            click.echo(f"Figures for Prometheus are on {url}{PATH}", err=True)
        wants = [name for name in ("password", "secret") if getattr(settings, name)]
        guarded = f", with {' and '.join(wants)}" if wants else ""
        browser = "" if no_page else ", or open it in a browser"
        click.echo(f"Serving on {url} (Ctrl-C ends it{guarded})", err=True)
        click.echo(f"Ask it with: aichatfree ask --base-url {shlex.quote(url)} Hello{browser}", err=True)

    # From Python 3.13 on, asyncio logs what it raises as well, when an address cannot be listened on.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with ServerLog():
        try:
            run(
                upstream if reply is None else reply,
                secret=settings.secret or "",
                password=settings.password,
                host=host,
                port=port,
                allow_origins=allow_origin,
                max_concurrent=max_concurrent,
                page=not no_page,
                subapps=None if api is None else {"/v1": api},
                prepare=prepare,
                on_start=tell,
                beside=None if upstream is None or no_probe else lambda: _probe(upstream),
            )
        except ValueError as error:
            raise Refusal(f"--allow-origin: {error}") from error
    click.echo("Stopped.", err=True)
    return 0


def _gateway(host: str, allow_origins: tuple[str, ...], settings: Settings) -> web.Application:
    """The OpenAI API as a part of the server."""
    from ..gateway.app import create_subapp
    from ..gateway.local import check_key

    try:
        check_key(host, settings.gateway_key)
        return create_subapp(api_key=settings.gateway_key, allow_origins=allow_origins, host=host)
    except ValueError as error:
        raise Refusal(f"--gateway: {error}") from error


def _ask_itself(api: web.Application, url: str, settings: Settings, model: str | None) -> None:
    """Let the gateway ask the server that it is a part of: from within, so it knows the site password."""
    from .. import AsyncClient, Options
    from ..gateway.service import GATEWAY

    options: Options = {"secret": settings.secret or "", "password": settings.password or "", "trust_env": False}
    if model:
        options["model"] = model
    client = AsyncClient(url, **options)
    api[GATEWAY].own(client)


async def _probe(upstream: Any) -> None:
    """Ask the upstream something cheap, and warn if that fails."""
    from ..server.failures import UpstreamError

    try:
        await asyncio.wait_for(upstream.probe(), PROBE_SECONDS)
    except UpstreamError as error:
        complain(f"warning: {error}")
    except TimeoutError:
        complain(f"warning: the upstream has not answered for {PROBE_SECONDS:g} seconds")
    except Exception as error:
        complain(f"warning: the upstream could not be asked ({type(error).__name__})")
