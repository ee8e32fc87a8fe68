"""``aichatfree serve``: the local server in the foreground."""

from __future__ import annotations

import logging
import shlex

import click

from .options import Settings, examples, server_options


@click.command(
    epilog=examples(
        "aichatfree serve",
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
@server_options
def serve(host: str, port: int, reply: str | None, settings: Settings) -> int:
    """Run a server of the protocol on this machine, without a model behind it, until Ctrl-C."""
    from ..server import run

    def tell(url: str) -> None:
        wants = [name for name in ("password", "secret") if getattr(settings, name)]
        guarded = f", with {' and '.join(wants)}" if wants else ""
        click.echo(f"Serving on {url} (Ctrl-C ends it{guarded})", err=True)
        click.echo(f"Ask it with: aichatfree ask --base-url {shlex.quote(url)} Hello", err=True)

    # From Python 3.13 on, asyncio logs what it raises as well, when an address cannot be listened on.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    run(reply, secret=settings.secret or "", password=settings.password, host=host, port=port, on_start=tell)
    click.echo("Stopped.", err=True)
    return 0
