"""Rows of the tape for instructions on vectors: sums, products, norms, softmax, and what follows a matrix."""

from __future__ import annotations

import math
from types import SimpleNamespace

from compiler.emulator.arguments import Arguments
from compiler.emulator.arithmetic import Vector
from compiler.emulator.tape import Row, float_bits
from compiler.emulator.trap import Trap
from compiler.isa.spec import RopeStyle

Phases = list[list[Row]]
"""Rows by phase: those of one phase do not depend on each other, and wait for the phase before."""

PART_ELEMENTS = 1024
"""Work for some microseconds of one thread, where reading the bias is waited for."""


class VectorRows(Arguments):
    """Rows of a plan's instructions on vectors; None where there is no operation for one."""

    def _finish(
        self, target: dict[str, int], source: dict[str, int], o: SimpleNamespace, length: int, bias: Vector | None
    ) -> list[Row]:
        """Bias, rotation and activation of whole vectors; of a single one in parts, for several threads."""
        fields = {**source, **target, "table": self._table(getattr(o, "act", 0))}
        part = length if self._lanes * self._devices > 1 else PART_ELEMENTS
        if bias is not None:
            fields |= {"bias": bias.ctypes.data, "bias_device": bias.strides[0]}
        if getattr(o, "rotary_dim", 0):
            exists = o.rotary_dim % 2 == 0 and 0 < o.rotary_dim <= o.head_dim and o.style <= max(RopeStyle)
            if not exists or length % o.head_dim:
                raise Trap("a rotation that does not exist")
            fields |= {"head_dim": o.head_dim, "rotary_dim": o.rotary_dim, "style": o.style, **self._at("rope", o.rope)}
            part = math.lcm(part, o.head_dim)
        rows = []
        for begin in range(0, length, part):
            own = {name: fields[name] + 4 * begin for name in ("dst", "src", "bias") if name in fields}
            rows.append(self._each("finish", **(fields | own), length=min(part, length - begin)))
        return rows

    def _pair(self, op: str, o: SimpleNamespace) -> Phases:
        check_length(o.length)
        return [[self._each(op, **self._at("dst", o.dst), **self._at("a", o.a), **self._at("b", o.b), length=o.length)]]

    def _vbias(self, o: SimpleNamespace, opened: dict[int, SimpleNamespace]) -> Phases | None:
        bias = self._parameters(opened[o.bias], o.length) if o.bias else None
        if bias is None:
            return None
        other = {"b": bias.ctypes.data, "b_device": bias.strides[0]}
        return [[self._each("add", **self._at("dst", o.dst), **self._at("a", o.a), **other, length=o.length)]]

    def _vscale(self, o: SimpleNamespace, _: object) -> Phases:
        check_length(o.length)
        by = self._at("by", o.by) if o.factors else {}
        fields = {"length": o.length, "length_reg": o.length_reg, "last": o.last, "scale": float_bits(o.scale)}
        return [[self._each("scale", **self._at("dst", o.dst), **self._at("a", o.a), **by, **fields)]]

    def _unary(self, o: SimpleNamespace, _: object) -> Phases:
        check_length(o.length)
        return [self._finish(self._at("dst", o.dst), self._at("src", o.a), o, o.length, None)]

    def _norm(self, op: str, o: SimpleNamespace, opened: dict[int, SimpleNamespace]) -> Phases | None:
        check_length(o.length)
        residual = hasattr(o, "sum")
        heads = 1 if residual else max(1, o.heads)
        of_length = 0 if residual else o.of_length
        if heads > 1 and (o.length % heads or of_length):
            raise Trap(f"{o.length} elements cannot be normalised as {heads} heads of one vector")
        fields = {"length": o.length, "heads": heads, "of_length": of_length, "eps": float_bits(o.eps)}
        fields |= self._at("dst", o.dst) | self._at("a", o.a)
        if residual:
            fields |= self._at("b", o.b) | self._at("sum", o.sum)
        if of_length:
            fields |= self._at("of", o.of)
        for name, offset in (("weight", o.offset), ("bias", 0.0)):
            slot = getattr(o, name, 0)
            if slot:
                vector = self._parameters(opened[slot], o.length, offset)
                if vector is None:
                    return None
                fields |= {name: vector.ctypes.data, f"{name}_device": vector.strides[0]}
        return [[self._each(op, **fields)]]

    def _softmax(self, o: SimpleNamespace, _: object) -> Phases:
        check_length(o.length)
        fields = {"length": o.length, "length_reg": o.length_reg, "first_reg": o.first_reg, "coarse": o.coarse}
        fields |= {"last": o.last, "scale": float_bits(o.scale)}
        if o.extras:
            fields |= self._at("sink" if o.sink else "slope", o.extra)
        return [[self._each("softmax", **self._at("dst", o.dst), **self._at("a", o.a), **fields)]]


def renamed(fields: dict[str, int], old: str, new: str) -> dict[str, int]:
    """The fields of operand `old` as those of operand `new`."""
    return {new + name.removeprefix(old): value for name, value in fields.items()}


def check_length(length: int) -> None:
    """Raise Trap for a vector without elements."""
    if length < 1:
        raise Trap(f"a vector of {length} elements")
