"""Planned instructions as rows of the tape: addresses and extents resolved, everything static checked.

A node -> rows, or None for what the tape has no operation for: that node runs
through `semantics`, lane by lane. What an instruction checks when it is
stepped through is checked here once where it is static, by the plan before it
runs where it depends on registers, or by the operation itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from compiler.dtypes import FLOAT32
from compiler.emulator.arguments import Arguments, aligned_zeros
from compiler.emulator.arithmetic import Vector
from compiler.emulator.caches import Cache
from compiler.emulator.lanes import Lane
from compiler.emulator.link import LocalLink
from compiler.emulator.schedule import Node
from compiler.emulator.tape import PACKED_HEADER_BYTES, Row, float_bits
from compiler.emulator.trap import Trap
from compiler.isa.encode import Instruction
from compiler.isa.spec import TOKEN_UNIT, RopeStyle
from compiler.memory_map import CACHE_KINDS, CHANNELS

Renamed = dict[int, SimpleNamespace]
Phases = list[list[Row]]
"""Rows by phase: those of one phase do not depend on each other, and wait for the phase before."""

PART_ELEMENTS = 1024
"""Work for some microseconds of one thread, where reading the bias is waited for."""

_KNOWN: dict[str, frozenset[str]] = {
    mnemonic: frozenset(names.split())
    for mnemonic, names in {
        "rd.embed": "dst hbm index length rows",
        "rd.param": "stream hbm rows cols stride index step",
        "rd.kv": "stream hbm rows cols stride rows_reg cols_reg last",
        "mm": "dst src stream rows cols bias act rope head_dim rotary_dim style out rows_reg cols_reg last",
        "wr.key": "stream src hbm at heads head_dim stride head_stride",
        "wr.value": "stream src hbm at heads head_dim stride head_stride",
        "vadd": "dst a b length",
        "vmul": "dst a b length",
        "vbias": "dst a bias length",
        "vscale": "dst a length scale length_reg by factors last",
        "vact": "dst a length act",
        "vrope": "dst a rope length head_dim rotary_dim style",
        "layernorm": "dst a length eps weight bias offset heads of of_length",
        "rmsnorm": "dst a length eps weight offset heads of of_length",
        "add.layernorm": "dst sum a b length eps weight bias offset",
        "add.rmsnorm": "dst sum a b length eps weight offset",
        "softmax": "dst a length scale length_reg first_reg extra extras coarse sink last",
        "tx": "src length tag",
        "rx": "dst length devices tag",
    }.items()
}
"""Operands that the tape's operations honour; an instruction that uses another one is not for the tape."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A matrix whose place a register chooses: to be checked before every run, as `rd.param` would."""

    address: int
    register: int
    step: int
    rows: int
    cols: int
    stride: int


class Binding(Arguments):
    """The rows of one plan with its lanes.

    Attributes:
        chosen: matrices to check before a run.
        products: multiplications of all rows together, to judge whether threads pay.

    Args:
        program: the whole program.
        renamed: operands of the plan's instructions, LMU addresses being places in `storage`.
        lanes: of the plan.
        storage: float32 [lanes, devices, elements].
        packed_from: from so many lanes on, what is multiplied is packed; 0: never.
    """

    def __init__(
        self,
        program: tuple[Instruction, ...],
        renamed: Renamed,
        lanes: list[Lane],
        storage: Vector,
        packed_from: int = 0,
    ) -> None:
        self.chosen: list[Chosen] = []
        self._packed_from = packed_from
        self.products = 0
        super().__init__(lanes[0], storage)
        self._program = program
        self._renamed = renamed

    def rows(self, node: Node, member: int) -> Phases | None:
        """The rows of a node; None: there is no operation for it.

        Args:
            node: of the schedule.
            member: its number within its level; nodes that run together must not share scratch.

        Raises:
            Trap: when stepped through it would fault.
        """
        instrs = [self._program[pc] for pc in node.pcs]
        if not all(_is_known(instr) for instr in instrs):
            return None
        opened = {
            self._renamed[pc].stream: self._renamed[pc]
            for pc in node.pcs
            if self._program[pc].mnemonic in ("rd.param", "rd.kv")
        }
        rest = [pc for pc in node.pcs if self._program[pc].mnemonic not in ("rd.param", "rd.kv")]
        names = tuple(self._program[pc].mnemonic for pc in rest)
        operands = [self._renamed[pc] for pc in rest]
        if not names:
            return None
        if any(instr.mnemonic == "rd.kv" for instr in instrs):
            if names != ("mm",):
                return None
            source, _ = node.operands[rest[0], "src"]
            return self._cached(operands[0], opened, is_spare=source.extent is not None)
        if names[0] == "mm":
            return self._matrix(operands[0], opened, names[1:], operands[1:], member)
        if names == ("tx", "rx"):
            return self._exchange(*operands)
        if len(names) > 1 or names[0] not in _SINGLE:
            return None
        return _SINGLE[names[0]](self, operands[0], opened)

    # matrices

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
            phases.append(self._finish(target, _renamed_fields(target, "dst", "src"), o, o.rows, bias))
        if writers:
            kept = self._keep_token(writers[0], writes[0], _renamed_fields(target, "dst", "src"), o.rows)
            phases.append([kept])
        return phases

    def _packed(self, o: SimpleNamespace, member: int) -> dict[str, int]:
        """Fields of scratch for packed vectors; none where packing does not pay."""
        if not 0 < self._packed_from <= self._lanes:
            return {}
        floats = -(-(PACKED_HEADER_BYTES + 2 * o.cols) // 64) * 16
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

    # vectors

    def _pair(self, op: str, o: SimpleNamespace) -> Phases:
        _check_length(o.length)
        return [[self._each(op, **self._at("dst", o.dst), **self._at("a", o.a), **self._at("b", o.b), length=o.length)]]

    def _vbias(self, o: SimpleNamespace, opened: dict[int, SimpleNamespace]) -> Phases | None:
        bias = self._parameters(opened[o.bias], o.length) if o.bias else None
        if bias is None:
            return None
        other = {"b": bias.ctypes.data, "b_device": bias.strides[0]}
        return [[self._each("add", **self._at("dst", o.dst), **self._at("a", o.a), **other, length=o.length)]]

    def _vscale(self, o: SimpleNamespace, _: object) -> Phases:
        _check_length(o.length)
        by = self._at("by", o.by) if o.factors else {}
        fields = {"length": o.length, "length_reg": o.length_reg, "last": o.last, "scale": float_bits(o.scale)}
        return [[self._each("scale", **self._at("dst", o.dst), **self._at("a", o.a), **by, **fields)]]

    def _unary(self, o: SimpleNamespace, _: object) -> Phases:
        _check_length(o.length)
        return [self._finish(self._at("dst", o.dst), self._at("src", o.a), o, o.length, None)]

    def _norm(self, op: str, o: SimpleNamespace, opened: dict[int, SimpleNamespace]) -> Phases | None:
        _check_length(o.length)
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
        _check_length(o.length)
        fields = {"length": o.length, "length_reg": o.length_reg, "first_reg": o.first_reg, "coarse": o.coarse}
        fields |= {"last": o.last, "scale": float_bits(o.scale)}
        if o.extras:
            fields |= self._at("sink" if o.sink else "slope", o.extra)
        return [[self._each("softmax", **self._at("dst", o.dst), **self._at("a", o.a), **fields)]]

    # memory and link

    def _embed(self, o: SimpleNamespace, _: object) -> Phases:
        self._memory.check_embedding(o.hbm, o.length, o.rows)
        row = self._each(
            "embed",
            **self._at("dst", o.dst),
            channels=self._memory.channel_addresses.ctypes.data,
            offset=o.hbm,
            index=o.index,
            length=o.length,
            rows=o.rows,
        )
        return [[row]]

    def _exchange(self, sent: SimpleNamespace, received: SimpleNamespace) -> Phases | None:
        link = self._lane.link
        if not isinstance(link, LocalLink):
            return None
        if sent.length != received.length or received.devices != link.num_devices:
            raise Trap(f"tag {sent.tag}: the slices are not those that were transmitted")
        _check_length(sent.length)
        fields = {"length": sent.length, "sources": link.num_devices}
        return [[self._each("gather", **self._at("dst", received.dst), **self._at("src", sent.src), **fields)]]


_Single = Callable[[Binding, SimpleNamespace, dict[int, SimpleNamespace]], Phases | None]

_SINGLE: dict[str, _Single] = {
    "rd.embed": Binding._embed,
    "wr.key": lambda binding, o, _: binding._write_cache("wr.key", o),
    "wr.value": lambda binding, o, _: binding._write_cache("wr.value", o),
    "vadd": lambda binding, o, _: binding._pair("add", o),
    "vmul": lambda binding, o, _: binding._pair("multiply", o),
    "vbias": Binding._vbias,
    "vscale": Binding._vscale,
    "vact": Binding._unary,
    "vrope": Binding._unary,
    "layernorm": lambda binding, o, opened: binding._norm("layernorm", o, opened),
    "rmsnorm": lambda binding, o, opened: binding._norm("rmsnorm", o, opened),
    "add.layernorm": lambda binding, o, opened: binding._norm("layernorm", o, opened),
    "add.rmsnorm": lambda binding, o, opened: binding._norm("rmsnorm", o, opened),
    "softmax": Binding._softmax,
}
"""Instructions that are a node of their own, by mnemonic."""


def _is_known(instr: Instruction) -> bool:
    names = _KNOWN.get(instr.mnemonic, frozenset())
    return all(
        not value or operand.name in names for operand, value in zip(instr.spec.operands, instr.values, strict=True)
    )


def _renamed_fields(fields: dict[str, int], old: str, new: str) -> dict[str, int]:
    return {new + name.removeprefix(old): value for name, value in fields.items()}


def _check_length(length: int) -> None:
    if length < 1:
        raise Trap(f"a vector of {length} elements")
