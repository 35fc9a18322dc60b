"""Rows of the tape for matrices: parameters and caches times vectors, and tokens kept in caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from compiler.dtypes import FLOAT32
from compiler.emulator.arguments import aligned_zeros
from compiler.emulator.arithmetic import Vector
from compiler.emulator.caches import Cache
from compiler.emulator.lanes import Lane
from compiler.emulator.tape import PACKED_HEADER_BYTES, Row
from compiler.emulator.trap import Trap
from compiler.emulator.vector_rows import Phases, VectorRows, renamed
from compiler.emulator.versions import ALIGN
from compiler.isa.spec import TOKEN_UNIT
from compiler.memory_map import CACHE_KINDS, CHANNELS


@dataclass(frozen=True, slots=True)
class Chosen:
    """A matrix whose place a register chooses: to be checked before every run, as `rd.param` would."""

    address: int
    register: int
    step: int
    rows: int
    cols: int
    stride: int


class MatrixRows(VectorRows):
    """Rows of a plan's instructions on matrices; None where there is no operation for one.

    Attributes:
        chosen: matrices to check before a run.
        products: multiplications of all rows together, to judge whether threads pay.

    Args:
        lane: one of the plan's.
        storage: float32 [lanes, devices, elements].
        packed_from: from so many lanes on, what is multiplied is packed; 0: never.
    """

    def __init__(self, lane: Lane, storage: Vector, packed_from: int) -> None:
        super().__init__(lane, storage)
        self.chosen: list[Chosen] = []
        self.products = 0
        self._packed_from = packed_from

    def _matrix(
        self,
        o: SimpleNamespace,
        opened: dict[int, SimpleNamespace],
        writers: Sequence[str],
        writes: Sequence[SimpleNamespace],
        member: int,
    ) -> Phases | None:
        if o.rows_reg or o.cols_reg or o.stream not in opened or len(writers) > 1 or bool(writers) != bool(o.out):
            return None
        source = opened[o.stream]
        if (source.rows, source.cols) != (o.rows, o.cols):
            raise Trap("a stream of another shape")
        if writes and writes[0].heads * writes[0].head_dim != o.rows:
            raise Trap("a token of another length than the stream")
        bias = self._parameters(opened[o.bias], o.rows) if o.bias else None
        if (o.bias and bias is None) or (source.index and self._lanes > 1):
            return None
        if o.out:
            shape = (self._lanes, self._devices, o.rows)
            made = self._keep(("out", member, o.rows), lambda: aligned_zeros(shape))
            target = self._in("dst", made)
        else:
            target = self._at("dst", o.dst)
        packed = self._packed(o, member)
        phases = [[self._each("pack", **packed, **self._at("src", o.src), length=o.cols)]] if packed else []
        phases.append([self._product(o, source, target, packed)])
        if bias is not None or o.rotary_dim or o.act or self._memory.memory_map.dtype != FLOAT32:
            phases.append(self._finish(target, renamed(target, "dst", "src"), o, o.rows, bias))
        if writers:
            kept = self._keep_token(writers[0], writes[0], renamed(target, "dst", "src"), o.rows)
            phases.append([kept])
        return phases

    def _packed(self, o: SimpleNamespace, member: int) -> dict[str, int]:
        """Fields of scratch for packed vectors; none where packing does not pay."""
        if not 0 < self._packed_from <= self._lanes:
            return {}
        floats = -(-(PACKED_HEADER_BYTES + 2 * o.cols) // (4 * ALIGN)) * ALIGN
        shape = (self._lanes, self._devices, floats)
        return self._in("packed", self._keep(("packed", member, floats), lambda: aligned_zeros(shape)))

    def _product(
        self, o: SimpleNamespace, source: SimpleNamespace, target: dict[str, int], packed: dict[str, int]
    ) -> Row:
        if source.index:
            self.chosen.append(Chosen(source.hbm, source.index, source.step, source.rows, source.cols, source.stride))
        else:
            self._memory.open_parameters(source.hbm, source.rows, source.cols, source.stride)
        itemsize = self._memory.memory_map.dtype.itemsize
        self.products += o.rows * o.cols * self._lanes * self._devices
        fields = {
            "channels": self._memory.channel_addresses.ctypes.data,
            "offset": source.hbm,
            "index": source.index,
            "step": source.step,
            "row_bytes": source.stride * itemsize,
            "rows": o.rows,
            "cols": o.cols,
            "lanes": self._lanes,
        }
        return self._row("product", self._devices * CHANNELS, {**fields, **target, **self._at("src", o.src), **packed})

    def _cached(self, o: SimpleNamespace, opened: dict[int, SimpleNamespace], is_spare: bool) -> Phases | None:
        """One head of a cache times a vector; `is_spare`: behind the vector's own elements lie no others."""
        source = opened.get(o.stream)
        extents = ("rows", "cols", "rows_reg", "cols_reg", "last")
        if source is None or o.bias or o.rotary_dim or o.act or o.out:
            return None
        if any(getattr(o, name) != getattr(source, name) for name in extents):
            return None
        place = self._memory.place(source.hbm)
        region = place.region
        if region.kind not in CACHE_KINDS or (o.cols_reg if region.kind == "key" else o.rows_reg):
            return None
        inside = 0 < o.rows <= region.rows - place.row and 0 < o.cols <= region.cols - place.col
        if not inside or source.stride != region.stride:
            raise Trap(f"{o.rows} x {o.cols} is outside region {region.name}")
        cache = self._memory.cache(region.name)
        begin = place.row if cache.is_key else place.col
        first = (source.hbm - region.begin) // cache.itemsize
        tokens = (o.rows, o.rows_reg) if cache.is_key else (o.cols, o.cols_reg)
        self.products += o.rows * o.cols * self._lanes * self._devices
        fields = dict(
            **self._cache_fields(cache, first),
            row_bytes=4 * region.stride,
            most=cache.written.shape[1] - begin,
            unit_bytes=4 * (region.stride if cache.is_key else TOKEN_UNIT),
            **{name: getattr(o, name) for name in extents},
            **self._at("dst", o.dst),
            **self._at("src", o.src),
            written=cache.written[place.head, begin:].ctypes.data,
            tokens=tokens[0],
            tokens_reg=tokens[1],
            lanes=self._lanes,
            together=is_spare or not o.cols_reg,
        )
        return [[self._row("cached", self._devices, fields)]]

    def _cache_fields(self, cache: Cache, first: int) -> dict[str, int]:
        device, channel, _ = cache.values.strides
        return {"base": cache.values.ctypes.data + 4 * first, "base_device": device, "channel_step": channel}

    def _keep_token(self, mnemonic: str, o: SimpleNamespace, source: dict[str, int], length: int) -> Row:
        kind = mnemonic.removeprefix("wr.")
        cache, head = self._memory.check_cache_write(kind, o.hbm, o.heads, length, o.stride, o.head_stride)
        fields = dict(
            **source,
            **self._cache_fields(cache, head * (cache.region.head_bytes // cache.itemsize)),
            head_step=4 * (cache.region.head_bytes // cache.itemsize),
            slot_step=4 * cache.region.stride,
            heads=o.heads,
            head_dim=length // o.heads,
            at=o.at,
            written=cache.written[head].ctypes.data,
            written_step=cache.written.strides[0],
            lanes=self._lanes,
        )
        return self._row(f"keep_{kind}", self._devices * (self._lanes if cache.is_key else CHANNELS), fields)

    def _write_cache(self, mnemonic: str, o: SimpleNamespace) -> Phases | None:
        if o.stream:
            return None
        return [[self._keep_token(mnemonic, o, self._at("src", o.src), o.heads * o.head_dim)]]
