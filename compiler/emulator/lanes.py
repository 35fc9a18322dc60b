"""A state for planned instructions: the machine's own, but for registers and LMU.

A lane is one token on its way through the program. All lanes of a plan share
memory, link, host and tables with the machine; registers and LMU (the plan's
renamed storage) are each lane's own. What `semantics` does to a lane is what
it does to the machine.
"""

from __future__ import annotations

from compiler.emulator.arithmetic import Vector
from compiler.emulator.state import State
from compiler.isa.spec import STREAM_COUNT


class Lane(State):
    """One lane; the plan has proved that its LMU accesses are inside and of written elements."""

    __slots__ = ()

    def __init__(self, state: State, lmu: list[Vector]) -> None:
        self._dtype = state._dtype
        self.link = state.link
        self.memory = state.memory
        self.host = state.host
        self.tables = state.tables
        self.lmu = lmu
        self.written = state.written
        self.registers = list(state.registers)
        self.streams = [None] * STREAM_COUNT
        self.pc = state.pc
        self.samples = 0
        self.halted = False
        self.observer = None

    def read(self, begin: int, length: int) -> list[Vector]:
        """Views of `length` elements on every device."""
        end = begin + length
        return [lmu[begin:end] for lmu in self.lmu]

    def check_write(self, begin: int, length: int) -> None:
        """Nothing: proved by the plan."""

    def write(self, begin: int, vectors: list[Vector]) -> list[Vector]:
        """Round one vector per device and store it; returns the rounded vectors."""
        end = begin + vectors[0].shape[0]
        for lmu, vector in zip(self.lmu, vectors, strict=True):
            lmu[begin:end] = self.rounded(vector)
        return [lmu[begin:end] for lmu in self.lmu]
