"""The hub's models by a part of their name, asked for by a child process: the hub's client never enters this one."""

from __future__ import annotations

import json
from dataclasses import fields

from compiler.errors import HubError
from compiler.found_model import FoundModel
from compiler.sanitize import printable
from compiler.workspace import parse_model_id
from hyperdex_tui.backend.child import ask_compiler

LEAST_LETTERS = 2
"""Shorter texts are not searched for."""

_PATIENCE_S = 25.0


def offline_reason() -> str:
    """Why the hub may not be asked, "" when it may."""
    from compiler.hub.client import is_offline

    return "offline: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set" if is_offline(False) else ""


async def search_hub(query: str, limit: int = 30) -> tuple[FoundModel, ...]:
    """Ask the hub; cancelling this ends the question.

    Raises:
        HubError: it cannot be reached, refuses, or answers nonsense.
    """
    answer = await ask_compiler("search", "--json", "--limit", str(limit), "--", query, patience_s=_PATIENCE_S)
    if answer.exit_code:
        raise HubError(answer.complaint or f"the search ended with exit code {answer.exit_code}")
    try:
        return tuple(_entry(found) for found in json.loads(answer.output)["models"])
    except (ValueError, KeyError, TypeError):
        raise HubError("the search gave a malformed answer") from None


def _entry(found: dict[str, object]) -> FoundModel:
    """Raises KeyError, TypeError or ValueError for anything but a model."""
    values = {entry.name: found[entry.name] for entry in fields(FoundModel)}
    kinds = {"str": str, "int": int, "bool": bool}
    for entry in fields(FoundModel):
        if not isinstance(values[entry.name], kinds[str(entry.type)]):
            raise TypeError(entry.name)
    shown = {name: printable(value) if isinstance(value, str) else value for name, value in values.items()}
    return FoundModel(**{**shown, "model_id": parse_model_id(str(shown["model_id"]))})  # type: ignore[arg-type]
