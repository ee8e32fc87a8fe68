"""``aichatfree completion``: the script that makes a shell complete this command."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .options import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        "bash: echo 'eval \"$(aichatfree completion bash)\"' >> ~/.bashrc",
        "zsh:  echo 'eval \"$(aichatfree completion zsh)\"' >> ~/.zshrc",
        "fish: aichatfree completion fish \\",
        "        > ~/.config/fish/completions/aichatfree.fish",
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
