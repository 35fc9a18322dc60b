"""The sections of a program: prologue, decoder layers, and what follows the last one.

Borders are two integers each, so that a hundred thousand layers cost no more
than their numbers; a title is made when it is looked at.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True, slots=True)
class Section:
    """A run of instructions; `layer` is -1 for the prologue and for the part behind the layers."""

    title: str
    begin: int
    end: int
    layer: int = -1


class Sections(Sequence[Section]):
    """Consecutive sections that cover a program.

    Args:
        begins: first instruction of each section, ascending from 0.
        layers: decoder layer of each, -1 for none.
        count: instructions of the program.
    """

    def __init__(self, begins: array[int], layers: array[int], count: int) -> None:
        self.begins = begins
        self._layers = layers
        self._count = count

    def __len__(self) -> int:
        return len(self.begins)

    @overload
    def __getitem__(self, index: int) -> Section: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Section]: ...

    def __getitem__(self, index: int | slice) -> Section | Sequence[Section]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        end = self.begins[at + 1] if at + 1 < len(self) else self._count
        layer = self._layers[at]
        title = f"layer {layer}" if layer >= 0 else "head" if at else "prologue"
        return Section(title, self.begins[at], end, layer)

    def index_of(self, pc: int) -> int:
        """The section of an instruction."""
        return max(0, bisect_right(self.begins, pc) - 1)

    def of_layer(self, layer: int) -> int:
        """The section of a decoder layer, -1 when there is none."""
        try:
            return self._layers.index(layer) if layer >= 0 else -1
        except ValueError:
            return -1
