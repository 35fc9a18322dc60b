"""`hyperdex help`: the help of a command, for whoever asks for it in front."""

from __future__ import annotations

import click

from compiler.cli.options import examples


@click.command(name="help", epilog=examples("hyperdex help", "hyperdex help compile"))
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def command(ctx: click.Context, name: str | None) -> None:
    """Show the help of COMMAND, or the list of commands."""
    from compiler.cli.main import find_command, group

    whole = click.Context(group, info_name="hyperdex", help_option_names=ctx.help_option_names)
    if name is None:
        click.echo(whole.get_help())
        return
    context = click.Context(find_command(name), parent=whole, info_name=name, help_option_names=ctx.help_option_names)
    click.echo(context.get_help())
