"""The themes, and what each role of a span looks like in them.

Colours are chosen to stay apart in 256; nothing is told by colour alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rich.style import Style
from textual.theme import Theme

DARK = Theme(
    name="hyperdex-dark",
    primary="#5fafff",
    secondary="#87afd7",
    accent="#ffaf5f",
    success="#87d787",
    warning="#ffd75f",
    error="#ff8787",
    foreground="#d7d7d7",
    background="#121212",
    surface="#1c1c1c",
    panel="#262626",
    dark=True,
    variables={
        "selected": "#00005f",
        "selected-blurred": "#303030",
        "muted": "#949494",
        "bar": "#262626",
        "rule": "#585858",
    },
)

LIGHT = Theme(
    name="hyperdex-light",
    primary="#005faf",
    secondary="#005f87",
    accent="#87005f",
    success="#00660a",
    warning="#5f5f00",
    error="#af0000",
    foreground="#1c1c1c",
    background="#ffffff",
    surface="#f5f5f5",
    panel="#e4e4e4",
    dark=False,
    variables={
        "selected": "#d7d7ff",
        "selected-blurred": "#dadada",
        "muted": "#585858",
        "bar": "#e4e4e4",
        "rule": "#a8a8a8",
    },
)

CONTRAST = Theme(
    name="hyperdex-contrast",
    primary="#87d7ff",
    secondary="#ffffff",
    accent="#ffff00",
    success="#00ff00",
    warning="#ffd700",
    error="#ffafaf",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    dark=True,
    variables={
        "selected": "#00005f",
        "selected-blurred": "#262626",
        "muted": "#d0d0d0",
        "bar": "#000000",
        "rule": "#ffffff",
    },
)

THEMES: tuple[Theme, ...] = (DARK, LIGHT, CONTRAST)

LOOKS: dict[str, str] = {
    "text": "",
    "strong": "bold",
    "dim": "$muted",
    "accent": "bold $accent",
    "good": "$success",
    "warn": "$warning",
    "bad": "bold $error",
    "head": "bold underline $secondary",
    "bar": "on $bar",
    "cap": "bold $accent on $bar",
    "cursor": "bold on $selected",
    "cursor-blurred": "on $selected-blurred",
    "match": "bold underline $warning",
    "match-sign": "bold $warning",
    "kind-embedding": "#000000 on #87afff",
    "kind-weight": "#000000 on #87d787",
    "kind-bias": "#000000 on #d7d787",
    "kind-norm": "#000000 on #d7af5f",
    "kind-table": "#000000 on #d787d7",
    "kind-key": "#000000 on #5fd7d7",
    "kind-value": "#000000 on #00afaf",
    "kind-io": "#000000 on #ff8787",
    "kind-free": "$muted on $panel",
    "layer-0": "#000000 on #87afff",
    "layer-1": "#000000 on #d7d787",
    "layer-2": "#000000 on #87d787",
    "layer-3": "#000000 on #d787d7",
    "layer-4": "#000000 on #5fd7d7",
    "layer-5": "#000000 on #d7af5f",
    "layer-none": "#000000 on #b2b2b2",
    "unit-SMA": "$primary",
    "unit-SXE": "$success",
    "unit-VXE": "$warning",
    "unit-ESL": "$error",
    "unit-ICP": "$muted",
}
"""By role a rich style, with the theme's variables for colours. What it leaves out is as the widget has it."""

_VARIABLE = re.compile(r"\$([\w-]+)")


def style_of(role: str, variables: Mapping[str, str]) -> Style:
    """What a role adds to the style of the widget around it, in the theme with these variables."""
    return Style.parse(_VARIABLE.sub(lambda name: variables[name[1]], LOOKS[role]))


def next_theme(name: str) -> str:
    """The theme after `name`, around the end."""
    names = [theme.name for theme in THEMES]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]
