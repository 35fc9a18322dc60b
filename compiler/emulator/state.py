"""The state that instructions read and write: registers, LMU, streams, memory, link, host.

The devices run one program in lockstep, so everything that does not depend on
a device's data is shared: registers, which LMU elements were written, which
streams are open. A value written to the LMU is rounded to the build's dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.reader import Build
from compiler.dtypes import FLOAT16, FLOAT32
from compiler.emulator.arithmetic import Vector
from compiler.emulator.caches import CacheMatrix
from compiler.emulator.host_buffer import HostBuffer
from compiler.emulator.kernel import Kernel
from compiler.emulator.link import Link, LocalLink
from compiler.emulator.memory import Memory, ParameterMatrix
from compiler.emulator.trap import Trap
from compiler.errors import CapacityError
from compiler.isa.host import HostLayout
from compiler.isa.spec import REGISTER_COUNT, STREAM_COUNT, first_token
from compiler.isa.tables import ActivationTable
from compiler.rounding import round_to

SampleObserver = Callable[[Vector, int], None]
"""Called with the logits, float32 [vocabulary], and the number of tokens sampled before."""


class EngineVector:
    """What the SXE puts into a stream: one rounded vector per device."""

    __slots__ = ("vectors",)

    def __init__(self, vectors: list[Vector]) -> None:
        self.vectors = vectors


Stream = ParameterMatrix | CacheMatrix | EngineVector


class State:
    """Everything a program can change.

    Attributes:
        pc: index of the next instruction.
        registers: signed 32-bit values; register 0 is never written.
        lmu: per device, float32 [lmu_elements] of values of the build's dtype.
        written: bool [lmu_elements], shared by the devices.
        streams: what each stream slot holds, None when empty.
        samples: tokens sampled since reset; the counter of the random generator.
        halted: whether hlt was executed.
        observer: called at every sample instruction.
    """

    __slots__ = (
        "_dtype",
        "halted",
        "host",
        "link",
        "lmu",
        "memory",
        "observer",
        "pc",
        "registers",
        "samples",
        "streams",
        "tables",
        "written",
    )

    def __init__(self, build: Build, link: Link | None = None, kernel: Kernel | None = None) -> None:
        manifest = build.manifest
        self._dtype = manifest.dtype
        self.link: Link = LocalLink(manifest.num_devices) if link is None else link
        self.memory = Memory(build, self.link.local, kernel)
        self.host = HostBuffer(HostLayout(manifest.max_length, manifest.vocab_size))
        self.tables: tuple[ActivationTable, ...] = build.tables
        try:
            self.lmu: list[Vector] = [np.zeros(manifest.lmu_elements, dtype=np.float32) for _ in self.link.local]
            self.written: NDArray[np.bool_] = np.zeros(manifest.lmu_elements, dtype=np.bool_)
        except MemoryError:
            raise CapacityError(f"{manifest.lmu_elements} LMU elements do not fit this computer's memory") from None
        self.registers = [0] * REGISTER_COUNT
        self.streams: list[Stream | None] = [None] * STREAM_COUNT
        self.pc = 0
        self.samples = 0
        self.halted = False
        self.observer: SampleObserver | None = None

    def reset(self) -> None:
        """Back to the state before the first instruction; the host buffer is the host's to clear."""
        self.memory.reset()
        self.link.clear()
        self.written[:] = False
        self.registers = [0] * REGISTER_COUNT
        self.streams = [None] * STREAM_COUNT
        self.pc = 0
        self.samples = 0
        self.halted = False

    # LMU

    def _check_range(self, begin: int, length: int) -> None:
        if length < 1:
            raise Trap(f"a vector of {length} elements")
        if begin + length > self.written.shape[0]:
            raise Trap(f"v[{begin}] .. v[{begin + length - 1}] is outside the {self.written.shape[0]} LMU elements")

    def read(self, begin: int, length: int) -> list[Vector]:
        """Views of `length` elements on every device, all of them written before."""
        self._check_range(begin, length)
        written = self.written[begin : begin + length]
        if not written.all():
            raise Trap(f"v[{begin + int(np.argmin(written))}] is read before it was written")
        return [lmu[begin : begin + length] for lmu in self.lmu]

    def check_write(self, begin: int, length: int) -> None:
        """Refuse a destination outside the LMU before anything is computed."""
        self._check_range(begin, length)

    def write(self, begin: int, vectors: list[Vector]) -> list[Vector]:
        """Round one vector per device and store it; returns the rounded vectors."""
        length = vectors[0].shape[0]
        self._check_range(begin, length)
        rounded = [self.rounded(vector) for vector in vectors]
        for lmu, vector in zip(self.lmu, rounded, strict=True):
            lmu[begin : begin + length] = vector
        self.written[begin : begin + length] = True
        return rounded

    def rounded(self, vector: Vector) -> Vector:
        """The nearest values of the build's dtype."""
        if self._dtype is FLOAT32:
            return vector
        if (
            self._dtype is FLOAT16
        ):  # as round_to, without its guards against warnings: 0.7 instead of 3.5 us for 64 elements
            return vector.astype(np.float16).astype(np.float32)
        return round_to(vector, self._dtype)

    # registers

    def set_register(self, index: int, value: int) -> None:
        """Write a register modulo 2**32, as a signed number; writing r0 does nothing."""
        if index:
            self.registers[index] = (value + 0x80000000) % 0x100000000 - 0x80000000

    def extent(self, count: int, register: int, last: int) -> int:
        """`count`, or the register that replaces it: all its tokens, or the last ones that are no more than `count`."""
        if not register:
            return count
        return self.registers[register] - self.first(count, register, last)

    def first(self, count: int, register: int, last: int) -> int:
        """The first token of an extent."""
        return first_token(self.registers[register], count) if register and last else 0

    # streams

    def open_stream(self, slot: int, stream: Stream) -> None:
        """Put a matrix or vector into an empty stream slot."""
        if slot == 0:
            raise Trap("stream s0 means none and cannot be opened")
        if self.streams[slot] is not None:
            raise Trap(f"stream s{slot} is opened again before it was consumed")
        self.streams[slot] = stream

    def _take(self, slot: int) -> Stream:
        stream = self.streams[slot]
        if stream is None:
            raise Trap(f"stream s{slot} is consumed but was not opened")
        self.streams[slot] = None
        return stream

    def take_matrix(self, slot: int, rows: int, cols: int) -> ParameterMatrix | CacheMatrix:
        """Consume a matrix of exactly this shape."""
        stream = self._take(slot)
        if isinstance(stream, EngineVector):
            raise Trap(f"stream s{slot} holds a vector of the SXE, expected a matrix")
        if (stream.rows, stream.cols) != (rows, cols):
            raise Trap(f"stream s{slot} holds {stream.rows} x {stream.cols}, the instruction takes {rows} x {cols}")
        return stream

    def take_vector(self, slot: int, length: int) -> list[Vector] | None:
        """Consume a parameter vector of `length` values per device; None for s0."""
        if slot == 0:
            return None
        stream = self._take(slot)
        if isinstance(stream, EngineVector):
            raise Trap(f"stream s{slot} holds a vector of the SXE, expected parameters")
        if stream.rows * stream.cols != length or 1 not in (stream.rows, stream.cols):
            raise Trap(f"stream s{slot} holds {stream.rows} x {stream.cols}, expected a vector of {length}")
        return [stream.vector(device) for device in range(len(self.link.local))]

    def take_engine_vector(self, slot: int, length: int) -> list[Vector]:
        """Consume what the SXE put into a stream."""
        stream = self._take(slot)
        if not isinstance(stream, EngineVector):
            raise Trap(f"stream s{slot} holds a matrix, expected a vector of the SXE")
        if stream.vectors[0].shape[0] != length:
            raise Trap(f"stream s{slot} holds {stream.vectors[0].shape[0]} elements, expected {length}")
        return stream.vectors

    def activation(self, table: int) -> ActivationTable | None:
        """The table with this id; None for t0."""
        if table == 0:
            return None
        if table > len(self.tables):
            raise Trap(f"activation table t{table} does not exist, the last one is t{len(self.tables)}")
        return self.tables[table - 1]
