"""What a shell completes for the parameters of the commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ..errors import InvalidRequestError
from .terminal import one_line

if TYPE_CHECKING:
    from .store import Record

MODELS = (
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-2.0-flash",
    "gemini-1.5-pro",
    "gemini-1.5-flash",
)
"""Models of Gemini that people name."""

_TITLES = 50
"""Of so many conversations, the newest ones, a shell is told what they are about."""


def add_completions(command: click.Command) -> click.Command:
    """Give a command's parameters what a shell completes for them, by their names.

    It is done when a shell asks, so that no command has to know of it. What is given nothing is completed with nothing:
    a shell's own completion of file names is off for a command that has one of its own.

    Args:
        command: The command; it is changed.
    """
    for param in command.params:
        completed = _COMPLETED.get(param.name or "")
        if completed is _ids and isinstance(param, click.Option):
            completed = _models  # --name is that of a model
        if completed is not None and not isinstance(param.type, click.Choice):
            param._custom_shell_complete = completed
    return command


def _files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ids of the conversations that are kept, with what was asked first."""
    from .store import Store

    items = [CompletionItem("last", help="the newest")]
    try:
        for count, record in enumerate(Store.of_user().records()):
            if record.id.startswith(incomplete):
                items.append(CompletionItem(record.id, help=_title(record) if count < _TITLES else None))
    except OSError:
        return []
    return [item for item in items if item.value.startswith(incomplete)]


def _title(record: Record) -> str | None:
    try:
        return one_line(record.read().title)[:60]
    except (OSError, InvalidRequestError):
        return None


def _ids_or_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _ids(ctx, param, incomplete) or _files(ctx, param, incomplete)


def _models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    upstream, _, url = str(ctx.params.get("upstream") or "gemini").partition(":")
    names: Sequence[str] = ()  # of another upstream only its server knows them
    if upstream == "gemini":
        names = MODELS
    elif upstream == "ollama":
        from .ollama_models import ollama_models

        names = ollama_models(url)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _upstreams(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in ("gemini", "ollama", "openai:") if name.startswith(incomplete)]


_Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_COMPLETED: dict[str, _Completer] = {
    "prompt": _files,  # as any other word on a command line
    "files": _files,
    "source": _files,
    "output": _files,
    "config": _files,
    "resume": _ids_or_files,
    "name": _ids,
    "names": _ids,
    "model": _models,
    "models": _models,
    "upstream": _upstreams,
}
