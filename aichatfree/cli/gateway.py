"""``aichatfree gateway``: the OpenAI API in front of a server, in the foreground."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from .metrics import PATH, metrics_option, preparation
from .options import Settings, connection_options, examples
from .report import Refusal

DEFAULT_PORT = 8787


@click.command(
    epilog=examples(
        "aichatfree gateway",
        "aichatfree gateway --base-url http://127.0.0.1:3000 --name gemini-2.5-flash",
        "OPENAI_BASE_URL=http://127.0.0.1:8787/v1 OPENAI_API_KEY=none python my.py",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="The port; 0 takes any that is free.",
)
@click.option(
    "--name",
    "names",
    metavar="MODEL",
    multiple=True,
    help="A model's name that exists; may be repeated. By default, any name is taken.",
)
@click.option(
    "--allow-origin",
    "allow_origins",
    metavar="URL",
    multiple=True,
    help="A site, such as https://chat.example, whose pages may ask; may be repeated.",
)
@click.option(
    "--max-concurrent",
    type=click.IntRange(min=1),
    metavar="N",
    default=1000,
    show_default=True,
    help="How many calls may run at once; further ones are told to come again.",
)
@click.option(
    "--max-retries",
    type=click.IntRange(min=0),
    metavar="N",
    help="How often a call is tried again before its first piece; 0 leaves that to the caller. By default 2.",
)
@metrics_option
@connection_options
def gateway(
    host: str,
    port: int,
    names: tuple[str, ...],
    allow_origins: tuple[str, ...],
    max_concurrent: int,
    max_retries: int | None,
    metrics: bool,
    settings: Settings,
) -> int:
    """Serve the OpenAI API on this machine, answered by an AIChatFree server, until Ctrl-C.

    Every program that lets you set the address of the OpenAI API can use it: chat completions and responses, streamed
    or not. The key that callers must show is AICHATFREE_GATEWAY_KEY, or gateway_key in the config file; without one,
    only this machine is served.
    """
    from .. import AsyncClient
    from ..gateway.local import run

    prepare = preparation(metrics)
    more: dict[str, Any] = {} if max_retries is None else {"max_retries": max_retries}
    settings.client(**more).close()  # refuses what cannot work, in terms of the command line
    if settings.timeout is not None:
        more["timeout"] = settings.timeout
    client = AsyncClient(
        settings.base_url, secret=settings.secret, password=settings.password, proxy=settings.proxy, **more
    )

    def tell(url: str) -> None:
        if metrics:
            with_it = ", with the key" if settings.gateway_key else ""
            click.echo(f"Figures for Prometheus are on {url.removesuffix('/v1')}{PATH}{with_it}", err=True)
        guarded = "with a key" if settings.gateway_key else "without a key, for this machine only"
        click.echo(f"Serving the OpenAI API on {url} (Ctrl-C ends it; {guarded})", err=True)
        click.echo(f"It asks {client.base_url}. Try: curl {url}/models", err=True)

    log_requests()
    # From Python 3.13 on, asyncio logs what it raises as well, when an address cannot be listened on.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        run(
            client,
            api_key=settings.gateway_key,
            models=names,
            allow_origins=allow_origins,
            host=host,
            port=port,
            max_concurrent=max_concurrent,
            prepare=prepare,
            on_start=tell,
        )
    except ValueError as error:
        raise Refusal(_as_options(str(error))) from error
    click.echo("Stopped.", err=True)
    return 0


def log_requests() -> None:
    """One line on stderr for each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("aichatfree.gateway")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _as_options(text: str) -> str:
    return text.replace("api_key=..., or AICHATFREE_GATEWAY_KEY", "AICHATFREE_GATEWAY_KEY, or gateway_key in the file")
