"""Numbers in messages, as a person reads them. Standard library only."""

from __future__ import annotations

_SCALES = ((10**15, "PB"), (10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def bytes_text(count: int) -> str:
    """A number of bytes in the decimal unit that suits it: `1.2 GB`, `64.0 kB`, `12 bytes`."""
    for scale, name in _SCALES:
        if count >= scale:
            return f"{count / scale:.1f} {name}"
    return counted(count, "byte")


def counted(count: int, noun: str) -> str:
    """A count and its noun: `1 tensor`, `2 tensors`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def nominal(count: int) -> int:
    """A count at two significant digits, as a model's size stands in its name."""
    return int(float(f"{count:.1e}"))


def parameters_text(count: int) -> str:
    """A number of parameters as models are known by: `1.3 B`, `125 M`; "-" when unknown."""
    for scale, name in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= scale:
            value = count / scale
            return f"{value:.0f} {name}" if value >= 99.5 else f"{value:.3g} {name}"
    return str(count) if count else "-"
