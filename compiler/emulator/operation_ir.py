"""One operation of the tape under construction, as LLVM code: its arguments, lane, device and registers.

A function gets its row, the registers of all lanes, int64 [lanes, registers],
the unit, and the one that its thread takes next, or the same again; it returns
0, or 1 for a fault, after which nothing it wrote counts. Imported only where llvmlite is.
"""

from __future__ import annotations

from typing import Any

from compiler.dtypes import DType
from compiler.emulator.ir_builder import F32, I32, I64, PTR, Code, Value
from compiler.emulator.tape import FIELDS
from compiler.isa.spec import REGISTER_COUNT, TOKEN_UNIT
from compiler.memory_map import CHANNELS


def operation_name(op: str, dtype: DType) -> str:
    """Name of the exported function of an operation of `tape.OPS`."""
    return f"{op}_{dtype}"


class Operation(Code):
    """One operation under construction; a field is read where it is first named.

    Attributes:
        lane, device: of the unit; the lane is set by operations that go through all lanes.
        unit, following: numbers of units.
    """

    def __init__(self, module: Any, name: str, dtype: DType, native_half: bool) -> None:
        super().__init__(module, operation_name(name, dtype), I64, (PTR, PTR, I64, I64))
        self.dtype = dtype
        self.native_half = native_half
        self._fields = FIELDS[name]
        self._row, self._registers, self.unit, self.following = self.arguments
        if name in ("product", "keep_value"):
            self.lane, self.device = I64(0), self.b.sdiv(self.unit, I64(CHANNELS))
        elif name == "cached":
            self.lane, self.device = I64(0), self.unit
        else:
            devices = self["devices"]
            self.lane, self.device = self.b.sdiv(self.unit, devices), self.b.srem(self.unit, devices)

    def __getitem__(self, name: str) -> Value:
        """An integer argument."""
        return self.load(self._row, I64(self._fields[name]), I64)

    def number(self, name: str) -> Value:
        """A float argument."""
        return self.b.bitcast(self.b.trunc(self[name], I32), F32)

    def address(self, name: str) -> Value:
        """An address argument."""
        return self.b.inttoptr(self[name], PTR)

    def vector(self, name: str) -> Value:
        """Where this unit's lane and device have the operand."""
        lanes = self.b.mul(self.lane, self[f"{name}_lane"])
        devices = self.b.mul(self.device, self[f"{name}_device"])
        return self.at(self.address(name), self.b.add(lanes, devices))

    def given(self, name: str) -> Value:
        """Whether an argument is not 0."""
        return self.b.icmp_signed("!=", self[name], I64(0))

    def register(self, name: str) -> Value:
        """The lane's register that an argument names."""
        at = self.b.add(self.b.mul(self.lane, I64(REGISTER_COUNT)), self[name])
        return self.load(self._registers, at, I64)

    def extent(self, count: str, register: str) -> Value:
        """A count, or the register that replaces it: all its tokens, or the last, no more than the count."""
        tokens = self.b.sub(self.register(register), self.first(count, register))
        return self.b.select(self.given(register), tokens, self[count])

    def first(self, count: str, register: str) -> Value:
        """The first token of an extent, see `isa.spec.first_token`."""
        b = self.b
        beyond = b.sub(self.register(register), self[count])
        units = b.sdiv(b.add(beyond, I64(TOKEN_UNIT - 1)), I64(TOKEN_UNIT))
        slides = b.and_(self.given("last"), b.and_(self.given(register), b.icmp_signed(">", beyond, I64(0))))
        return b.select(slides, b.mul(units, I64(TOKEN_UNIT)), I64(0))

    def round(self, x: Value) -> Value:
        """To the build's dtype."""
        return self.rounded(x, self.dtype, self.native_half)

    def end(self) -> None:
        """No fault."""
        self.b.ret(I64(0))
