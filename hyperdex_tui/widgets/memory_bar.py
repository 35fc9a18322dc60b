"""The address space of a channel as one bar that zooms, with the selected region marked and a legend."""

from __future__ import annotations

from compiler.memory_map import MemoryMap, Region
from compiler.quantity import bytes_text, percent_text
from hyperdex_tui.backend.memory import (
    FREE,
    OUTSIDE,
    Key,
    Total,
    Window,
    bar_runs,
    cells_of,
    kind_key,
    layer_key,
    letter_of,
    totals,
    whole_window,
)
from hyperdex_tui.widgets.painted import Line, Pane, Span, line, line_width

_LEGEND_ROWS = 2
_LAYER_COLOURS = 6


def role_of(key: str) -> str:
    """The look of a kind, of a decoder layer (neighbours differ), or of what is in none."""
    if key == OUTSIDE:
        return "layer-none"
    if key.startswith("layer "):
        return f"layer-{int(key.partition(' ')[2]) % _LAYER_COLOURS}"
    return f"kind-{key}"


class MemoryBar(Pane):
    """Capacity, bar, marker, legend: five rows."""

    def __init__(self) -> None:
        super().__init__(id="memory-bar")
        self._map: MemoryMap | None = None
        self._key: Key = kind_key
        self._totals: tuple[Total, ...] = ()
        self._region: Region | None = None
        self._window = Window(0, 1)

    def show_map(self, memory_map: MemoryMap, region: Region | None, window: Window, *, by_layer: bool = False) -> None:
        """Show the bytes of a window with one region marked, coloured by kind or by layer."""
        key = layer_key if by_layer else kind_key
        if self._map is not memory_map or self._key is not key:
            self._map, self._key, self._totals = memory_map, key, totals(memory_map, key)
        self._region, self._window = region, window
        self._draw()

    def on_resize(self) -> None:
        """Draw for the new width."""
        self._draw()

    def _draw(self) -> None:
        if self._map is None:
            return
        width = max(10, self.size.width)
        used, capacity = self._map.end, self._map.channel_bytes
        devices = "1 device" if self._map.num_devices == 1 else f"each of {self._map.num_devices} devices"
        zoom = self._window_text()
        head = line(
            (bytes_text(used * self._map.channels), "strong"),
            (f" of {bytes_text(capacity * self._map.channels)} on {devices}", "text"),
            (f" ({percent_text(used, capacity)}){zoom or f', {self._map.channels} channels alike'}", "dim"),
        )
        self.show([head, self._bar(width), self._marker(width), *self._legend(width)])

    def _window_text(self) -> str:
        """What the bar shows when that is not everything."""
        if self._map is None or self._window == whole_window(self._map):
            return ""
        return f", zoom [{self._window.begin:#x}, {self._window.end:#x})"

    def _bar(self, width: int) -> Line:
        assert self._map is not None
        spans: list[Span] = []
        for key, cells in bar_runs(self._map, width, self._window, self._key):
            text = f" {key} ".center(cells) if cells >= len(key) + 2 else letter_of(key) * cells
            spans.append((text, role_of(key)))
        return spans

    def _marker(self, width: int) -> Line:
        if self._map is None or self._region is None:
            return ()
        place = cells_of(self._region, width, self._window)
        name = f" {self._region.name} "
        if place is None:
            behind = self._region.begin >= self._window.end
            return line((f"{name}▶".rjust(width) if behind else f"◀{name}", "accent"))
        first, cells = place
        mark = "▲" * cells
        if first + cells + len(name) <= width:
            return line(" " * first, (mark, "accent"), (name, "accent"))
        return line(" " * max(0, first - len(name)), (name, "accent"), (mark, "accent"))

    def _legend(self, width: int) -> list[Line]:
        """Sizes by kind or layer, as wordy as two rows allow; at last as many as fit."""
        lines: list[Line] = []
        for words in (3, 2, 1):
            lines = self._legend_lines(width, words)
            if len(lines) <= _LEGEND_ROWS:
                return lines
        return self._legend_lines(width, 1, most_rows=_LEGEND_ROWS)

    def _legend_lines(self, width: int, words: int, most_rows: int = 0) -> list[Line]:
        assert self._map is not None
        used = self._map.end * self._map.channels
        entries = [(total.key, total.bytes) for total in self._totals]
        gap = used - sum(size for _, size in entries)
        entries += [(FREE, gap)] if gap > 0 else []
        lines: list[list[Span]] = [[]]
        for index, (key, size) in enumerate(entries):
            parts = (bytes_text(size), key, percent_text(size, used))
            text = " ".join((parts[1], parts[0], parts[2]) if words == 3 else parts[1::-1] if words == 2 else parts[:1])
            spans: list[Span] = [(f" {letter_of(key)} ", role_of(key)), (f" {text}", "text")]
            rest: Span = (f"  … {len(entries) - index} more", "dim")
            is_last = len(lines) == most_rows and index < len(entries) - 1
            room = width - (line_width([rest]) if is_last else 0)
            if lines[-1] and line_width(lines[-1]) + 2 + line_width(spans) > room:
                if len(lines) == most_rows:
                    lines[-1].append(rest)
                    break
                lines.append([])
            lines[-1] += [("  ", "text"), *spans] if lines[-1] else spans
        return [tuple(spans) for spans in lines]
