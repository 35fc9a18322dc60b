"""JSON of a checkpoint: bounded, without duplicate keys, refused in one line."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from compiler.errors import CheckpointError
from compiler.sanitize import one_line

MAX_JSON_BYTES = 20 << 20
"""A header of 100 thousand tensors has 12 MB. As text, a character takes up to four bytes, and there are two copies."""

MAX_JSON_ITEMS = 700_000
"""Commas; 100 thousand tensors have fewer. Bounds the memory and the time that parsing can take."""

MAX_JSON_OBJECTS = 100_100
"""Opening braces, those in names too: 100 thousand tensors and what is around them."""

_RELOAD = "it is damaged, or was never written by transformers: download the model again"


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the search for cycles while a block makes many objects that have none.

    Going through them again and again takes longer than parsing them (0.37 s against 0.14 s for 100 thousand tensors).
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


@uncollected()
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
