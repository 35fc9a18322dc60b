"""The intermediate representation: values, parameters, nodes, graph.

A graph describes one decode step at one position. Nodes are in program order;
every value is written once, by the node that names it in `outputs`. Caches are
the only state: `write_key` and `write_value` append to them, `scores` and
`attend` read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from compiler.checkpoint.rope import Rope
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
class Parameter:
    """A tensor the graph reads.

    Attributes:
        name: Hugging Face tensor name, or a name of our own for a generated table.
        kind: "embedding", "weight", "bias", "norm" or "table".
        shape: rows, then columns; vectors have one dimension.
        source: module and tensor.
        aliases: other spellings under which checkpoints hold it.
        first_row: rows of the tensor to skip (OPT's position table).
        rope: for a table, the rotation to compute it from; nothing is read.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    source: SourceRef
    aliases: tuple[str, ...] = ()
    first_row: int = 0
    rope: Rope | None = None


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
    """

    architecture: str
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    parameters: tuple[Parameter, ...]
    heads: Heads
    num_layers: int
    vocab_size: int
    max_positions: int

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


def format_graph(graph: Graph) -> str:
    """A listing of the graph, one node a line."""
    return "\n".join(format_node(node, graph.shapes) for node in graph.nodes) + "\n"
