"""The intermediate representation: values, parameters, nodes, graph.

A graph describes one decode step at one position. Nodes are in program order;
every value is written once, by the node that names it in `outputs`. Caches are
the only state: `write_key` and `write_value` append to them, `scores` and
`attend` read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from compiler.checkpoint.generated import GeneratedTable
from compiler.source import SourceRef

NO_SOURCE = SourceRef()


class Spread(Enum):
    """What a value is made of, which decides how devices share it.

    VECTOR: one vector, split by columns. QUERY, CACHE: one vector per query or
    key/value head, split by heads. SCORES: one number per token and query head.
    """

    VECTOR = "vector"
    QUERY = "query"
    CACHE = "cache"
    SCORES = "scores"


@dataclass(frozen=True, slots=True)
class Shape:
    """Shape of a value: `heads` vectors of `width` elements; width 0 is one per token."""

    spread: Spread
    heads: int
    width: int

    @property
    def size(self) -> int:
        """Elements of the whole value, all heads together."""
        return self.heads * self.width

    def __str__(self) -> str:
        width = "tokens" if self.spread is Spread.SCORES else str(self.width)
        return f"{self.spread.value}[{width}]" if self.heads == 1 else f"{self.spread.value}[{self.heads} x {width}]"


@dataclass(frozen=True, slots=True)
class Cut:
    """Which rows of a checkpoint tensor a parameter is: `count` of every `period`, from `first` on.

    A fused projection is several parameters, each a cut of the same tensor.

    Attributes:
        label: tells the cuts of one tensor apart.
        tensor_rows: rows of the whole tensor, a multiple of `period`.
    """

    label: str
    first: int
    count: int
    period: int
    tensor_rows: int

    def pieces(self, row: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Rows [row, row + count) of the parameter as runs (offset from `row`, row of the tensor, length)."""
        done = 0
        while done < count:
            group, inside = divmod(row + done, self.count)
            length = min(self.count - inside, count - done)
            yield done, group * self.period + self.first + inside, length
            done += length

    def parameter_row(self, tensor_row: int) -> int:
        """The row of the parameter that is this row of the tensor."""
        group, inside = divmod(tensor_row, self.period)
        return group * self.count + inside - self.first


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the matrix or the bias of one expert is, in a tensor that holds those of all.

    Attributes:
        index: place in the first dimension of the tensor, which has `count`.
        part: what its outputs are, "" when they are all of the plane.
        first, step: they are every `step`-th of the plane's from `first` on.
        outputs: those of the plane, 0 for as many as it has itself.
    """

    index: int
    count: int
    part: str = ""
    first: int = 0
    step: int = 1
    outputs: int = 0

    @property
    def label(self) -> str:
        """Tells the planes of one tensor apart."""
        return f"{self.index} {self.part}" if self.part else str(self.index)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A tensor the graph reads, or a part of one.

    Attributes:
        name: Hugging Face tensor name, with the label of a part behind it; a name of our own for a generated table.
        kind: "embedding", "weight", "bias", "norm" or "table".
        shape: rows, then columns; vectors have one dimension.
        source: module and tensor.
        first_row: rows of the tensor to skip (OPT's position table).
        generated: for a table, what to compute it from; nothing is read.
        cut: the rows of the tensor that it is, None for all.
        transposed: the tensor is stored as columns, then rows.
        stored_shape: of a tensor stored in other dimensions, None for `shape`.
        parts: tensors whose rows, one behind the other, are the parameter; () for one tensor.
        plane: the part of a tensor of all experts that it is, before any cut; None for no such tensor.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    source: SourceRef
    first_row: int = 0
    generated: GeneratedTable | None = None
    cut: Cut | None = None
    transposed: bool = False
    stored_shape: tuple[int, ...] | None = None
    parts: tuple[str, ...] = ()
    plane: Plane | None = None

    @property
    def tensors(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of the checkpoint tensors it is read from."""
        if self.generated is not None:
            return ()
        if self.parts:
            return tuple((part, (self.shape[0] // len(self.parts), *self.shape[1:])) for part in self.parts)
        shape = self.shape if self.stored_shape is None else self.stored_shape
        if self.cut is not None:
            shape = (self.cut.tensor_rows, *shape[1:])
        if self.plane is not None:
            shape = (self.plane.outputs or shape[0], *shape[1:])
        shape = shape[::-1] if self.transposed else shape
        return ((self.source.tensor, (self.plane.count, *shape) if self.plane is not None else shape),)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        op: name of a row of `graph.ops.OPS`.
        inputs: values read, in the order of the op's table row.
        outputs: values written.
        parameters: parameters read, by role ("weight", "bias", "table").
        attributes: numbers and names the op needs, sorted by key.
        source: where in the model it comes from.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, int | float | str], ...] = ()
    source: SourceRef = NO_SOURCE

    def parameter(self, role: str) -> str:
        """Name of the parameter in a role, "" when there is none."""
        return dict(self.parameters).get(role, "")

    def text(self, key: str) -> str:
        """A string attribute, "" when absent."""
        return str(dict(self.attributes).get(key, ""))

    def number(self, key: str, default: float = 0.0) -> float:
        """A numeric attribute."""
        return float(dict(self.attributes).get(key, default))

    def integer(self, key: str, default: int = 0) -> int:
        """An integer attribute."""
        return int(dict(self.attributes).get(key, default))

    @property
    def name(self) -> str:
        """Name for listings: the first output, or op and module."""
        return self.outputs[0] if self.outputs else f"{self.source.module}.{self.op}"


@dataclass(frozen=True, slots=True)
class Heads:
    """Attention heads of the model."""

    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class Graph:
    """One decode step of a model.

    Attributes:
        nodes: in program order.
        shapes: shape of every value.
        parameters: in the order of first use.
        heads: the attention heads.
        num_layers, vocab_size, max_positions: as in the config.
        prefix: the part of tensor names that some checkpoints leave out.
        renames: beginnings of tensor names, and what some checkpoints have in their place.
    """

    architecture: str
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    parameters: tuple[Parameter, ...]
    heads: Heads
    num_layers: int
    vocab_size: int
    max_positions: int
    prefix: str = ""
    renames: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str) -> Parameter:
        """The parameter called `name`; KeyError when there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)


def attributes(**values: int | float | str) -> tuple[tuple[str, int | float | str], ...]:
    """Attributes as a node stores them; empty strings are left out."""
    return tuple(sorted((key, value) for key, value in values.items() if value != ""))


def format_node(node: Node, shapes: Mapping[str, Shape]) -> str:
    """One line of a graph listing."""
    results = ", ".join(f"{name}: {shapes[name]}" for name in node.outputs)
    operands = [*node.inputs, *(f"{role}={name}" for role, name in node.parameters)]
    operands += [f"{key}={value}" for key, value in node.attributes]
    return f"{results + ' = ' if results else ''}{node.op}({', '.join(operands)})"
