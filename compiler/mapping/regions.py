"""The regions of a build: which a graph needs, how large each is, and which part of its tensor every device holds.

In: a graph and its partition. Out: regions one behind the other, in the order in which the program consumes them;
caches and the host buffer follow the parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from compiler.dtypes import DType
from compiler.graph.ir import Graph, Node, Parameter, Shape, Spread
from compiler.isa.host import HostLayout
from compiler.mapping.partition import Partition, Run
from compiler.memory_map import BURST_BYTES, CACHE_KINDS, CHANNELS, Region, Segment
from compiler.source import SourceRef

_TABLE = ":table"
_REPLICATED = ("rotary", "number")
"""Ops whose table every device holds whole."""


def table_region_name(parameter: str) -> str:
    """Region of a parameter that is read row by row; a tied one has a second region for the head."""
    return f"{parameter}{_TABLE}"


def cache_region_name(kind: str, layer: int) -> str:
    """Region of the key or value cache of a layer."""
    return f"cache.{layer}.{kind}"


def parameter_of_region(region: str) -> str:
    """The parameter that a region holds: the inverse of its name, whichever way it is read."""
    return region.removesuffix(_TABLE)


HOST_REGION = "host"


@dataclass(frozen=True, slots=True)
class Demand:
    """A parameter that needs a region, and the first node that reads it.

    Attributes:
        table: whether it is read row by row.
        form: equal for demands whose regions differ in name, source and address only.
    """

    parameter: Parameter
    node: Node
    table: bool
    form: Hashable


def demands(graph: Graph) -> tuple[Demand, ...]:
    """Every parameter that needs a region, in the order of first use."""
    parameters = {parameter.name: parameter for parameter in graph.parameters}
    seen: set[tuple[str, bool]] = set()
    found = []
    for node in graph.nodes:
        if not node.parameters:
            continue
        replicated = node.op in (*_REPLICATED, "norm", "add_norm")
        use = (graph.shapes[node.outputs[0]], replicated, node.text("index") == "position")
        for role, name in node.parameters:
            table = role in ("table", "long")
            if (name, table) not in seen:
                seen.add((name, table))
                each = parameters[name]
                kept = (each.kind, each.shape, each.first_row, each.cut, each.generated is None)
                found.append(Demand(each, node, table, (table, use, kept)))
    return tuple(found)


def cached_layers(graph: Graph) -> list[int]:
    """Layers with a key and a value cache, in order."""
    return [node.integer("layer") for node in graph.nodes if node.op == "write_key"]


class Layout:
    """Lays one region of a graph behind the other.

    Args:
        graph: whose parameters and caches.
        partition: the devices' shares.
        dtype: of the build.
        max_length: tokens the caches hold.
        segments: whether regions say which part of their tensor each device holds; sizes do not need it.
    """

    def __init__(self, graph: Graph, partition: Partition, dtype: DType, max_length: int, segments: bool) -> None:
        self.graph = graph
        self.partition = partition
        self.itemsize = dtype.itemsize
        self.max_length = max_length
        self.with_segments = segments
        self.address = 0
        self._forms: dict[Hashable, Region] = {}

    def regions(self) -> Iterator[Region]:
        """Every region, in ascending order of address."""
        for demand in demands(self.graph):
            yield self._place(self.region(demand))
        for layer in cached_layers(self.graph):
            for kind in CACHE_KINDS:
                yield self._place(self.cache(kind, layer))
        yield self._place(self.host())

    def region(self, demand: Demand) -> Region:
        """The region of a parameter, at no address yet."""
        form = self._forms.get(demand.form)
        if form is None:
            build = self._table if demand.table else self._rows
            form = self._forms[demand.form] = build(demand.parameter, demand.node)
        name = demand.parameter.name
        name = table_region_name(name) if demand.table else name
        return replace(form, name=name, source=demand.parameter.source)

    def host(self) -> Region:
        """The host buffer."""
        size = HostLayout(self.max_length, self.graph.vocab_size).size_bytes
        return Region(HOST_REGION, "io", 0, 0, "host", 1, size)

    def _table(self, parameter: Parameter, node: Node) -> Region:
        source_rows, width = parameter.shape
        rows = source_rows - parameter.first_row
        if parameter.generated is not None or node.text("index") == "position":
            rows = min(rows, self.max_length)
        shape = self.graph.shapes[node.outputs[0]]
        replicated = node.op in _REPLICATED
        cols = width if replicated else self.partition.local_size(shape)
        everywhere = [Run(device, 0, 0, width) for device in range(self.partition.num_devices)]
        segments = [
            Segment(run.device, 0, run.local, parameter.first_row, run.source, rows, run.count)
            for run in (everywhere if replicated else self.partition.runs(shape))
            if self.with_segments
        ]
        return Region("", parameter.kind, 0, 0, "embed", rows, cols, 0, 1, segments=tuple(segments))

    def _rows(self, parameter: Parameter, node: Node) -> Region:
        cols = parameter.shape[1] if len(parameter.shape) == 2 else 1
        stride = cols if cols == 1 else self._padded(cols)
        shape = self.graph.shapes[node.outputs[0]]
        replicated = node.op in ("norm", "add_norm") and shape.spread is Spread.VECTOR
        rows, gaps = shape.size, {0: 0}
        if not replicated:
            gaps, rows = self._gaps(shape, cols)
        segments = []
        for run in self._runs(parameter, shape, replicated) if self.with_segments else ():
            local = run.local + max((begin, gap) for begin, gap in gaps.items() if begin <= run.local)[1]
            pieces = parameter.cut.pieces(run.source, run.count) if parameter.cut else ((0, run.source, run.count),)
            for offset, source, count in pieces:
                segments.append(Segment(run.device, local + offset, 0, source, 0, count, cols))
        kind = parameter.kind if parameter.kind != "embedding" else "weight"
        return Region("", kind, 0, 0, "rows", rows, cols, stride, 1, segments=tuple(segments))

    def _gaps(self, shape: Shape, cols: int) -> tuple[dict[int, int], int]:
        """For the first element of each chunk how much further behind its row lies, and the number of rows."""
        lengths, rows = self.partition.parts(shape), self.partition.first_rows(shape, cols, self.itemsize)
        begins = list(accumulate(lengths, initial=0))
        return {begin: row - begin for begin, row in zip(begins, rows, strict=False)}, rows[-1] + lengths[-1]

    def _runs(self, parameter: Parameter, shape: Shape, replicated: bool) -> Iterator[Run]:
        if replicated:
            for device in range(self.partition.num_devices):
                yield Run(device, 0, 0, shape.size)
        elif parameter.shape[0] != shape.size:  # one weight for all heads: a copy beside each
            for device in range(self.partition.num_devices):
                for begin in range(0, self.partition.local_size(shape), shape.width):
                    yield Run(device, begin, 0, shape.width)
        else:
            yield from self.partition.runs(shape)

    def cache(self, kind: str, layer: int) -> Region:
        """The key or value cache of a layer."""
        width = self.partition.heads.head_dim
        rows, cols = (self.max_length, width) if kind == "key" else (width, self.max_length)
        source = SourceRef(f"cache.{layer}", "", layer)
        name = cache_region_name(kind, layer)
        heads = self.partition.local_kv_heads
        return Region(name, kind, 0, 0, "rows", rows, cols, self._padded(cols), heads, source)

    def _padded(self, cols: int) -> int:
        """Elements of a row that begins at a burst."""
        unit = BURST_BYTES // self.itemsize
        return -(-cols // unit) * unit

    def size(self, region: Region) -> int:
        """Bytes of a region in its fullest channel, all heads together."""
        slots = -(-region.rows // CHANNELS)
        rows_bytes = slots * region.stride * self.itemsize
        used = rows_bytes if region.layout == "rows" else region.used_bytes(self.itemsize)
        return -(-used // BURST_BYTES) * BURST_BYTES * region.heads

    def _place(self, region: Region) -> Region:
        """The region at the next address."""
        begin = self.address
        self.address += self.size(region)
        return replace(region, begin=begin, end=self.address)
