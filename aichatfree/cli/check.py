"""``aichatfree check``: what is wrong, before anybody has to find out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .options import Settings, connection_options, examples
from .printing import console
from .report import FAILED, as_options
from .terminal import one_line, print_json

if TYPE_CHECKING:
    from .. import CheckReport

_SIGNS = {"ok": ("✓ ok", "green"), "failed": ("✗ failed", "bold red"), "skipped": ("skipped", "dim")}


@click.command(epilog=examples("aichatfree check", "aichatfree check --base-url http://127.0.0.1:3000 --password -"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: base_url, ok, results.")
@connection_options
def check(as_json: bool, settings: Settings) -> int:
    """Find out what is wrong with a server, or with the settings for it.

    Is it reachable, and a server of this protocol? Are the password, the secret and the clock right? Does the model
    answer, and how soon? The exit status is 1 if anything fails.
    """
    with settings.client() as client:
        report = client.check()
    if as_json:
        print_json(report.to_dict())
    elif sys.stdout.isatty():
        print_table(report)
    else:
        click.echo(as_options(str(report)))
    return 0 if report.ok else FAILED


def print_table(report: CheckReport) -> None:
    """Show a report on a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    failed = [result for result in report if result.status == "failed"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=report.base_url, title_justify="left", title_style="bold")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what was found", overflow="fold")
    for result in report:
        sign, style = _SIGNS[result.status]
        found = Text(one_line(as_options(result.explanation)))
        if result.remedy and result not in failed[:1]:
            found.append(f"\n→ {one_line(as_options(result.remedy))}", "dim")
        table.add_row(result.name, Text(sign, style), found)
    screen = console()
    screen.print(table)
    if not failed:
        screen.print("All is well: aichatfree ask and chat can use this server.", style="green")
    elif failed[0].remedy:
        screen.print(f"What to do next: {one_line(as_options(failed[0].remedy))}.", style="bold")
