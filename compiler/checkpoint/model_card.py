"""What a model card in `ckpt/` says about licence and access, without the hub.

In: README.md, or MODEL_CARD.md of a bundled model. Out: two words. Only plain
`key: value` lines of the front matter are read; anything else in it is passed
over, whoever wrote it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from compiler.opening import open_regular
from compiler.sanitize import one_line

CARD_NAME = "README.md"
_BUNDLED_NAME = "MODEL_CARD.md"

_LIMIT_BYTES = 256 << 10
_FENCE = "---"
_LINE = re.compile(r"([a-z_]+):(?: +(.*))?")
_ITEM = re.compile(r" *- +(.*)")


@dataclass(frozen=True, slots=True)
class Card:
    """Licence as the card names it, "" when it does not; whether the hub asks for an agreement before access."""

    licence: str = ""
    is_gated: bool = False


def read_card(ckpt: Path) -> Card:
    """The card of a checkpoint; an empty one where there is none or it cannot be read."""
    for name in (CARD_NAME, _BUNDLED_NAME):
        try:
            with open_regular(ckpt / name) as file:
                return parse_card(file.read(_LIMIT_BYTES).decode("utf-8", "replace"))
        except OSError:
            continue
    return Card()


def parse_card(text: str) -> Card:
    """The card whose Markdown is `text`."""
    first, *rest = text.lstrip("\ufeff").splitlines() or [""]
    if first.strip() != _FENCE:
        return Card()
    values: dict[str, str] = {}
    key = ""
    for entry in rest:
        if entry.strip() == _FENCE:
            break
        if found := _LINE.fullmatch(entry.rstrip()):
            key = found[1]
            values.setdefault(key, _plain(found[2] or ""))
        elif (item := _ITEM.fullmatch(entry.rstrip())) and key and not values[key]:
            values[key] = _plain(item[1])
    licence = values.get("license", "")
    if licence == "other":
        licence = values.get("license_name", "") or licence
    return Card(one_line(licence, 60), any(name.startswith("extra_gated_") for name in values))


def _plain(value: str) -> str:
    """A scalar without quotes; a comment ends it."""
    value = value.strip()
    if value[:1] in ("'", '"'):
        return value[1:].partition(value[0])[0]
    return value.partition(" #")[0].strip()
