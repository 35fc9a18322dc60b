"""How full each channel of a device is: elements by kind, padding, free."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.memory_map import CACHE_KINDS, PARAMETER_KINDS, MemoryMap
from compiler.quantity import bytes_text
from hyperdex_tui.backend.memory import FREE, ChannelUse, channel_uses
from hyperdex_tui.formatting import pad, pad_left
from hyperdex_tui.keys import bindings
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.tabular import Cell
from hyperdex_tui.widgets.painted import Line, Span, line
from hyperdex_tui.widgets.row_list import RowList

_NUMBERS = ("parameters", "caches", "io", "padding", "free")
_CELLS = 11


class ChannelList(RowList):
    """One row per channel: bytes by use, and a bar of them where there is room."""

    def __init__(self, memory_map: MemoryMap) -> None:
        super().__init__(id="channel-list")
        self._map = memory_map
        self._uses: tuple[ChannelUse, ...] = ()
        self.device = 0

    def show(self, device: int) -> None:
        """Show a device."""
        self.device = device
        self._uses = channel_uses(self._map, device)
        self.rows_changed()

    def row_count(self) -> int:
        """Channels."""
        return len(self._uses)

    def columns(self) -> tuple[str, ...]:
        """For copying and export."""
        return ("device", "channel", *(f"{name}_bytes" for name in _NUMBERS))

    def cells(self, index: int) -> tuple[Cell, ...]:
        """One channel."""
        return (self.device, self._uses[index].channel, *self._sizes(self._uses[index]).values())

    def _sizes(self, use: ChannelUse) -> dict[str, int]:
        held = use.held
        return {
            "parameters": sum(held.get(kind, 0) for kind in PARAMETER_KINDS),
            "caches": sum(held.get(kind, 0) for kind in CACHE_KINDS),
            "io": held.get("io", 0),
            "padding": use.padding,
            "free": use.free,
        }

    def heading(self, width: int) -> Line:
        """Column titles."""
        title = f"  {pad('channel', 8)}" + "".join(pad_left(name, _CELLS) for name in _NUMBERS)
        return line((pad(title, width), "head"))

    def row(self, index: int, width: int) -> Line:
        """One channel."""
        use = self._uses[index]
        sizes = self._sizes(use)
        spans: list[Span] = [(pad_left(str(use.channel), 5) + "   ", "strong")]
        spans.append(("".join(pad_left(bytes_text(size), _CELLS) for size in sizes.values()), "text"))
        room = width - 8 - _CELLS * len(_NUMBERS) - 2
        if room >= 16:
            spans.append(("  ", "text"))
            spans += _bar(sizes, room)
        return spans


def _bar(sizes: dict[str, int], width: int) -> list[Span]:
    """The uses side by side, to scale."""
    looks = {"parameters": ("W", "kind-weight"), "caches": ("K", "kind-key"), "io": ("I", "kind-io")}
    looks |= {"padding": ("0", "kind-bias"), "free": ("·", f"kind-{FREE}")}
    total = max(1, sum(sizes.values()))
    spans: list[Span] = []
    begin = at = 0
    for name, size in sizes.items():
        at += size
        end = at * width // total
        letter, role = looks[name]
        spans.append((letter * (end - begin), role))
        begin = end
    return spans


class ChannelsScreen(AppScreen):
    """All channels of a device."""

    scope = "channels"
    BINDINGS: ClassVar[list[BindingType]] = bindings("channels")

    def __init__(self, memory_map: MemoryMap, model_id: str, build: str) -> None:
        super().__init__(f"{model_id} › {build} › Channels")
        self.model_id = model_id
        self.build = build
        self._map = memory_map

    def compose_body(self) -> ComposeResult:
        """The list."""
        yield ChannelList(self._map)

    def on_mount(self) -> None:
        """The first device."""
        self._show(0)

    def action_next_device(self) -> None:
        """The next device, around the end."""
        self._show((self.query_one(ChannelList).device + 1) % self._map.num_devices)

    def _show(self, device: int) -> None:
        self.query_one(ChannelList).show(device)
        self.note(f"device {device} of {self._map.num_devices}, padded with zeros")
