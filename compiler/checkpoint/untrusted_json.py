"""JSON of a checkpoint: bounded, without duplicate keys, refused in one line."""

from __future__ import annotations

import json
from typing import NoReturn

from compiler.errors import CheckpointError
from compiler.sanitize import one_line

MAX_JSON_BYTES = 100_000_000
MAX_JSON_ITEMS = 2_000_000
"""Commas; 100 thousand tensors have less than one million. Bounds the memory that parsing can take."""

MAX_JSON_OBJECTS = 200_000
"""Opening braces; an object takes more memory than any other item."""

_RELOAD = "it is damaged, or was never written by transformers: download the model again"


def parse_object(content: bytes, where: str) -> dict[str, object]:
    """Parse a JSON object.

    Args:
        content: UTF-8 text.
        where: the file, for messages.

    Raises:
        CheckpointError: too large or deep, not JSON, a key twice, or not an object.
    """
    for count, limit, what in (
        (len(content), MAX_JSON_BYTES, "bytes"),
        (content.count(b","), MAX_JSON_ITEMS, "items"),
        (content.count(b"{"), MAX_JSON_OBJECTS, "objects"),
    ):
        if count > limit:
            raise CheckpointError(f"{where} has {count} {what}, at most {limit} are allowed", _RELOAD)
    try:
        loaded = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise CheckpointError(f"{where} is nested too deeply", _RELOAD) from None
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON: {one_line(str(error), 160)}", _RELOAD) from None
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{where} holds a {type(loaded).__name__}, expected an object", _RELOAD)
    return loaded


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice[:100]!r} appears twice")
    return result


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
