"""The bytes of a region: from a byte to the element of the tensor it holds, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from compiler.errors import ArtifactError
from compiler.memory_map import CHANNELS, MemoryMap, Region
from hyperdex_tui.backend.cells import ChannelBytes, place_of_source, tile_bytes, value_text
from hyperdex_tui.keys import bindings
from hyperdex_tui.messages import LineEntered, OpenInstructions, RowMoved
from hyperdex_tui.screens.base import AppScreen
from hyperdex_tui.widgets.byte_list import ByteList
from hyperdex_tui.widgets.painted import Line, Pane, line

_PAIR = re.compile(r"\[?\s*(\d{1,12})\s*[, ]\s*(\d{1,12})\s*\]?")


class BytesScreen(AppScreen):
    """Bytes above, the element under the cursor below."""

    scope = "bytes"
    BINDINGS: ClassVar[list[BindingType]] = bindings("bytes")

    def __init__(
        self, folder: Path, memory_map: MemoryMap, region: Region, model_id: str, build: str, address: int = -1
    ) -> None:
        super().__init__(f"{model_id} › {build} › Bytes")
        self.model_id = model_id
        self.build = build
        self._map = memory_map
        self._region = region
        self._source = ChannelBytes(folder, memory_map)
        self._address = address if address >= 0 else region.begin

    def compose_body(self) -> ComposeResult:
        """Bytes and detail."""
        yield ByteList(self._map, self._region, self._source)
        yield Pane(id="byte-detail", classes="detail")

    @property
    def bytes(self) -> ByteList:
        """The list."""
        return self.query_one(ByteList)

    def on_mount(self) -> None:
        """Device 0, channel 0."""
        self._go(0, 0, self._address)

    def on_unmount(self) -> None:
        """Close the file."""
        self._source.close()

    def _go(self, device: int, channel: int, address: int) -> None:
        self.bytes.go(device, channel, address)
        self.note(f"device {device} of {self._map.num_devices}, channel {channel} of {CHANNELS}")

    def on_row_moved(self, event: RowMoved) -> None:
        """Describe the element under the cursor."""
        self.query_one("#byte-detail", Pane).show(self._detail())

    def _detail(self) -> list[Line]:
        region, spot = self._region, self.bytes.spot
        lines = [
            line(
                (f"{spot.address:#x}", "strong"),
                f" of channel {spot.channel}, device {spot.device}: byte {spot.address - region.begin:,} of ",
                (region.name, "accent"),
            ),
            self._value_line(),
        ]
        if spot.element is None:
            return [*lines, line(("padding: no element lies here", "dim"))]
        head = f"head {spot.element.head}, " if region.heads > 1 else ""
        tile = f", tile {spot.element.row // CHANNELS}" if region.layout == "rows" else ""
        lines.append(line(("element ", "dim"), f"{head}row {spot.element.row:,}, column {spot.element.col:,}{tile}"))
        if spot.source is not None:
            where = f"{region.source.tensor or region.name}[{spot.source[0]}, {spot.source[1]}]"
            lines.append(line(("tensor ", "dim"), (where, "strong")))
        elif region.segments:
            lines.append(line(("no element of the tensor: it pads the device's share and holds zeros", "dim")))
        return lines

    def _value_line(self) -> Line:
        """The value, or why there is none."""
        spot, dtype = self.bytes.spot, self._map.dtype
        try:
            raw = self._source.read(spot.device, spot.channel, spot.address, self.bytes.size_bytes)
        except ArtifactError as error:
            return line((f"✗ {error}", "bad"))
        if raw is None:
            return line(("written at run time: no file of the build holds it", "dim"))
        if self._region.layout == "host":
            return line(("word ", "dim"), (str(int.from_bytes(raw, "little")), "strong"))
        return line(("value ", "dim"), (value_text(raw, dtype), "strong"), (f"  {dtype.name} {raw[::-1].hex()}", "dim"))

    def action_next_element(self) -> None:
        """One element on."""
        self.bytes.step(1)

    def action_previous_element(self) -> None:
        """One element back."""
        self.bytes.step(-1)

    def action_next_tile(self) -> None:
        """The row 32 further on, which follows in this channel."""
        self._to_tile(1)

    def action_previous_tile(self) -> None:
        """The row 32 before."""
        self._to_tile(-1)

    def _to_tile(self, step: int) -> None:
        region, spot = self._region, self.bytes.spot
        size = tile_bytes(region, self._map.dtype)
        address = region.begin + ((spot.address - region.begin) // size + step) * size
        if region.begin <= address < region.end:
            self._go(spot.device, spot.channel, address)

    def action_next_channel(self) -> None:
        """The same address in the next channel."""
        spot = self.bytes.spot
        self._go(spot.device, (spot.channel + 1) % CHANNELS, spot.address)

    def action_previous_channel(self) -> None:
        """The same address in the previous channel."""
        spot = self.bytes.spot
        self._go(spot.device, (spot.channel - 1) % CHANNELS, spot.address)

    def action_next_device(self) -> None:
        """The same address on the next device."""
        spot = self.bytes.spot
        self._go((spot.device + 1) % self._map.num_devices, spot.channel, spot.address)

    def action_instructions(self) -> None:
        """The instructions that use the region."""
        self.post_message(OpenInstructions(self.model_id, self.build, region=self._region.name))

    def action_goto(self) -> None:
        """Type a place."""
        self.open_prompt("goto", "go to ", "", "row, column of the tensor, or 0x… byte of this channel")

    def on_line_entered(self, event: LineEntered) -> None:
        """Go there."""
        self.close_prompt()
        text, region, spot = event.text.strip(), self._region, self.bytes.spot
        if pair := _PAIR.fullmatch(text):
            found = place_of_source(region, self._map.dtype, int(pair[1]), int(pair[2]), spot.device)
            if found is None:
                self.say(f"no device holds element [{pair[1]}, {pair[2]}] of this region", "warning")
            else:
                self._go(found[0], *found[1])
            return
        try:
            address = int(text, 16)
        except ValueError:
            address = -1
        if region.begin <= address < region.end:
            self._go(spot.device, spot.channel, address)
        else:
            self.say(f"{text!r} is no byte of [{region.begin:#x}, {region.end:#x}) and no row, column", "warning")
