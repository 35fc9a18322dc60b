"""How groups of planned instructions run: products and softmaxes of many heads and lanes with one call each.

Each function here computes what the function of `semantics` with the same
name would, in the same arithmetic, for all members of a group at once. An
instruction that is not known here, or uses an operand that is not, runs
through `semantics` itself, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from compiler.dtypes import FLOAT32
from compiler.emulator.arithmetic import Vector, softmax
from compiler.emulator.banks import channel_tasks, rows_by_channel
from compiler.emulator.caches import Cache
from compiler.emulator.kernel import COLS, PARALLEL_PRODUCTS, ROWS, VECTOR_COUNT, Kernel, Tasks
from compiler.emulator.lanes import Lane
from compiler.emulator.memory import ParameterMatrix
from compiler.emulator.schedule import Node
from compiler.emulator.semantics import SEMANTICS, finish_product
from compiler.emulator.state import EngineVector
from compiler.emulator.trap import Trap
from compiler.isa.encode import Instruction
from compiler.memory_map import CHANNELS

Call = Callable[[], None]
Renamed = dict[int, SimpleNamespace]

_KNOWN: dict[str, frozenset[str]] = {
    "rd.param": frozenset(("stream", "hbm", "rows", "cols", "stride")),
    "rd.kv": frozenset(("stream", "hbm", "rows", "cols", "stride", "rows_reg", "cols_reg")),
    "mm": frozenset(
        ("dst", "src", "stream", "rows", "cols", "bias", "act", "rope", "head_dim", "rotary_dim", "style", "out")
    ),
    "scores": frozenset(("dst", "src", "stream", "rows", "cols", "rows_reg")),
    "attend": frozenset(("dst", "src", "stream", "rows", "cols", "cols_reg")),
    "softmax": frozenset(("dst", "a", "length", "scale", "length_reg")),
    "wr.key": frozenset(("stream", "src", "hbm", "at", "heads", "head_dim", "stride", "head_stride")),
}
_KNOWN["wr.value"] = _KNOWN["wr.key"]


def _has_only(instr: Instruction, known: str) -> bool:
    names = _KNOWN[known]
    return all(
        not value or operand.name in names for operand, value in zip(instr.spec.operands, instr.values, strict=True)
    )


def group_key(program: tuple[Instruction, ...], node: Node) -> tuple[object, ...] | None:
    """Nodes of one level with equal keys may run as one group; None: alone, through `semantics`."""
    instrs = [program[pc] for pc in node.pcs]
    names = [instr.mnemonic for instr in instrs]
    if names == ["softmax"] and _has_only(instrs[0], "softmax"):
        return ("softmax", *(instrs[0][name] for name in ("length", "length_reg", "scale")))
    if names == ["rd.kv", "mm"] and _has_only(instrs[0], "rd.kv"):
        shape = tuple(instrs[1][name] for name in ("rows", "cols", "rows_reg", "cols_reg"))
        if shape != tuple(instrs[0][name] for name in ("rows", "cols", "rows_reg", "cols_reg")):
            return None
        for kind in ("scores", "attend"):
            if _has_only(instrs[1], kind):
                return (kind, *shape)
        return None
    tail = names[-1] in ("wr.key", "wr.value") and len(names) > 1
    head = names[: -1 if tail else None]
    if head[-1] != "mm" or set(head[:-1]) != {"rd.param"}:
        return None
    if all(_has_only(instr, instr.mnemonic) for instr in instrs):
        return ("mm",)
    return None


def bind_group(
    group: list[Node],
    program: tuple[Instruction, ...],
    renamed: Renamed,
    lanes: list[Lane],
    storage: Vector,
    scratch: Scratch,
) -> Call:
    """The call that runs a group.

    Raises:
        Trap: when called, if a member would.
    """
    key = group_key(program, group[0])
    if key is not None and key[0] == "mm":
        return _Products(group, program, renamed, lanes, storage, scratch)
    if (
        key is not None
        and key[0] in ("scores", "attend")
        and (attention := _attention(group, renamed, lanes, storage, scratch))
    ):
        return attention
    if key is not None and key[0] == "softmax" and (softmaxes := _softmax(group, renamed, lanes, storage)):
        return softmaxes
    return _singly(group, program, renamed, lanes)


def _singly(group: list[Node], program: tuple[Instruction, ...], renamed: Renamed, lanes: list[Lane]) -> Call:
    steps = [(SEMANTICS[program[pc].mnemonic], renamed[pc]) for node in group for pc in node.pcs]
    if len(steps) == 1 and len(lanes) == 1:
        function, operands = steps[0]
        lane = lanes[0]
        return lambda: function(lane, operands)

    def call() -> None:
        for lane in lanes:
            for function, operands in steps:
                function(lane, operands)

    return call


class Scratch:
    """Arrays that calls of one plan share, one call after the other."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, int, tuple[int, ...]], Vector] = {}

    def take(self, use: str, index: int, shape: tuple[int, ...]) -> Vector:
        """The array of this shape for this use."""
        key = (use, index, shape)
        if key not in self._arrays:
            self._arrays[key] = np.empty(shape, dtype=np.float32)
        return self._arrays[key]


class _Products:
    """Parameter matrices times vectors, with all that mm does behind a product; some results go to a cache."""

    def __init__(
        self,
        group: list[Node],
        program: tuple[Instruction, ...],
        renamed: Renamed,
        lanes: list[Lane],
        storage: Vector,
        scratch: Scratch,
    ) -> None:
        self._lanes = lanes
        self._storage = storage
        self._kernel: Kernel = lanes[0].memory.kernel
        self._members: list[tuple[SimpleNamespace, Vector, Vector | None, SimpleNamespace | None, str]] = []
        tables: list[Tasks] = []
        for node in group:
            by_name: dict[int, SimpleNamespace] = {}
            product: SimpleNamespace | None = None
            writer: SimpleNamespace | None = None
            kind = ""
            for pc in node.pcs:
                mnemonic = program[pc].mnemonic
                if mnemonic == "rd.param":
                    by_name[renamed[pc].stream] = renamed[pc]
                elif mnemonic == "mm":
                    product = renamed[pc]
                else:
                    writer, kind = renamed[pc], mnemonic
            assert product is not None
            matrix = _open(lanes[0], by_name[product.stream], product.rows, product.cols)
            bias = None
            if product.bias:
                vector = _open(lanes[0], by_name[product.bias])
                if vector.rows * vector.cols != product.rows or 1 not in (vector.rows, vector.cols):
                    raise Trap("a bias of another length")
                bias = np.stack([vector.vector(device) for device in range(storage.shape[1])])
            results: Vector = scratch.take("product", len(self._members), (*storage.shape[:2], product.rows))
            tables += self._tasks(matrix, product.src, results)
            self._members.append((product, results, bias, writer, kind))
            self._dtype = matrix.readers[0].banks.dtype
        self._tasks_kept = np.concatenate(tables)
        self._parts = self._kernel.parts(self._tasks_kept)

    def _tasks(self, matrix: ParameterMatrix, source: int, results: Vector) -> list[Tasks]:
        found = []
        for device, reader in enumerate(matrix.readers):
            tasks = reader.tasks(self._storage[0, device, source:].ctypes.data, results[0, device].ctypes.data)
            tasks[:, 5] = self._storage.strides[0] // 4
            tasks[:, 8] = results.strides[0] // 4
            tasks[:, VECTOR_COUNT] = len(self._lanes)
            found.append(tasks)
        return found

    def __call__(self) -> None:
        self._kernel.run(self._dtype, self._parts)
        lane = self._lanes[0]
        for o, results, bias, writer, kind in self._members:
            rope = self._storage[:, :, o.rope : o.rope + o.rotary_dim] if o.rotary_dim else None
            finished = lane.rounded(finish_product(lane, o, results, bias, rope))
            if writer is None:
                self._storage[:, :, o.dst : o.dst + o.rows] = finished
                continue
            for each, vectors in zip(self._lanes, finished, strict=True):
                each.streams[o.out] = EngineVector(list(vectors))
                SEMANTICS[kind](each, writer)


def _open(lane: Lane, o: SimpleNamespace, rows: int = 0, cols: int = 0) -> ParameterMatrix:
    matrix = lane.memory.open_parameters(o.hbm, o.rows, o.cols, o.stride)
    if rows and (o.rows, o.cols) != (rows, cols):
        raise Trap("a stream of another shape")
    return matrix


def _spread(addresses: list[int], count: int, storage: Vector) -> Vector | None:
    """View [lanes, devices, members, count] of equally spaced members; None when they are not."""
    step = addresses[1] - addresses[0] if len(addresses) > 1 else count
    if step <= 0 or any(second - first != step for first, second in pairwise(addresses)):
        return None
    lanes, devices, itemsize = *storage.strides[:2], storage.itemsize
    shape = (*storage.shape[:2], len(addresses), count)
    return as_strided(storage[:, :, addresses[0] :], shape, (lanes, devices, step * itemsize, itemsize))


def _softmax(group: list[Node], renamed: Renamed, lanes: list[Lane], storage: Vector) -> Call | None:
    members = [renamed[node.pcs[-1]] for node in group]
    first = members[0]
    sources = _spread([each.a for each in members], first.length, storage)
    results = _spread([each.dst for each in members], first.length, storage)
    if sources is None or results is None:
        return None

    def call() -> None:
        for index, lane in enumerate(lanes):
            length = lane.extent(first.length, first.length_reg)
            results[index, :, :, :length] = lane.rounded(softmax(sources[index, :, :, :length], first.scale))

    return call


def _attention(
    group: list[Node], renamed: Renamed, lanes: list[Lane], storage: Vector, scratch: Scratch
) -> Call | None:
    members = [(renamed[node.pcs[0]], renamed[node.pcs[-1]]) for node in group]
    o = members[0][1]
    results = _spread([each.dst for _, each in members], o.rows, storage)
    sources = _spread([each.src for _, each in members], o.cols, storage)
    own = all(node.operands[node.pcs[-1], "src"][0].register for node in group)
    if results is None or (len(lanes) > 1 and o.cols_reg and (sources is None or not own)):
        return None
    memory = lanes[0].memory
    places = [memory.place(opened.hbm) for opened, _ in members]
    cache = memory.cache(places[0].region.name)
    for place, (opened, _) in zip(places, members, strict=True):
        region = place.region
        begin = (place.row, place.col)
        fits = (
            o.rows <= region.rows - place.row and o.cols <= region.cols - place.col and opened.stride == region.stride
        )
        if region is not places[0].region or begin != (0, 0) or not fits:
            return None
    heads = sorted({place.head for place in places})
    if (
        heads != list(range(heads[0], heads[-1] + 1))
        or (cache.is_key and o.cols_reg)
        or (not cache.is_key and o.rows_reg)
    ):
        return None
    return _Attention(members, cache, (heads[0], heads[-1] + 1), lanes, storage, results, sources, scratch)


class _Attention:
    """One head of a cache after the other times one vector per lane: scores, or weighted values."""

    def __init__(
        self,
        members: list[tuple[SimpleNamespace, SimpleNamespace]],
        cache: Cache,
        heads: tuple[int, int],
        lanes: list[Lane],
        storage: Vector,
        results: Vector,
        sources: Vector | None,
        scratch: Scratch,
    ) -> None:
        self._o: Any = members[0][1]
        self._cache = cache
        self._heads = heads
        self._lanes = lanes
        self._results = results
        self._sources = sources
        self._products = scratch.take("heads", 0, results.shape)
        tables = []
        for device in range(storage.shape[1]):
            for index, (opened, product) in enumerate(members):
                tasks = channel_tasks(
                    cache.addresses(device, (opened.hbm - cache.region.begin) // cache.itemsize),
                    4 * cache.region.stride,
                    product.rows,
                    product.cols,
                    storage[0, device, product.src :].ctypes.data,
                    self._products[0, device, index].ctypes.data,
                )
                tasks[:, 5] = storage.strides[0] // 4
                tasks[:, 8] = self._products.strides[0] // 4
                tasks[:, VECTOR_COUNT] = len(lanes)
                tables.append(tasks)
        self._tasks: Tasks = np.concatenate(tables)
        self._by_channel = self._tasks.reshape(-1, CHANNELS, self._tasks.shape[1])
        self._shared = cache.kernel.parts(self._tasks)
        self._alone = [(self._tasks.ctypes.data, len(self._tasks))]
        self._per_token = self._by_channel.shape[0] * len(lanes) * _width(self._o)

    def __call__(self) -> None:
        o, cache, lanes = self._o, self._cache, self._lanes
        register = o.rows_reg or o.cols_reg
        counts = [lane.registers[register] if register else 0 for lane in lanes]
        tokens = max(counts) if register else (o.rows if cache.is_key else o.cols)
        if not cache.written[self._heads[0] : self._heads[1], :tokens].all():
            raise Trap("a token was never written")
        if o.rows_reg:
            self._by_channel[:, :, ROWS] = rows_by_channel(tokens)
        elif o.cols_reg:
            self._tasks[:, COLS] = tokens
            if len(lanes) > 1:
                self._mask(counts, tokens)
        many = tokens * self._per_token >= PARALLEL_PRODUCTS
        cache.kernel.run(FLOAT32, self._shared if many else self._alone)
        if o.rows_reg:
            for index, (lane, count) in enumerate(zip(lanes, counts, strict=True)):
                self._results[index, :, :, :count] = lane.rounded(self._products[index, :, :, :count])
        else:
            self._results[:] = lanes[0].rounded(self._products)

    def _mask(self, counts: list[int], tokens: int) -> None:
        """Lanes that see fewer tokens than the last one: a weight of zero adds nothing to any sum.

        Raises:
            Trap: zero times a value that is not finite would.
        """
        values, cache = self._sources, self._cache
        first = min(counts)
        region = cache.region
        if first == tokens:
            return
        assert values is not None
        later = [
            cache.values[:, :, slot * region.stride + first : slot * region.stride + tokens]
            for slot in range(cache.values.shape[2] // region.stride)
        ]
        if not all(np.isfinite(part).all() for part in later):
            raise Trap("a value is not finite")
        for index, count in enumerate(counts):
            values[index, :, :, count:tokens] = 0


def _width(o: SimpleNamespace) -> int:
    """Products per token of one head and lane."""
    return int(o.cols if o.rows_reg else o.rows)
