"""What an instruction raises when it cannot go on; the machine adds pc, text and source."""

from __future__ import annotations


class Trap(Exception):
    """An instruction met a state it must not meet. Never leaves the emulator: see `machine`."""
