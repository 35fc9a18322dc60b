"""How N devices share a model: heads and columns, never the inner dimension.

Every device computes whole elements of a result, so no partial sums cross
devices and a result does not depend on N. A gathered vector has the elements
of the model first and padding last.

Source: intra-layer parallelism of the LPU (IEEE Micro 2024, arXiv 2408.07326):
Q, K, V by head; output projection, FFN and LM head by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.graph.ir import Heads, Shape, Spread


@dataclass(frozen=True, slots=True)
class Run:
    """`count` consecutive local rows on a device that hold consecutive source rows."""

    device: int
    local: int
    source: int
    count: int


@dataclass(frozen=True, slots=True)
class Partition:
    """The share of each device.

    A local key/value head serves `group` local query heads. Slot s = device *
    local_kv_heads + j holds the query heads [s * group, (s + 1) * group) of the
    model, and a copy of the key/value head they belong to.

    Attributes:
        num_devices: N.
        heads: heads of the model.
        group: query heads per local key/value head.
        local_kv_heads: key/value heads on each device.
    """

    num_devices: int
    heads: Heads
    group: int
    local_kv_heads: int

    @property
    def copies(self) -> int:
        """Slots that hold the same key/value head."""
        return -(-(self.heads.num_attention_heads // self.heads.num_key_value_heads) // self.group)

    @property
    def local_query_heads(self) -> int:
        """Query heads on each device, padding included."""
        return self.local_kv_heads * self.group

    def local_size(self, shape: Shape) -> int:
        """Elements of a split value on each device, padding included."""
        if shape.spread is Spread.QUERY:
            return self.local_query_heads * shape.width
        if shape.spread is Spread.CACHE:
            return self.local_kv_heads * shape.width
        return self.chunk(shape.size)

    def chunk(self, size: int) -> int:
        """Columns of each device for a vector of `size`."""
        return -(-size // self.num_devices)

    def runs(self, shape: Shape) -> Iterator[Run]:
        """Which rows of a parameter with one row per element of `shape` each device holds."""
        if shape.spread is Spread.CACHE:
            yield from self._cache_runs()
            return
        chunk, size = self.local_size(shape), shape.size
        for device in range(self.num_devices):
            begin = min(device * chunk, size)
            count = min(chunk, size - begin)
            if count:
                yield Run(device, 0, begin, count)

    def _cache_runs(self) -> Iterator[Run]:
        per_model_head = self.heads.num_attention_heads // self.heads.num_key_value_heads
        width = self.heads.head_dim
        for slot in range(self.num_devices * self.local_kv_heads):
            query_head = slot * self.group
            if query_head < self.heads.num_attention_heads:
                device, local = divmod(slot, self.local_kv_heads)
                yield Run(device, local * width, query_head // per_model_head * width, width)


def choose_partition(heads: Heads, num_devices: int, hidden_size: int, max_length: int) -> Partition:
    """The partition that streams the fewest bytes per device and token.

    Key/value heads are replicated when there are fewer of them than devices, or
    when their number does not divide. A local group divides the model's group,
    unless there is only one key/value head, so that padding comes last.
    """
    whole = heads.num_attention_heads // heads.num_key_value_heads
    best: tuple[int, int] | None = None
    chosen = Partition(num_devices, heads, whole, heads.num_key_value_heads)
    for group in range(whole, 0, -1):
        if whole % group and heads.num_key_value_heads > 1:
            continue
        slots = heads.num_key_value_heads * -(-whole // group)
        local = -(-slots // num_devices)
        cost = local * group * 2 * hidden_size + 2 * local * (hidden_size + max_length)
        if best is None or (cost, local) < best:
            best = (cost, local)
            chosen = Partition(num_devices, heads, group, local)
    return chosen
