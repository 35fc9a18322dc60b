"""Numbers and text for a terminal: bytes, rates, durations, cells cut to a width.

Byte counts are decimal (1 kB = 1000 bytes), as on the command line, at the hub
and in bandwidths.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

from compiler.quantity import bytes_text


def amount_text(count: float, unit: str) -> str:
    """`count` of `unit`, where "bytes" is scaled and anything else is counted."""
    short = "instr" if unit == "instructions" else unit
    return bytes_text(round(count)) if unit == "bytes" else f"{count:,.0f} {short}"


def rate_text(rate: float, unit: str) -> str:
    """A throughput, or "" while unknown."""
    if rate <= 0:
        return ""
    return f"{bytes_text(round(rate))}/s" if unit == "bytes" else f"{rate:,.0f}/s"


def seconds_text(seconds: float) -> str:
    """A duration: `0.3 s`, `42 s`, `3:05`, `1:02:03`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, an ellipsis where something was left out."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return "…" if width == 1 else set_cell_size(text, width - 1).rstrip() + "…"


def cut_left(text: str, width: int) -> str:
    """As `cut`, but keeps the end: for paths and tensor names."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    kept = text[-(width - 1) :] if width > 1 else ""
    while cell_len(kept) > width - 1:
        kept = kept[1:]
    return "…" + kept


def wrap(text: str, width: int, limit: int) -> list[str]:
    """`text` in at most `limit` lines of `width` cells, broken at spaces where possible; the last one is cut."""
    lines: list[str] = []
    rest = text
    while rest and len(lines) < limit:
        taken = rest if cell_len(rest) <= width else set_cell_size(rest, max(1, width))
        if len(lines) == limit - 1 or len(taken) == len(rest):
            return [*lines, cut(rest, width)]
        taken = taken.rpartition(" ")[0].rstrip() or taken
        lines.append(taken)
        rest = rest[len(taken) :].lstrip()
    return lines


def pad(text: str, width: int) -> str:
    """`text` cut or filled to exactly `width` cells, left aligned."""
    shown = cut(text, width)
    return shown + " " * (width - cell_len(shown))


def pad_left(text: str, width: int) -> str:
    """As `pad`, right aligned."""
    shown = cut(text, width)
    return " " * (width - cell_len(shown)) + shown


def share_bar(share: float, cells: int = 8) -> str:
    """A share of 0 to 1 as eighths of blocks, `cells` wide."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    part = " ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else ""
    return pad("█" * (eighths // 8) + part, cells)
