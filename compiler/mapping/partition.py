"""How N devices share a model: heads and columns, never the inner dimension.

Every device computes whole elements of a result, so no partial sums cross
devices and a result does not depend on N. A gathered vector has the elements
of the model first and padding last, also when it is gathered in chunks: chunk
c of all devices, in device order, is one run of the model's elements.

Source: intra-layer parallelism of the LPU (IEEE Micro 2024, arXiv 2408.07326):
Q, K, V by head; output projection, FFN and LM head by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler.graph.ir import Heads, Shape, Spread
from compiler.memory_map import BURST_BYTES, CHANNELS


@dataclass(frozen=True, slots=True)
class Run:
    """`count` consecutive local rows on a device that hold consecutive source rows."""

    device: int
    local: int
    source: int
    count: int


@dataclass(frozen=True, slots=True)
class Chunks:
    """In how many pieces vectors are gathered, so that one is under way while the next is computed.

    Attributes:
        columns: (width, pieces) of vectors of that width; those not named are gathered at once.
        heads: pieces of what attention computes, in whole key/value heads.
    """

    columns: tuple[tuple[int, int], ...] = ()
    heads: int = 1

    def of(self, width: int) -> int:
        """Pieces of a vector of `width`; 0 stands for the heads."""
        return dict(self.columns).get(width, 1) if width else self.heads

    def with_count(self, width: int, count: int) -> Chunks:
        """The same but for vectors of `width`; 0 stands for the heads."""
        if not width:
            return replace(self, heads=count)
        columns = {**dict(self.columns), width: count}
        return replace(self, columns=tuple((key, columns[key]) for key in sorted(columns) if columns[key] > 1))

    @classmethod
    def parse(cls, text: str) -> Chunks:
        """What `str` wrote.

        Raises:
            ValueError: it did not write this.
        """
        counts = dict(part.split("=") for part in text.split())
        heads = int(counts.pop("heads", 1))
        found = cls(tuple((int(width), int(count)) for width, count in counts.items()), heads)
        if str(found) != text or any(width < 1 or count < 2 for width, count in found.columns):
            raise ValueError(f"{text!r} names no chunks")
        return found

    def __str__(self) -> str:
        named = [*([f"heads={self.heads}"] if self.heads > 1 else []), *(f"{w}={count}" for w, count in self.columns)]
        return " ".join(named)


AT_ONCE = Chunks()


@dataclass(frozen=True, slots=True)
class Partition:
    """The share of each device.

    A local key/value head serves `group` local query heads. Slot s holds the
    query heads [s * group, (s + 1) * group) of the model, and a copy of the
    key/value head they belong to. Slots and columns are dealt out chunk by
    chunk: of a chunk of `n` on each device, device d has [d * n, (d + 1) * n).

    Attributes:
        num_devices: N.
        heads: heads of the model.
        group: query heads per local key/value head.
        local_kv_heads: key/value heads on each device.
        chunks: the pieces of gathered vectors.
    """

    num_devices: int
    heads: Heads
    group: int
    local_kv_heads: int
    chunks: Chunks = AT_ONCE

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

    def parts(self, shape: Shape) -> tuple[int, ...]:
        """Elements on each device of the chunks in which a split value is gathered, in order."""
        if shape.spread is Spread.QUERY:
            return tuple(slots * self.group * shape.width for slots in self._slots())
        if shape.spread is Spread.CACHE:
            return tuple(slots * shape.width for slots in self._slots())
        return _pieces(self.local_size(shape), self.chunks.of(shape.size), CHANNELS)

    def first_rows(self, shape: Shape, cols: int, itemsize: int) -> tuple[int, ...]:
        """Local row at which each chunk of a parameter begins: every chunk begins at a burst of channel 0.

        A matrix has its rows behind one another; a vector, of which a burst holds
        many rows, has a gap behind each chunk but the last.
        """
        unit = CHANNELS if cols > 1 else CHANNELS * BURST_BYTES // itemsize
        chunked = shape.spread is Spread.VECTOR
        found, row = [], 0
        for length in self.parts(shape):
            row = -(-row // unit) * unit if chunked else row
            found.append(row)
            row += length
        return tuple(found)

    def _slots(self) -> tuple[int, ...]:
        return _pieces(self.local_kv_heads, self.chunks.heads, 1)

    def runs(self, shape: Shape) -> Iterator[Run]:
        """Which rows of a parameter with one row per element of `shape` each device holds."""
        if shape.spread is Spread.CACHE:
            yield from self._cache_runs()
            return
        local, size = 0, shape.size
        for length in self.parts(shape):
            for device in range(self.num_devices):
                begin = min(self.num_devices * local + device * length, size)
                count = min(length, size - begin)
                if count:
                    yield Run(device, local, begin, count)
            local += length

    def _cache_runs(self) -> Iterator[Run]:
        per_model_head = self.heads.num_attention_heads // self.heads.num_key_value_heads
        width, first = self.heads.head_dim, 0
        for count in self._slots():
            for index in range(self.num_devices * count):
                query_head = (self.num_devices * first + index) * self.group
                if query_head < self.heads.num_attention_heads:
                    device, local = divmod(index, count)
                    yield Run(device, (first + local) * width, query_head // per_model_head * width, width)
            first += count


def _pieces(count: int, wanted: int, unit: int) -> tuple[int, ...]:
    """`count` in up to `wanted` pieces of about the same size, all but the last of whole units."""
    units = -(-count // unit)
    wanted = max(1, min(wanted, units))
    sizes = [(units // wanted + (index < units % wanted)) * unit for index in range(wanted)]
    sizes[-1] -= units * unit - count
    return tuple(sizes)


def choose_partition(
    heads: Heads, num_devices: int, hidden_size: int, max_length: int, chunks: Chunks = AT_ONCE
) -> Partition:
    """The partition that streams the fewest bytes per device and token.

    Key/value heads are replicated when there are fewer of them than devices, or
    when their number does not divide. A local group divides the model's group,
    unless there is only one key/value head, so that padding comes last.
    """
    whole = heads.num_attention_heads // heads.num_key_value_heads
    best: tuple[int, int] | None = None
    chosen = Partition(num_devices, heads, whole, heads.num_key_value_heads, chunks)
    for group in range(whole, 0, -1):
        if whole % group and heads.num_key_value_heads > 1:
            continue
        slots = heads.num_key_value_heads * -(-whole // group)
        local = -(-slots // num_devices)
        cost = local * group * 2 * hidden_size + 2 * local * (hidden_size + max_length)
        if best is None or (cost, local) < best:
            best = (cost, local)
            chosen = Partition(num_devices, heads, group, local, chunks)
    return chosen
