"""``aichatfree history``: the conversations that are kept."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..errors import InvalidRequestError
from .options import examples
from .report import FAILED, Refusal, os_words
from .terminal import complain, one_line, print_json, visible

if TYPE_CHECKING:
    from .store import Record, Store
    from .talk import Talk

_SHOWN = 20
"""How many are listed if nobody asks for more."""


_id_argument = click.argument("name", metavar="ID")


class _History(click.Group):
    """Its commands are completed as those of the program are."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None and ctx.resilient_parsing:
            from .completers import add_completions

            return add_completions(command)
        return command


@click.group(
    cls=_History,
    invoke_without_command=True,
    epilog=examples(
        "aichatfree history",
        "aichatfree history show last",
        "aichatfree history search lasagne",
        "aichatfree history export 20260102 -o talk.md",
        "aichatfree history delete 20260102-101500-123",
    ),
)
@click.option("-n", "--number", type=click.IntRange(0), default=_SHOWN, show_default=True, help="How many; 0 for all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, all of them.")
@click.pass_context
def history(ctx: click.Context, number: int, as_json: bool) -> int:
    """List, show, search, export and delete the conversations that are kept.

    Without a command, the last ones are listed, the newest first. An ID may be shortened as long as it is clear; last
    is the newest. ask and chat keep a conversation unless --no-log, or log = false in the config file, says otherwise.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    records = _store().records()
    shown = records if as_json or number == 0 else records[:number]
    for record, talk in _read(shown):
        if as_json:
            print_json(_summary(record, talk))
        else:
            _print_line(record, talk.title)
    if not records:
        complain("no conversation is kept yet: aichatfree ask and chat keep theirs")
    elif len(shown) < len(records):
        complain(f"{len(records) - len(shown)} older ones are not shown: aichatfree history -n 0 lists all")
    return 0


@history.command(epilog=examples("aichatfree history show last", "aichatfree history show 20260102 | less"))
@_id_argument
@click.option("--plain", is_flag=True, help="Do not render Markdown on a terminal.")
def show(name: str, plain: bool) -> int:
    """Show a conversation."""
    from .printers import print_reply

    talk = _find(name)[1]
    if not sys.stdout.isatty():
        _write(_markdown(talk))
        return 0
    if talk.system:
        print_reply([f"({talk.system})"], plain=True)
    for turn in talk.turns:
        click.echo(visible("\n".join(f"> {line}" for line in turn.user.content.split("\n"))))
        print_reply([turn.assistant.content], plain=plain)
        click.echo()
    if talk.unanswered is not None:
        click.echo(visible(f"> {talk.unanswered}\n(no answer)"))
    return 0


@history.command(
    short_help="List those in which a text occurs.",
    epilog=examples("aichatfree history search lasagne", 'aichatfree history search "best pasta"'),
)
@click.argument("text", nargs=-1, required=True)
def search(text: tuple[str, ...]) -> int:
    """List the conversations in which a text occurs, with the line it stands in.

    Upper and lower case are the same. The exit status is 1 if there is none.
    """
    wanted = " ".join(text).casefold()
    found = False
    for record, talk in _read(_store().records()):
        if line := next((line for line in _lines(talk) if wanted in line.casefold()), None):
            found = True
            _print_line(record, _around(line, wanted))
    if not found:
        complain("no conversation holds this text")
    return 0 if found else FAILED


@history.command(
    short_help="Write one as Markdown or JSON.",
    epilog=examples("aichatfree history export last > talk.md", "aichatfree history export 20260102 -o talk.json"),
)
@_id_argument
@click.option("-f", "--format", "kind", type=click.Choice(("markdown", "json")), help="By default, as FILE ends.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Where to; - is stdout, which is the default.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def export(name: str, kind: str | None, output: str | None, force: bool) -> int:
    """Write a conversation as Markdown, or as JSON that chat --resume and Conversation.load read."""
    _, talk = _find(name)
    if kind is None:
        kind = "json" if output is not None and output.lower().endswith(".json") else "markdown"
    if output is None or output == "-":
        if kind == "json":
            print_json(talk.to_dict())
        else:
            _write(_markdown(talk))
        return 0
    data = talk.encode() if kind == "json" else _markdown(talk).encode("utf-8", "replace")
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with open(os.open(output, flags, 0o600), "wb") as file:  # noqa: PTH123 - what was said is nobody else's business
            file.write(data)
    except FileExistsError:
        raise Refusal(f"{output} exists: --force overwrites it") from None
    except OSError as error:
        raise Refusal(f"cannot write {os_words(error)}: give another -o") from error
    return 0


@history.command(
    epilog=examples("aichatfree history delete last", "aichatfree history delete --yes 20260102-101500-123")
)
@click.argument("names", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(names: tuple[str, ...], everything: bool, yes: bool) -> int:
    """Delete conversations, for good."""
    if everything == bool(names):
        raise Refusal("which? Give ids, or --all: aichatfree history lists them")
    store = _store()
    records = store.records() if everything else list({r.id: r for r in map(store.find, names)}.values())
    if not records:
        complain("there is nothing to delete")
        return 0
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Refusal("there is no terminal to ask at: --yes deletes without asking")
        for record, talk in _read(records[:_SHOWN]):
            _print_line(record, talk.title)
        count = f"these {len(records)} conversations" if len(records) > 1 else "this conversation"
        if not click.confirm(f"Delete {count}?", err=True):
            return FAILED
    for record in records:
        record.delete()
    complain(f"{len(records)} deleted")
    return 0


def _store() -> Store:
    from .store import Store

    try:
        return Store.of_user()
    except OSError as error:
        raise Refusal(f"there is no history: {os_words(error)}") from error


def _find(name: str) -> tuple[Record, Talk]:
    record = _store().find(name)
    try:
        return record, record.read()
    except OSError as error:
        raise Refusal(f"cannot read {os_words(error)}: it may be damaged") from error
    except InvalidRequestError as error:
        raise Refusal(f"{error}; aichatfree history delete {record.id} removes it") from error


def _read(records: list[Record]) -> Iterator[tuple[Record, Talk]]:
    """Those that can be read; of the others it is said why not."""
    for record in records:
        try:
            talk = record.read()
        except FileNotFoundError:
            continue  # deleted in this moment
        except (OSError, InvalidRequestError) as error:
            why = os_words(error) if isinstance(error, OSError) else str(error)
            complain(f"{why}; aichatfree history delete {record.id} removes it")
            continue
        yield record, talk


def _summary(record: Record, talk: Talk) -> dict[str, Any]:
    return {
        "id": record.id,
        "changed": datetime.fromtimestamp(record.stamp / 1e9).astimezone().isoformat(timespec="seconds"),
        "base_url": talk.more.get("base_url"),
        "turns": len(talk.turns),
        "title": talk.title,
        "path": str(record.path),
    }


def _print_line(record: Record, text: str) -> None:
    """One conversation on one line, which a terminal does not wrap."""
    when = datetime.fromtimestamp(record.stamp / 1e9)
    line = one_line(f"{record.id}  {when:%Y-%m-%d %H:%M}  {text}")
    if sys.stdout.isatty():
        from rich.cells import cell_len, set_cell_size

        width = shutil.get_terminal_size().columns
        if cell_len(line) > width:
            line = set_cell_size(line, max(1, width - 1)) + "…"
    _write(f"{line}\n")


def _lines(talk: Talk) -> Iterator[str]:
    for text in (talk.system, talk.unanswered):
        yield from (text or "").split("\n")
    for turn in talk.turns:
        for message in turn:
            yield from message.content.split("\n")


def _around(line: str, wanted: str) -> str:
    """A line from a little before what was searched for."""
    start = max(0, line.casefold().find(wanted) - 20)
    return ("…" if start else "") + line[start:]


def _markdown(talk: Talk) -> str:
    """The conversation as a document."""
    parts = [f"## System\n\n{talk.system}"] if talk.system else []
    for turn in talk.turns:
        parts += [f"## You\n\n{turn.user.content}", f"## Assistant\n\n{turn.assistant.content}"]
    if talk.unanswered is not None:
        parts.append(f"## You (no answer)\n\n{talk.unanswered}")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _write(text: str) -> None:
    """Write text to stdout: into a pipe as it is, whatever the locale; to a terminal nothing that it would obey."""
    pipe = None if sys.stdout.isatty() else getattr(sys.stdout, "buffer", None)
    if pipe is None:
        sys.stdout.write(visible(text))
    else:
        pipe.write(text.encode("utf-8", "replace"))
    sys.stdout.flush()
