"""Both themes are legible: every role has contrast, in true colour and in 256 colours."""

from __future__ import annotations

import pytest
from rich.color import ColorSystem
from textual.color import Color

from hyperdex_tui.themes import LOOKS, THEMES
from hyperdex_tui.widgets.row_list import RowList
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import settle

LEAST_CONTRAST = 4.5
"""WCAG 2.1 AA for text of normal size."""


def luminance(color: Color) -> float:
    """Relative luminance, WCAG 2.1."""
    parts = [part / 255 for part in color.rgb]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: Color, second: Color) -> float:
    """Contrast ratio, WCAG 2.1."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_every_role_is_legible(make_app: MakeApp, theme: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = theme
        await settle(pilot)
        listing = app.screen.query_one(RowList)
        cursor = listing.style_of("cursor").bgcolor
        for role in LOOKS:
            style = listing.style_of(role)
            assert style.color is not None and style.bgcolor is not None
            grounds = [style.bgcolor] if role.startswith(("kind-", "layer-", "cursor")) else [style.bgcolor, cursor]
            for ground in grounds:
                assert ground is not None
                for depth in (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT):
                    pair = [Color.from_rich_color(each.downgrade(depth)) for each in (style.color, ground)]
                    ratio = contrast(*pair)
                    assert ratio >= LEAST_CONTRAST, f"{theme}: {role} has {ratio:.2f} on {ground.name} ({depth.name})"
