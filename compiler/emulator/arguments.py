"""Arguments of tape rows: where operands, parameter vectors and activation tables lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.emulator.arithmetic import Vector
from compiler.emulator.lanes import Lane
from compiler.emulator.tape import Row, table_block
from compiler.emulator.trap import Trap
from compiler.emulator.versions import ALIGN


def aligned_zeros(shape: tuple[int, ...]) -> Vector:
    """Zeros that begin on a cache line, as `versions` places them: what does not is loaded as two halves."""
    count = math.prod(shape)
    memory: Vector = np.zeros(count + ALIGN, dtype=np.float32)
    first = -(memory.ctypes.data // memory.itemsize) % ALIGN
    return memory[first : first + count].reshape(shape)


class Arguments:
    """Addresses for the rows of one plan; keeps alive what they point to.

    Args:
        lane: one of the plan's, for memory and tables.
        storage: float32 [lanes, devices, elements].
    """

    def __init__(self, lane: Lane, storage: Vector) -> None:
        self._lane = lane
        self._memory = lane.memory
        self._storage = storage
        self._lanes, self._devices = storage.shape[:2]
        self._kept: dict[tuple[object, ...], NDArray[Any]] = {}

    def _at(self, name: str, address: int) -> dict[str, int]:
        """Fields of an operand in the plan's storage."""
        return self._in(name, self._storage, address)

    def _in(self, name: str, array: Vector, offset: int = 0) -> dict[str, int]:
        """Fields of an operand in an array [lanes, devices, elements]."""
        lane, device, size = array.strides
        return {name: array.ctypes.data + size * offset, f"{name}_lane": lane, f"{name}_device": device}

    def _keep(self, key: tuple[object, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array that lives as long as the rows."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _parameters(self, o: SimpleNamespace, length: int, offset: float = 0.0) -> Vector | None:
        """A parameter vector with `offset` added, [devices, length]; None if a register chooses it."""
        if o.index:
            return None
        matrix = self._memory.open_parameters(o.hbm, o.rows, o.cols, o.stride)
        if matrix.rows * matrix.cols != length or 1 not in (matrix.rows, matrix.cols):
            raise Trap(f"the stream holds {matrix.rows} x {matrix.cols}, expected a vector of {length}")

        def make() -> Vector:
            vectors = np.stack([matrix.vector(device) for device in range(self._devices)])
            return vectors + np.float32(offset) if offset else vectors

        return self._keep(("vector", o.hbm, o.rows, o.cols, o.stride, offset), make)

    def _table(self, act: int) -> int:
        """Address of an activation table; 0 for none."""
        table = self._lane.activation(act)
        if table is None:
            return 0
        block = self._keep(("table", act), lambda: table_block(table))
        return int(block.ctypes.data)

    def _row(self, op: str, units: int, fields: dict[str, int]) -> Row:
        return Row(op, units, {"devices": self._devices, **fields})

    def _each(self, op: str, **fields: int) -> Row:
        """A row with a unit for every lane and device."""
        return self._row(op, self._lanes * self._devices, fields)
