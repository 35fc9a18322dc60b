"""What a test sees: the rows of the screen as text, and a way to wait for threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

from hyperdex_tui.app import HyperDexApp
from hyperdex_tui.screens.program import ProgramScreen


def rows(app: HyperDexApp) -> list[str]:
    """The screen, row by row, as a terminal shows it."""
    strips = app.screen._compositor.render_strips()
    return [strip.text.rstrip() for strip in strips]


def text(app: HyperDexApp) -> str:
    """The screen as one text."""
    return "\n".join(rows(app)) + "\n"


async def settle(pilot: Pilot[Any]) -> None:
    """Let workers and repaints finish."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    while isinstance(screen := pilot.app.screen, ProgramScreen) and (
        screen._rest or screen._looking or screen._working
    ):
        await pilot.pause(0.02)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys, one after the other, and settle after each."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def until(pilot: Pilot[Any], done: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for what a child process brings about."""
    for _ in range(int(seconds / 0.05)):
        if done():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"not within {seconds} s; the screen shows:\n{text(pilot.app)}")  # type: ignore[arg-type]
