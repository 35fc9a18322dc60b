"""Latency rules: what one instruction costs on its unit, before anything else is in the way.

In: a decoded instruction and the length of the text. Out: `Work`, the bytes it
streams and the cycles it holds its unit. How works of several units overlap is
the business of a clock; the compiler's scheduler and the emulator have one each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from compiler.isa.spec import Spec, Unit, first_token
from compiler.target import Target
from compiler.target.topology import Wiring, wire

FORWARDED_TO = Unit.ESL
"""The unit that takes a result as it is written: its instruction, fetched before, names a stretch of the LMU and sends
what arrives there (LPU paper, arXiv 2408.07326: a finished chunk of columns is sent while the next is computed). An
instruction of any other unit waits for `Work.retire`, too."""

Operand = Callable[[str], int]
"""Value of an operand by name; 0 for one the instruction does not have."""

DECIDING = (
    *("rows", "cols", "rows_reg", "cols_reg", "stride", "length", "length_reg", "last"),
    *("heads", "head_dim", "bias", "rotary_dim", "act"),
)
"""Operands that decide what an instruction costs; two that agree in these cost the same."""

BY_LENGTH = ("rows_reg", "cols_reg", "length_reg")
"""Operands with which the length of the text decides."""

_PASSES: dict[str, tuple[str, ...]] = {
    "vadd": ("add",),
    "vmul": ("multiply",),
    "vbias": ("add",),
    "vscale": ("multiply",),
    "vact": ("multiply", "add"),
    "vrope": ("multiply", "add"),
    "softmax": ("multiply", "add", "exponential", "sum", "multiply"),
    "layernorm": ("sum", "add", "sum", "multiply", "add"),
    "rmsnorm": ("sum", "multiply", "multiply"),
    "add.layernorm": ("add", "sum", "add", "sum", "multiply", "add"),
    "add.rmsnorm": ("add", "sum", "multiply", "multiply"),
    "rank": ("sum",),
    "sample": ("multiply", "sum", "add", "exponential"),
}
"""Passes over the vector, as DFX (arXiv 2209.10797) writes these out in vector instructions: softmax is scale,
subtract, exponential, sum, multiply (the maximum comes with the matrix); a norm is mean, subtract, square sum, scale,
shift. "sum" is any reduction, along a tree as wide as the lanes. Sampling scales, sorts and normalises."""


class Work(NamedTuple):
    """What an instruction asks of its unit; whole cycles.

    Attributes:
        cycles: its unit is busy with it, at least.
        latency: from then until its result is written.
        retire: from then until an instruction that waits for it may start; see `FORWARDED_TO`.
        stream_bytes: it moves from or to HBM on its own.
    """

    cycles: int
    latency: int
    retire: int = 0
    stream_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a target with N devices of one dtype.

    Attributes:
        bytes_per_cycle: HBM bytes that reach the engines per clock, all channels together.
    """

    target: Target
    num_devices: int
    itemsize: int
    wiring: Wiring
    bytes_per_cycle: float

    def work(self, spec: Spec, operand: Operand, length: int) -> Work:
        """The cost of one instruction when `length` tokens are in the caches."""
        if spec.unit is Unit.SXE:
            return self._matrix(operand, length)
        if spec.unit is Unit.VXE:
            return self._vector(spec, operand, length)
        if spec.unit is Unit.ESL:
            return self._transfer(spec, operand)
        if spec.unit is Unit.SMA:
            return self._memory(spec, operand, length)
        return Work(1, 0)

    def _matrix(self, operand: Operand, length: int) -> Work:
        """Tiles, then the last one drains: multipliers, tree, accumulator, and what is done to the result."""
        timing = self.target.timing
        rows, cols = _extents(operand, length)
        tiles = -(-rows // self.target.trees) * -(-cols // self.target.tree_width)
        step = timing.multiply_cycles + timing.add_cycles
        drain = step + (self.target.tree_width - 1).bit_length() * timing.add_cycles
        drain += timing.add_cycles if operand("bias") else 0
        drain += step * (bool(operand("rotary_dim")) + bool(operand("act")))
        return Work(tiles, drain, timing.retire_cycles)

    def _vector(self, spec: Spec, operand: Operand, length: int) -> Work:
        """Passes behind one another, each as deep as its arithmetic."""
        timing = self.target.timing
        elements = _extent(operand, "length", length)
        depths = [self._depth(kind) + timing.vxe_pass_cycles for kind in _PASSES[spec.mnemonic]]
        cycles = len(depths) * -(-elements // timing.vxe_lanes) + sum(depths[:-1])
        return Work(cycles, depths[-1], timing.retire_cycles)

    def _depth(self, kind: str) -> int:
        timing = self.target.timing
        if kind == "sum":
            return (1 + (timing.vxe_lanes - 1).bit_length()) * timing.add_cycles
        return {
            "add": timing.add_cycles,
            "multiply": timing.multiply_cycles,
            "exponential": timing.exponential_cycles,
        }[kind]

    def stream_cycles(self, count: int) -> int:
        """Cycles that HBM needs for that many bytes, spread over all channels."""
        return math.ceil(count / self.bytes_per_cycle)

    def _memory(self, spec: Spec, operand: Operand, length: int) -> Work:
        latency = self.target.timing.hbm_latency_cycles
        if spec.mnemonic in ("rd.param", "rd.kv"):
            rows, cols = _extents(operand, length)
            slots = -(-rows // self.target.channels)
            if operand("cols_reg") or operand("stride") < cols:
                return Work(0, latency, stream_bytes=self._bursts(slots, cols))
            return Work(0, latency, stream_bytes=self._bursts(1, slots * operand("stride")))
        if spec.mnemonic == "rd.embed":
            return Work(0, latency, stream_bytes=self._bursts(1, -(-operand("length") // self.target.channels)))
        if spec.mnemonic == "wr.key":
            return Work(0, latency, stream_bytes=operand("heads") * operand("head_dim") * self.itemsize)
        if spec.mnemonic == "wr.value":
            # One burst per element: strobes pick its bytes, and each of the 32 channels takes one at a time.
            bursts = operand("heads") * operand("head_dim")
            return Work(0, latency, stream_bytes=bursts * self.target.burst_bytes)
        return Work(0, latency, stream_bytes=4)

    def _bursts(self, runs: int, elements: int) -> int:
        """Bytes of so many runs of consecutive elements in every channel, in whole bursts."""
        burst = self.target.burst_bytes
        return runs * -(-elements * self.itemsize // burst) * burst * self.target.channels

    def _transfer(self, spec: Spec, operand: Operand) -> Work:
        """An all-gather: slices go from neighbour to neighbour in packets; a receive writes them once all are there."""
        if spec.mnemonic == "rx":
            return Work(0, 0, self.target.timing.retire_cycles)
        if not self.wiring.hops:
            return Work(0, 0)
        link = self.target.link
        payload = operand("length") * self.itemsize
        packets = -(-payload // link.packet_bytes)
        cycles_per_byte = self.wiring.slices * self.target.clock_hz / link.port_bytes_per_s
        cycles = math.ceil((payload + packets * link.header_bytes) * cycles_per_byte)
        return Work(cycles, self.wiring.hops * link.hop_cycles)


def rules_for(target: Target, num_devices: int, itemsize: int, topology: str = "") -> Rules:
    """The rules of a build; without a topology, the target's own.

    Raises:
        UsageError: the topology cannot wire that many devices.
    """
    wiring = wire(topology or target.link.topology, num_devices, target.link.server_devices)
    rate = target.hbm_bytes_per_s * target.timing.hbm_efficiency / target.clock_hz
    return Rules(target, num_devices, itemsize, wiring, rate)


def _extents(operand: Operand, length: int) -> tuple[int, int]:
    return _extent(operand, "rows", length), _extent(operand, "cols", length)


def _extent(operand: Operand, name: str, length: int) -> int:
    if not operand(f"{name}_reg"):
        return operand(name)
    return length - first_token(length, operand(name)) if operand("last") else length
