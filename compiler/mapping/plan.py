"""Plans the memory of a build: from a graph and a target to a memory map, or to the reason why it does not fit.

No weight is read: sizes follow from the config, so whether a model fits is
known before anything else happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from compiler.dtypes import DType
from compiler.errors import CapacityError, UsageError
from compiler.graph.ir import Graph, Spread
from compiler.mapping.partition import AT_ONCE, Chunks, Partition, choose_partition
from compiler.mapping.regions import Demand, Layout, cached_layers, demands
from compiler.memory_map import CACHE_KINDS, CHANNELS, MAX_DEVICES, MemoryMap
from compiler.quantity import bytes_text
from compiler.target import Target, check_device_count

DEFAULT_MAX_LENGTH = 4096
"""Longest sequence a build holds unless asked otherwise; the model's own limit if that is less."""

LEAST_LENGTH = 2
"""A token of prompt and one of answer."""


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


def resolve_max_length(graph: Graph, max_length: int | None) -> int:
    """The sequence length of a build.

    Raises:
        UsageError: more than the model's positions, or no room for a prompt and an answer.
    """
    if max_length is None:
        return min(graph.max_positions, DEFAULT_MAX_LENGTH)
    if not LEAST_LENGTH <= max_length <= graph.max_positions:
        limits = f"{LEAST_LENGTH}..{graph.max_positions} (max_position_embeddings)"
        raise UsageError(f"max_length {max_length} is outside {limits}")
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
    regions = tuple(Layout(graph, partition, dtype, max_length, segments).regions())
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
        self._layers = cached_layers(graph)
        self._known: dict[int, tuple[int, int, int]] = {}

    def of(self, num_devices: int) -> tuple[int, int, int]:
        """Bytes of one of so many devices."""
        if num_devices not in self._known:
            partition = _partition(self._graph, num_devices, self._max_length, AT_ONCE)
            layout = Layout(self._graph, partition, self._dtype, self._max_length, segments=False)
            parameters = sum(layout.size(layout.region(demand)) * count for demand, count in self._forms)
            caches = sum(layout.size(layout.cache(kind, layer)) for layer in self._layers for kind in CACHE_KINDS)
            sizes = parameters, caches, layout.size(layout.host())
            self._known[num_devices] = sizes[0] * CHANNELS, sizes[1] * CHANNELS, sizes[2] * CHANNELS
        return self._known[num_devices]


def _forms(graph: Graph) -> list[tuple[Demand, int]]:
    """One demand of each form, and how many there are of it."""
    counts: Counter[Hashable] = Counter()
    first: dict[Hashable, Demand] = {}
    for demand in demands(graph):
        counts[demand.form] += 1
        first.setdefault(demand.form, demand)
    return [(demand, counts[form]) for form, demand in first.items()]


def _partition(graph: Graph, num_devices: int, max_length: int, chunks: Chunks) -> Partition:
    reader = next(n for n in graph.nodes if n.op == "linear" and graph.shapes[n.outputs[0]].spread is Spread.CACHE)
    hidden = graph.shapes[reader.inputs[0]].size
    return choose_partition(graph.heads, num_devices, hidden, max_length, chunks)


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
