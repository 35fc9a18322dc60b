"""The tape: a straight piece of program as rows of numbers, which one native call executes.

A row is a header and the arguments of one of OPS: addresses, extents, register
numbers. An operation falls into units (a lane, a device, a channel of a
matrix) that do not depend on each other; threads share the units, and wait
for each other where a row asks for it. The files `*_ir` say what the operations do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from compiler.isa.tables import ActivationTable

HEADER = ("function", "units", "shift", "barrier", "members")
"""Address of the operation; its units; the thread that takes unit 0; whether all rows above must be complete;
how many rows from this one on are taken unit by unit, 0 for those that belong to one above."""

ROW_FIELDS = 32

ARRIVED_WORD, GENERATION_WORD, FAULT_WORD, STOP_WORD, ABANDONED_WORD = 0, 16, 32, 48, 64
"""Where threads meet: each word in cache lines of its own. Abandoned: one of them will never come."""

SHARED_WORDS = 80

PACKED_HEADER_BYTES = 64
"""In front of a packed vector: two words, the least and the greatest biased exponent in it."""


def operand(name: str) -> tuple[str, str, str]:
    """Fields of a float32 vector: its address in lane 0 of device 0, and bytes from lane to lane, device to device."""
    return (name, f"{name}_lane", f"{name}_device")


_NORM = (
    *(*operand("dst"), *operand("a"), *operand("b"), *operand("sum"), *operand("of")),
    *("length", "heads", "of_length", "eps", "weight", "weight_device", "bias", "bias_device"),
)
_KEEP = (
    *operand("src"),
    *("base", "base_device", "channel_step", "head_step", "slot_step"),
    *("heads", "head_dim", "at", "written", "written_step", "lanes"),
)

OPS: dict[str, tuple[str, ...]] = {
    # dst = matrix * src for every lane; a unit is a channel of a device. The matrix lies register * step behind offset.
    "product": (
        *("channels", "offset", "index", "step", "row_bytes", "rows", "cols", "lanes"),
        *(*operand("dst"), *operand("src"), *operand("packed")),
    ),
    # packed = src, as `pairs_ir` multiplies it.
    "pack": (*operand("packed"), *operand("src"), "length"),
    # dst = one head of a cache * src; rows or cols are the tokens, all of them written before. With `last` they begin
    # unit_bytes per TOKEN_UNIT behind the base. There are `most` in the cache. A unit is a device with all lanes, which
    # may go together where nothing else lies behind what they read of src and write of dst.
    "cached": (
        *("base", "base_device", "channel_step", "row_bytes", "rows", "rows_reg", "cols", "cols_reg"),
        *(*operand("dst"), *operand("src"), "written", "tokens", "tokens_reg", "last", "most", "unit_bytes"),
        *("lanes", "together"),
    ),
    # dst = act(rotate(src + bias)); what is 0 is left out.
    "finish": (
        *(*operand("dst"), *operand("src"), *operand("rope"), *operand("bias")),
        *("length", "head_dim", "rotary_dim", "style", "table"),
    ),
    "add": (*operand("dst"), *operand("a"), *operand("b"), "length"),
    "multiply": (*operand("dst"), *operand("a"), *operand("b"), "length"),
    "scale": (*operand("dst"), *operand("a"), *operand("by"), "length", "length_reg", "last", "scale"),
    "layernorm": _NORM,
    "rmsnorm": _NORM,
    "softmax": (
        *(*operand("dst"), *operand("a"), *operand("slope"), *operand("sink")),
        *("length", "length_reg", "last", "first_reg", "scale", "coarse"),
    ),
    # One row of a table over the channels.
    "embed": (*operand("dst"), "channels", "offset", "index", "length", "rows"),
    # One token of a cache; a unit of a value is a channel of a device, with all lanes, which are neighbours there.
    "keep_key": _KEEP,
    "keep_value": _KEEP,
    # The slices of all devices, to each of them.
    "gather": (*operand("dst"), *operand("src"), "length", "sources"),
}
"""Arguments by operation. All operations on lanes and devices have the field "devices" behind these."""

FIELDS = {name: {field: len(HEADER) + at for at, field in enumerate((*own, "devices"))} for name, own in OPS.items()}
"""Operation -> argument -> place in the row."""

Rows = NDArray[np.int64]
"""[rows, ROW_FIELDS]."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation with its arguments.

    Attributes:
        op: its name in OPS.
        units: how many it has.
        fields: arguments by name; what is missing is 0.
    """

    op: str
    units: int
    fields: Mapping[str, int]


def assemble(phases: Sequence[Sequence[Row]], functions: Mapping[str, int]) -> Rows:
    """The tape of phases, each of which waits for the one before.

    Args:
        phases: none empty.
        functions: address of every operation.
    """
    rows = np.zeros((sum(len(phase) for phase in phases), ROW_FIELDS), dtype=np.int64)
    at = 0
    for phase in phases:
        begin, shift = at, 0
        for kind, group in groupby(phase, _walk):
            members = list(group)
            for index, row in enumerate(members):
                count = 0 if kind is not None and index else len(members) if kind is not None else 1
                rows[at, : len(HEADER)] = functions[row.op], row.units, shift, at == begin, count
                places = FIELDS[row.op]
                for name, value in row.fields.items():
                    rows[at, places[name]] = value
                if count != 0:
                    shift += row.units  # so that the next operation's first unit goes to another thread
                at += 1
    return rows


def _walk(row: Row) -> tuple[int, int] | None:
    """What rows have in common that are taken unit by unit: matrices of equal width, which lie behind one another."""
    return (row.units, row.fields["row_bytes"]) if row.op == "product" else None


def float_bits(value: float) -> int:
    """A float argument: the bits of its float32."""
    return int(np.float32(value).view(np.uint32))


def table_block(table: ActivationTable) -> NDArray[np.float32]:
    """An activation table as `vector_ir.evaluate` reads it: eight numbers, then the coefficients by segment."""
    lines = (table.left_slope, table.left_intercept, table.right_slope, table.right_intercept)
    head = np.array((table.begin, table.end, table.width, *lines, table.segments - 1), dtype=np.float32)
    return np.concatenate((head, table.coefficients.reshape(-1)))
