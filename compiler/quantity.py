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


def percent_text(part: float, whole: float = 1.0) -> str:
    """`part` of `whole` in percent; "" when `whole` is zero. Never rounds up to 100 or down to 0."""
    if whole <= 0:
        return ""
    percent = 100.0 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def change_text(before: float, after: float) -> str:
    """How much more `after` is than `before`, in percent of it: `+2.4 %`, `-27 %`, `0 %` for the same."""
    percent = 100.0 * (after - before) / before
    if not percent:
        return "0 %"
    return f"{percent:+.1f} %" if abs(percent) < 9.95 else f"{percent:+.0f} %"


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
