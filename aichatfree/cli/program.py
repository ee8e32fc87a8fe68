"""The command group: its commands are imported when they are used, and every mistake becomes one line on stderr."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import click

from .._core.version import version
from . import signals
from .config import config_path
from .options import examples, verbose_option
from .report import WRONG_USAGE, flush, report
from .terminal import prepare_streams

COMMANDS = ("ask", "chat", "check", "batch", "history", "config", "serve", "gateway", "demo", "completion")
_MODULES = {"config": "config_command"}
"""Where a command stands, if not in the module of its name."""


class Program(click.Group):
    """A group that imports a command when it is asked for, and reports failures in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f".{_MODULES.get(cmd_name, cmd_name)}", __package__), cmd_name)
        assert isinstance(command, click.Command)
        if ctx.resilient_parsing:  # a shell asks what it may complete
            from .completers import add_completions

            return add_completions(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but who names no command is told which there are."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {args[0]!r}: the commands are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where settings come from, with the path that the config file has on this machine."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Settings"):
            formatter.write_text(
                "Options, then AICHATFREE_BASE_URL, AICHATFREE_SECRET and AICHATFREE_PASSWORD, then the config file: "
                "TOML with base_url, secret, password, proxy, timeout, system. It is (--config or AICHATFREE_CONFIG "
                "name another):"
            )
            formatter.write_text(str(config_path() or "(there is no home folder)"))
        with formatter.section("Exit status"):
            formatter.write_text("0 success, 1 failure, 2 wrong usage or settings, 130 Ctrl-C.")

    def main(self, *args: Any, **named: Any) -> Any:
        """Run a command line, and exit with its status; return it with ``standalone_mode=False``."""
        standalone = named.get("standalone_mode", True)
        named["standalone_mode"] = False
        prepare_streams()
        if "_AICHATFREE_COMPLETE" in os.environ:
            importlib.import_module(".bash_words", __package__)
        try:
            value = super().main(*args, **named)
            status = value if isinstance(value, int) else 0
        except ModuleNotFoundError:
            raise  # whoever called knows what to do about it
        except BaseException as error:
            status = report(error)
        status = flush(status)
        signals.working(False)
        if (number := signals.received()) is not None and number != signal.SIGINT:
            status = 128 + number  # whatever a command makes of it
        if standalone:
            sys.exit(status)
        return status

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line; that a help text cannot be written is reported here."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except OSError as error:
            raise click.exceptions.Exit(report(error)) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and report here what click would treat in its own way."""
        signals.working(True)
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, OSError) as error:
            return report(error)


def _print_version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"aichatfree {version()}")
        ctx.exit()


@click.group(
    cls=Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "aichatfree demo",
        'aichatfree ask "Why is the sky blue?"',
        'cat log.txt | aichatfree ask "What went wrong?"',
        "aichatfree chat --base-url http://127.0.0.1:3000",
    ),
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version."
)
@verbose_option
@click.pass_context
def program(ctx: click.Context) -> int:
    """Chat with AIChatFree and every other GeminiProChat server."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return WRONG_USAGE
    return 0


def run(args: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    status = program.main(args, prog_name="aichatfree", standalone_mode=False)
    assert isinstance(status, int)
    return status
