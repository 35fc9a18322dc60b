"""The order verifier: whatever chunks and devices a vector was computed in, its reader finds it in the model's order.

Walks the final instructions and follows, for every LMU element of every
device, which element of its vector it is: the memory map says it for the rows
of a parameter, every instruction passes it on. It knows nothing of partitions,
chunks or buffers, so a chunk that is lost, doubled, swapped or read with
another chunk's bias shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compiler.errors import VerificationError
from compiler.isa.encode import Instruction
from compiler.isa.text import format_instruction
from compiler.memory_map import MemoryMap, Region, Segment

Places = NDArray[np.int32]
"""[device, element]: which element of the model's vector it is, PADDING or NOTHING."""

PADDING = -1
NOTHING = -2

_KEPT = 32
"""Layouts of parameters whose places are kept; those of one layer are those of the next."""


def verify_order(instructions: Sequence[Instruction], memory_map: MemoryMap, lmu_elements: int) -> None:
    """Check that every matrix, norm and sampler reads a vector from its first element to its last.

    Raises:
        VerificationError: naming the instruction and the first element that is another one.
    """
    walk = _Walk(memory_map, lmu_elements)
    for pc, instr in enumerate(instructions):
        problem = walk.problem(instr)
        if problem:
            raise VerificationError(f"order: instruction {pc}: {format_instruction(instr)}: {problem}")


class _Walk:
    """The places of all LMU elements, open streams and what is under way between devices."""

    def __init__(self, memory_map: MemoryMap, lmu_elements: int) -> None:
        self.memory_map = memory_map
        self.devices = memory_map.num_devices
        self.lmu: Places = np.full((self.devices, lmu_elements), NOTHING, np.int32)
        self.streams: dict[int, Places | None] = {}
        self.sent: dict[int, Places] = {}
        self.known: dict[tuple[bool, int, tuple[Segment, ...]], Places] = {}
        self.in_order: Places = np.arange(lmu_elements, dtype=np.int32)

    def problem(self, instr: Instruction) -> str:
        """What is out of order, or ""; then what the instruction writes is known."""
        match instr.mnemonic:
            case "rd.embed":
                region = self.memory_map.region_at(instr.integer("hbm"))
                assert region is not None
                self._write(instr, "dst", instr.integer("length"), self._places(region, columns=True))
            case "rd.param":
                self.streams[instr.integer("stream")] = self._opened(instr)
            case "rd.kv":
                self.streams[instr.integer("stream")] = None
            case "mm":
                return self._product(instr)
            case "wr.key" | "wr.value":
                self.streams.pop(instr.integer("stream"), None)
            case "tx":
                self.sent[instr.integer("tag")] = self._read(instr, "src", instr.integer("length"))
            case "rx":
                gathered = self.sent.pop(instr.integer("tag")).reshape(-1)
                self._write(instr, "dst", gathered.size, np.broadcast_to(gathered, (self.devices, gathered.size)))
            case "sample" | "rank":
                return self._whole(instr, "src", instr.integer("length")) or self._ranked(instr)
            case _:
                if instr.spec.unit.value == "VXE":
                    return self._vector(instr)
        return ""

    def _places(self, region: Region, columns: bool) -> Places:
        """[device, local row or column] of a parameter, in the order in which the tensor has them."""
        extent = region.cols if columns else region.rows
        key = (columns, extent, region.segments)
        if key not in self.known:
            local = np.full((self.devices, extent), PADDING, np.int32)
            for part in region.segments:
                at, source, count = (
                    (part.local_col, part.source_col, part.cols)
                    if columns
                    else (part.local_row, part.source_row, part.rows)
                )
                local[part.device, at : at + count] = np.arange(source, source + count)
            held = np.zeros(int(local.max(initial=PADDING)) + 2, np.bool_)  # the last one stands for padding
            held[local] = True
            if not held[:-1].all():  # a cut of a tensor has some of its rows
                held[-1] = False
                ranks = np.cumsum(held, dtype=np.int32) - 1
                local = np.where(local >= 0, ranks[local], np.int32(PADDING))
            while len(self.known) >= _KEPT:
                del self.known[next(iter(self.known))]
            self.known[key] = local
        return self.known[key]

    def _opened(self, instr: Instruction) -> Places:
        region = self.memory_map.region_at(instr.integer("hbm"))
        assert region is not None
        slot_bytes = region.stride * self.memory_map.dtype.itemsize
        first = (instr.integer("hbm") - region.begin) // slot_bytes * self.memory_map.channels
        return self._places(region, columns=False)[:, first : first + instr.integer("rows")]

    def _product(self, instr: Instruction) -> str:
        rows, cols = instr.integer("rows"), instr.integer("cols")
        matrix = self.streams.pop(instr.integer("stream"))
        if matrix is None:  # a cache: scores belong to the head of their query, values to that of their scores
            first = self._read(instr, "src", 1)
            scores = instr.integer("rows_reg") != 0
            self._write(
                instr, "dst", rows, np.where(first >= 0, first + (0 if scores else self.in_order[:rows]), first)
            )
            return ""
        wrong = self._whole(instr, "src", cols)
        if instr.integer("bias"):
            wrong = wrong or self._stream_differs(instr, "bias", matrix)
        if instr.integer("out"):
            self.streams[instr.integer("out")] = matrix
        else:
            self._write(instr, "dst", rows, matrix)
        return wrong

    def _vector(self, instr: Instruction) -> str:
        length = instr.integer("length")
        a, wrong = self._read(instr, "a", length), ""
        given = {operand.name: value for operand, value in zip(instr.spec.operands, instr.values, strict=True)}
        if "b" in given:
            wrong = _difference("b", self._read(instr, "b", length), a)
        for name in ("weight", "bias"):
            if given.get(name):
                wrong = wrong or self._stream_differs(instr, name, a)
        if given.get("of_length"):
            wrong = wrong or self._whole(instr, "of", instr.integer("of_length"))
        elif "eps" in given and not given.get("heads"):
            wrong = wrong or self._whole(instr, "a", length)
        for name in {"dst", "sum"} & given.keys():
            self._write(instr, name, length, a)
        return wrong

    def _ranked(self, instr: Instruction) -> str:
        if instr.mnemonic == "rank":
            place = np.full((self.devices, 1), instr.integer("place"), np.int32)
            self._write(instr, "dst", 1, place)
        return ""

    def _read(self, instr: Instruction, name: str, count: int) -> Places:
        begin = instr.integer(name)
        return self.lmu[:, begin : begin + count].copy()

    def _write(self, instr: Instruction, name: str, count: int, places: Places) -> None:
        begin = instr.integer(name)
        self.lmu[:, begin : begin + count] = places

    def _whole(self, instr: Instruction, name: str, count: int) -> str:
        begin = instr.integer(name)
        found, wanted = self.lmu[:, begin : begin + count], self.in_order[:count]
        if (found == wanted).all():
            return ""
        device, element = np.argwhere(found != wanted)[0]
        return f"{name}: element {element} of device {device} holds {_named(int(found[device, element]))}"

    def _stream_differs(self, instr: Instruction, name: str, wanted: Places) -> str:
        found = self.streams.pop(instr.integer(name))
        wrong = _difference(name, found, wanted)
        if wrong and found is not None and _per_head(instr):
            # One weight for all heads lies beside each of them.
            wrong = _difference(name, found, np.where(wanted >= 0, wanted % (found.max() + 1), found))
        return wrong


def _difference(name: str, found: Places | None, wanted: Places) -> str:
    if found is None or found.shape != wanted.shape:
        return f"{name} has another length"
    if np.array_equal(found, wanted):
        return ""
    device, element = np.argwhere(found != wanted)[0]
    held, meant = int(found[device, element]), int(wanted[device, element])
    return f"{name}: element {element} of device {device} is {_named(held)}, it meets {_named(meant)}"


def _named(place: int) -> str:
    return {PADDING: "padding", NOTHING: "nothing of a vector"}.get(place, f"element {place} of the model's")


def _per_head(instr: Instruction) -> bool:
    return instr.mnemonic in ("layernorm", "rmsnorm") and instr.integer("heads") > 0
