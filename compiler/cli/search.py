"""`hyperdex search`: models of the hub by a part of their name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from compiler.cli.answer import answer, json_option
from compiler.cli.options import examples
from compiler.cli.table import table_lines, terminal_width

if TYPE_CHECKING:
    from compiler.found_model import FoundModel


@click.command(name="search", epilog=examples("hyperdex search opt-125m", "hyperdex search llama --limit 50 --json"))
@click.argument("query", metavar="QUERY")
@click.option("--limit", default=20, show_default=True, metavar="K", help="Models at most, 1-50.")
@click.option("--offline", is_flag=True, help="Never ask the hub; fails, as HF_HUB_OFFLINE=1 does.")
@json_option("One JSON object.")
def command(query: str, limit: int, offline: bool, as_json: bool) -> None:
    """List text-generation models of the hub whose name contains QUERY, most downloaded first.

    Each says whether its architecture is one this compiler handles, its size, licence and who may download it.
    """
    from compiler.hub.search import search_models

    found = search_models(query, limit=limit, offline=offline, on_message=lambda text: click.echo(text, err=True))
    if as_json:
        answer({"query": query, "models": [asdict(each) for each in found]})
        return
    if not found:
        click.echo("the hub has no such text-generation model", err=True)
    for line in _table(found):
        click.echo(line)


def _table(found: tuple[FoundModel, ...]) -> list[str]:
    from compiler.quantity import parameters_text

    rows = [("MODEL", "ARCHITECTURE", "", "PARAMETERS", "DTYPE", "LICENCE", "ACCESS")] if found else []
    for each in found:
        access = "private" if each.is_private else f"gated ({each.gating})" if each.gating else "open"
        known = "ok" if each.is_supported else "no" if each.architecture else "?"
        size = parameters_text(each.parameters)
        rows.append((each.model_id, each.architecture or "-", known, size, each.dtype, each.licence or "-", access))
    return table_lines(rows, terminal_width())
