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

from compiler.isa.spec import Spec, Unit
from compiler.target import Target

Operand = Callable[[str], int]
"""Value of an operand by name; 0 for one the instruction does not have."""

_PASSES: dict[str, int] = {
    "vadd": 1,
    "vmul": 1,
    "vbias": 1,
    "vscale": 1,
    "vact": 2,
    "vrope": 2,
    "softmax": 6,
    "layernorm": 5,
    "rmsnorm": 3,
    "add.layernorm": 6,
    "add.rmsnorm": 4,
    "sample": 4,
}
"""Passes over the vector, as DFX (arXiv 2209.10797) writes these out in vector instructions: softmax is scale,
maximum, subtract, exponential, sum, multiply; a norm is mean, subtract, square sum, scale, shift."""

_OTHER_PASSES = 1


class Work(NamedTuple):
    """What an instruction asks of its unit; whole cycles.

    Attributes:
        cycles: its unit is busy with it, at least.
        latency: from then until its result may be read.
        stream_bytes: it moves from or to HBM on its own.
        tail_cycles: of a transfer: the share of `cycles` that is left once its whole operand is there. Before, it
            passes on what a matrix has made so far.
    """

    cycles: int
    latency: int
    stream_bytes: int
    tail_cycles: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a target with N devices of one dtype.

    Attributes:
        bytes_per_cycle: HBM bytes that reach the engines per clock, all channels together.
    """

    target: Target
    num_devices: int
    itemsize: int
    bytes_per_cycle: float

    def work(self, spec: Spec, operand: Operand, length: int) -> Work:
        """The cost of one instruction when `length` tokens are in the caches."""
        timing = self.target.timing
        if spec.unit is Unit.SXE:
            rows, cols = _extents(operand, length)
            tiles = -(-rows // self.target.trees) * -(-cols // self.target.tree_width)
            return Work(tiles, timing.sxe_latency_cycles, 0)
        if spec.unit is Unit.VXE:
            elements = length if operand("length_reg") else operand("length")
            passes = _PASSES.get(spec.mnemonic, _OTHER_PASSES)
            step = -(-elements // timing.vxe_lanes)
            return Work(passes * step + (passes - 1) * timing.vxe_latency_cycles, timing.vxe_latency_cycles, 0)
        if spec.unit is Unit.ESL:
            return self._transfer(spec, operand)
        if spec.unit is Unit.SMA:
            return self._memory(spec, operand, length)
        return Work(1, 0, 0)

    def stream_cycles(self, count: int) -> int:
        """Cycles that HBM needs for that many bytes, spread over all channels."""
        return math.ceil(count / self.bytes_per_cycle)

    def _memory(self, spec: Spec, operand: Operand, length: int) -> Work:
        latency = self.target.timing.hbm_latency_cycles
        if spec.mnemonic in ("rd.param", "rd.kv"):
            rows, cols = _extents(operand, length)
            slots = -(-rows // self.target.channels)
            if operand("cols_reg") or operand("stride") < cols:
                return Work(0, latency, self._bursts(slots, cols))
            return Work(0, latency, self._bursts(1, slots * operand("stride")))
        if spec.mnemonic == "rd.embed":
            return Work(0, latency, self._bursts(1, -(-operand("length") // self.target.channels)))
        if spec.mnemonic == "wr.key":
            return Work(0, latency, operand("heads") * operand("head_dim") * self.itemsize)
        if spec.mnemonic == "wr.value":
            # One burst per element: strobes pick its bytes, and each of the 32 channels takes one at a time.
            bursts = operand("heads") * operand("head_dim")
            return Work(0, latency, bursts * self.target.burst_bytes)
        return Work(0, latency, 4)

    def _bursts(self, runs: int, elements: int) -> int:
        """Bytes of so many runs of consecutive elements in every channel, in whole bursts."""
        burst = self.target.burst_bytes
        return runs * -(-elements * self.itemsize // burst) * burst * self.target.channels

    def _transfer(self, spec: Spec, operand: Operand) -> Work:
        """A ring all-gather: each device passes N - 1 slices on, in packets, cut through."""
        link, hops = self.target.link, self.num_devices - 1
        if spec.mnemonic == "rx":
            return Work(0, 0, 0)
        payload = operand("length") * self.itemsize
        packets = -(-payload // link.packet_bytes)
        cycles_per_byte = hops * self.target.clock_hz / link.bytes_per_s
        return Work(
            cycles=math.ceil((payload + packets * link.header_bytes) * cycles_per_byte),
            latency=hops * link.hop_cycles,
            stream_bytes=0,
            tail_cycles=math.ceil((min(payload, link.packet_bytes) + link.header_bytes) * cycles_per_byte),
        )


def rules_for(target: Target, num_devices: int, itemsize: int) -> Rules:
    """The rules of a build."""
    rate = target.hbm_bytes_per_s * target.timing.hbm_efficiency / target.clock_hz
    return Rules(target, num_devices, itemsize, rate)


def _extents(operand: Operand, length: int) -> tuple[int, int]:
    rows = length if operand("rows_reg") else operand("rows")
    return rows, length if operand("cols_reg") else operand("cols")
