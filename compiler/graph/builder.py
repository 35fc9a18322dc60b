"""Builds graphs: one method per op, which also declares the parameters it reads.

So a family's file says each tensor once, and the list of tensors a checkpoint
must have can not differ from what the program reads.
"""

from __future__ import annotations

from collections.abc import Iterable

from compiler.checkpoint.rope import Rope
from compiler.graph.ir import Graph, Heads, Node, Parameter, Shape, Spread, attributes
from compiler.isa.spec import RopeStyle
from compiler.source import SourceRef


class GraphBuilder:
    """Collects nodes in program order.

    Args:
        architecture: Hugging Face class name.
        heads: attention heads, for the shapes of queries, keys and values.
        prefix: the part of tensor names that some checkpoints leave out, e.g. "model.".
    """

    def __init__(self, architecture: str, heads: Heads, prefix: str = "") -> None:
        self.architecture = architecture
        self.heads = heads
        self.prefix = prefix
        self.layer = -1
        self._nodes: list[Node] = []
        self._shapes: dict[str, Shape] = {}
        self._parameters: dict[str, Parameter] = {}

    def finish(self, num_layers: int, vocab_size: int, max_positions: int) -> Graph:
        """The graph of everything added so far."""
        return Graph(
            self.architecture,
            tuple(self._nodes),
            dict(self._shapes),
            tuple(self._parameters.values()),
            self.heads,
            num_layers,
            vocab_size,
            max_positions,
        )

    def vector(self, width: int) -> Shape:
        """Shape of a plain vector."""
        return Shape(Spread.VECTOR, 1, width)

    def query(self) -> Shape:
        """Shape of all query heads."""
        return Shape(Spread.QUERY, self.heads.num_attention_heads, self.heads.head_dim)

    def cache(self) -> Shape:
        """Shape of all key or value heads."""
        return Shape(Spread.CACHE, self.heads.num_key_value_heads, self.heads.head_dim)

    def embed(self, module: str, rows: int, width: int, index: str, first_row: int = 0) -> str:
        """Row of table `module`.weight [rows, width] by "token" or "position"."""
        table = self._declare(f"{module}.weight", "embedding", (rows, width), module, first_row)
        return self._add("embed", (), self.vector(width), module, {"table": table}, index=index)

    def rotary(self, rope: Rope, positions: int) -> str:
        """Cosines and sines of this position; declares a generated table."""
        name = "rotary.table"
        source = SourceRef("rotary", "", -1)
        self._parameters[name] = Parameter(name, "table", (positions, rope.rotary_dim), source, rope=rope)
        return self._add("rotary", (), self.vector(rope.rotary_dim), "rotary", {"table": name})

    def linear(self, x: str, module: str, shape: Shape, bias: bool, weight_module: str = "") -> str:
        """weight @ x, then `bias` as an op of its own when there is one."""
        owner = weight_module or module
        weight_shape = (shape.size, self._shapes[x].size)
        kind = self._parameters[f"{owner}.weight"].kind if f"{owner}.weight" in self._parameters else "weight"
        weight = self._declare(f"{owner}.weight", kind, weight_shape, owner)
        result = self._add("linear", (x,), shape, module, {"weight": weight})
        if bias:
            name = self._declare(f"{module}.bias", "bias", (shape.size,), module)
            result = self._add("bias", (result,), shape, module, {"bias": name})
        return result

    def norm(self, x: str, module: str, kind: str, eps: float, weight: bool = True, bias: bool = False) -> str:
        """ "layernorm" or "rmsnorm" of x."""
        width = self._shapes[x].size
        roles = {}
        if weight:
            roles["weight"] = self._declare(f"{module}.weight", "norm", (width,), module)
        if bias:
            roles["bias"] = self._declare(f"{module}.bias", "norm", (width,), module)
        return self._add("norm", (x,), self._shapes[x], module, roles, kind=kind, eps=eps)

    def act(self, x: str, function: str, module: str) -> str:
        """Activation function by its Hugging Face name."""
        return self._add("act", (x,), self._shapes[x], module, act=function)

    def add(self, a: str, b: str, module: str) -> str:
        """a + b."""
        return self._add("add", (a, b), self._shapes[a], module)

    def mul(self, a: str, b: str, module: str) -> str:
        """a * b."""
        return self._add("mul", (a, b), self._shapes[a], module)

    def rope(self, x: str, rotary: str, rotary_dim: int, style: RopeStyle, module: str) -> str:
        """Rotate each head of x."""
        return self._add("rope", (x, rotary), self._shapes[x], module, rotary_dim=rotary_dim, style=int(style))

    def write_cache(self, key: str, value: str, module: str) -> None:
        """Append key and value of this position to the caches of the current layer."""
        self._add("write_key", (key,), None, module, layer=self.layer)
        self._add("write_value", (value,), None, module, layer=self.layer)

    def attend(self, query: str, scale: float, module: str) -> str:
        """Attention of the query over the caches of the current layer."""
        shape = Shape(Spread.SCORES, self.heads.num_attention_heads, 0)
        scores = self._add("scores", (query,), shape, module, layer=self.layer)
        scaled = self._add("scale", (scores,), shape, module, scale=scale)
        weights = self._add("softmax", (scaled,), shape, module, scale=1.0)
        return self._add("attend", (weights,), self.query(), module, layer=self.layer)

    def sample(self, logits: str) -> None:
        """Choose the next token."""
        self._add("sample", (logits,), None, "sample")

    def _declare(self, name: str, kind: str, shape: tuple[int, ...], module: str, first_row: int = 0) -> str:
        if name not in self._parameters:
            bare = name.removeprefix(self.prefix)
            aliases = (bare,) if bare != name else ()
            source = SourceRef(module, name, self.layer)
            self._parameters[name] = Parameter(name, kind, shape, source, aliases, first_row)
        return name

    def _add(
        self,
        op: str,
        inputs: Iterable[str],
        shape: Shape | None,
        module: str,
        parameters: dict[str, str] | None = None,
        **values: int | float | str,
    ) -> str:
        outputs: tuple[str, ...] = ()
        if shape is not None:
            name = base = f"{module}:{op}"
            count = 1
            while name in self._shapes:
                count += 1
                name = f"{base}.{count}"
            self._shapes[name] = shape
            outputs = (name,)
        roles = tuple((parameters or {}).items())
        tensor = next((self._parameters[name].source.tensor for _, name in roles), "")
        source = SourceRef(module, tensor, self.layer)
        self._nodes.append(Node(op, tuple(inputs), outputs, roles, attributes(**values), source))
        return outputs[0] if outputs else ""
