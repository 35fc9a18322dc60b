"""`hyperdex completion`: what makes a shell complete commands, options, models and builds."""

from __future__ import annotations

import click

from compiler.cli.options import examples


@click.command(
    name="completion",
    epilog=examples(
        'eval "$(hyperdex completion bash)"   # in ~/.bashrc',
        'eval "$(hyperdex completion zsh)"   # in ~/.zshrc',
        "hyperdex completion fish > ~/.config/fish/completions/hyperdex.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the script that makes SHELL (bash, zsh or fish) complete commands, options, models and builds."""
    from click.shell_completion import get_completion_class

    from compiler.cli.main import COMPLETE, group

    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(group, {}, "hyperdex", COMPLETE).source())
