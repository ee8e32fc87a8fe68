"""``aichatfree completion``: the script that makes a shell complete this command."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from .options import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        "bash: echo 'eval \"$(aichatfree completion bash)\"' >> ~/.bashrc",
        "zsh:  echo 'eval \"$(aichatfree completion zsh)\"' >> ~/.zshrc",
        "fish: aichatfree completion fish > ~/.config/fish/completions/aichatfree.fish",
        title="To have it in every new shell",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print the completion script for a shell."""
    from .program import program

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(program, {}, "aichatfree", "_AICHATFREE_COMPLETE").source())
    return 0


def history_ids(incomplete: str) -> list[CompletionItem]:
    """The ids of the conversations that are kept, for a shell to complete."""
    from .store import Store

    try:
        records = Store.of_user().records()
    except OSError:
        return []
    names = ["last", *(record.id for record in records)]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
