"""Lays out the memory of a build: from a graph and a target to a memory map.

No weight is read: sizes follow from the config, so whether a model fits is
known before anything else happens. Parameters lie in the order in which the
program consumes them; caches and the host buffer follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from compiler.dtypes import DType
from compiler.errors import CapacityError, UsageError
from compiler.graph.ir import Graph, Node, Parameter, Shape, Spread
from compiler.isa.host import HostLayout
from compiler.mapping.partition import AT_ONCE, Chunks, Partition, Run, choose_partition
from compiler.memory_map import BURST_BYTES, CHANNELS, MAX_DEVICES, MemoryMap, Region, Segment
from compiler.quantity import bytes_text
from compiler.source import SourceRef
from compiler.target import Target, check_device_count

DEFAULT_MAX_LENGTH = 4096
"""Longest sequence a build holds unless asked otherwise; the model's own limit if that is less."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A memory map with the partition it follows."""

    memory_map: MemoryMap
    partition: Partition


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes of one device, all channels together.

    Attributes:
        weight_bytes: parameters with their padding, as they lie in HBM.
        kv_bytes: key and value caches at max_length.
        io_bytes: host buffer.
        capacity_bytes: HBM of the device.
        smallest_fit: fewest devices that hold the model, 0 when none does.
    """

    num_devices: int
    weight_bytes: int
    kv_bytes: int
    io_bytes: int
    capacity_bytes: int
    smallest_fit: int

    @property
    def bytes_per_device(self) -> int:
        """All bytes of one device."""
        return self.weight_bytes + self.kv_bytes + self.io_bytes

    @property
    def fits(self) -> bool:
        """Whether one device holds its share."""
        return self.bytes_per_device <= self.capacity_bytes


def table_region_name(parameter: str) -> str:
    """Region of a parameter that is read row by row; a tied one has a second region for the head."""
    return f"{parameter}:table"


def cache_region_name(kind: str, layer: int) -> str:
    """Region of the key or value cache of a layer."""
    return f"cache.{layer}.{kind}"


HOST_REGION = "host"
_CACHES = ("key", "value")
_REPLICATED = ("rotary", "number")
"""Ops whose table every device holds whole."""


def resolve_max_length(graph: Graph, max_length: int | None) -> int:
    """The sequence length of a build.

    Raises:
        UsageError: more than the model's positions.
    """
    if max_length is None:
        return min(graph.max_positions, DEFAULT_MAX_LENGTH)
    if not 1 <= max_length <= graph.max_positions:
        raise UsageError(f"max_length {max_length} is outside 1..{graph.max_positions} (max_position_embeddings)")
    return max_length


def plan_mapping(
    graph: Graph, target: Target, num_devices: int, dtype: DType, max_length: int, chunks: Chunks = AT_ONCE
) -> Mapping:
    """The memory map of a build.

    Args:
        chunks: in how many pieces vectors are gathered.

    Raises:
        UsageError: a device count out of range.
        CapacityError: it does not fit; says needed, available and the smallest N that fits.
    """
    check_fits(graph, target, num_devices, dtype, max_length)
    mapping = lay_out(graph, target, num_devices, dtype, max_length, chunks)
    if mapping.memory_map.regions[-1].end > target.channel_bytes and chunks != AT_ONCE:
        return plan_mapping(graph, target, num_devices, dtype, max_length)  # no room for the gaps between the chunks
    return mapping


def lay_out(
    graph: Graph,
    target: Target,
    num_devices: int,
    dtype: DType,
    max_length: int,
    chunks: Chunks = AT_ONCE,
    segments: bool = True,
) -> Mapping:
    """The memory map of a build, whether it fits or not; lowering needs no segments."""
    partition = _partition(graph, num_devices, max_length, chunks)
    regions = tuple(_Layout(graph, partition, dtype, max_length, segments).regions())
    file_bytes = max(region.end for region in regions if region.is_parameter)
    memory_map = MemoryMap(target.name, num_devices, dtype, max_length, target.channel_bytes, file_bytes, regions)
    return Mapping(memory_map, partition)


def check_fits(graph: Graph, target: Target, num_devices: int, dtype: DType, max_length: int) -> None:
    """Refuse what the devices cannot hold.

    Raises:
        UsageError, CapacityError: as `plan_mapping`.
    """
    check_device_count(num_devices)
    plan = plan_memory(graph, target, num_devices, dtype, max_length)
    if not plan.fits:
        raise CapacityError(_too_large(graph, target, plan, max_length), _advice(plan))


def plan_memory(graph: Graph, target: Target, num_devices: int, dtype: DType, max_length: int) -> MemoryPlan:
    """Bytes of one device, and the fewest devices that hold the model."""
    return memory_of(Sizes(graph, dtype, max_length), target, num_devices)


def memory_of(sizes: Sizes, target: Target, num_devices: int) -> MemoryPlan:
    """Bytes of one device of a target, and the fewest devices of it that hold the model."""
    weights, kv, io = sizes.of(num_devices)
    capacity = target.channel_bytes * CHANNELS
    # A device's share is at least one N-th of what one device would hold.
    least = max(1, -(-sum(sizes.of(1)) // capacity))
    fitting = (count for count in range(least, MAX_DEVICES + 1) if sum(sizes.of(count)) <= capacity)
    return MemoryPlan(num_devices, weights, kv, io, capacity, next(fitting, 0))


class Sizes:
    """Bytes per device of parameters, caches and host buffer for any number of devices; each is worked out once."""

    def __init__(self, graph: Graph, dtype: DType, max_length: int) -> None:
        self._graph, self._dtype, self._max_length = graph, dtype, max_length
        self._forms = _forms(graph)
        self._layers = _cached_layers(graph)
        self._known: dict[int, tuple[int, int, int]] = {}

    def of(self, num_devices: int) -> tuple[int, int, int]:
        """Bytes of one of so many devices."""
        if num_devices not in self._known:
            partition = _partition(self._graph, num_devices, self._max_length, AT_ONCE)
            layout = _Layout(self._graph, partition, self._dtype, self._max_length, segments=False)
            parameters = sum(layout.size(layout.region(demand)) * count for demand, count in self._forms)
            caches = sum(layout.size(layout.cache(kind, layer)) for layer in self._layers for kind in _CACHES)
            sizes = parameters, caches, layout.size(layout.host())
            self._known[num_devices] = sizes[0] * CHANNELS, sizes[1] * CHANNELS, sizes[2] * CHANNELS
        return self._known[num_devices]


def _forms(graph: Graph) -> list[tuple[_Demand, int]]:
    """One demand of each form, and how many there are of it."""
    counts: Counter[Hashable] = Counter()
    first: dict[Hashable, _Demand] = {}
    for demand in _demands(graph):
        counts[demand.form] += 1
        first.setdefault(demand.form, demand)
    return [(demand, counts[form]) for form, demand in first.items()]


def _partition(graph: Graph, num_devices: int, max_length: int, chunks: Chunks) -> Partition:
    reader = next(n for n in graph.nodes if n.op == "linear" and graph.shapes[n.outputs[0]].spread is Spread.CACHE)
    hidden = graph.shapes[reader.inputs[0]].size
    return choose_partition(graph.heads, num_devices, hidden, max_length, chunks)


@dataclass(frozen=True, slots=True)
class _Demand:
    """A parameter and the first node that reads it.

    Attributes:
        table: whether it is read row by row.
        form: equal for demands whose regions differ in name, source and address only.
    """

    parameter: Parameter
    node: Node
    table: bool
    form: Hashable


def _demands(graph: Graph) -> tuple[_Demand, ...]:
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
                found.append(_Demand(each, node, table, (table, use, kept)))
    return tuple(found)


def _cached_layers(graph: Graph) -> list[int]:
    return [node.integer("layer") for node in graph.nodes if node.op == "write_key"]


class _Layout:
    """Walks a graph and lays one region behind the other."""

    def __init__(self, graph: Graph, partition: Partition, dtype: DType, max_length: int, segments: bool) -> None:
        self.graph = graph
        self.partition = partition
        self.itemsize = dtype.itemsize
        self.max_length = max_length
        self.with_segments = segments
        self.address = 0
        self._forms: dict[Hashable, Region] = {}

    def regions(self) -> Iterator[Region]:
        for demand in _demands(self.graph):
            yield self._place(self.region(demand))
        for layer in _cached_layers(self.graph):
            for kind in _CACHES:
                yield self._place(self.cache(kind, layer))
        yield self._place(self.host())

    def region(self, demand: _Demand) -> Region:
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


def _too_large(graph: Graph, target: Target, plan: MemoryPlan, max_length: int) -> str:
    return (
        f"{graph.architecture} does not fit on {plan.num_devices} x {target.name}: each device needs "
        f"{bytes_text(plan.bytes_per_device)} (weights {bytes_text(plan.weight_bytes)}, caches "
        f"{bytes_text(plan.kv_bytes)} for {max_length} tokens) and has {bytes_text(plan.capacity_bytes)}"
    )


def _advice(plan: MemoryPlan) -> str:
    if plan.smallest_fit:
        return f"the smallest number of devices that fits is {plan.smallest_fit}"
    return f"it does not fit on {MAX_DEVICES} devices either; lower --max-length or choose a larger target"
