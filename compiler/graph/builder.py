"""Builds graphs: one method per op, which also declares the parameters it reads.

So a family's file says each tensor once, and the list of tensors a checkpoint
must have can not differ from what the program reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from compiler.checkpoint.alibi import Alibi
from compiler.checkpoint.generated import GeneratedTable, QueryScale
from compiler.checkpoint.rope import Rope
from compiler.graph.activations import softcap
from compiler.graph.ir import Cut, Graph, Heads, Node, Parameter, Plane, Shape, Spread, attributes
from compiler.isa.spec import RopeStyle
from compiler.source import SourceRef


@dataclass(frozen=True, slots=True)
class Norm:
    """A normalisation.

    Attributes:
        kind: "layernorm" or "rmsnorm".
        weight, bias: whether it has them.
        offset: added to the weight (Gemma stores weight - 1).
    """

    kind: str
    eps: float
    weight: bool = True
    bias: bool = False
    offset: float = 0.0


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
            self.prefix,
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

    def shape(self, value: str) -> Shape:
        """Shape of a value."""
        return self._shapes[value]

    def embed(self, module: str, rows: int, width: int, index: str, first_row: int = 0) -> str:
        """Row of table `module`.weight [rows, width] by "token" or "position"."""
        table = self._declare(f"{module}.weight", "embedding", (rows, width), module, first_row)
        return self._add("embed", (), self.vector(width), module, {"table": table}, index=index)

    def rotary(self, rope: Rope, positions: int, reread: bool = False) -> str:
        """Cosines and sines of this position; declares a generated table, two if long prompts have their own.

        Args:
            reread: a text that outgrows the first table is read again, all of it by the second.
        """
        shape = (positions, rope.rotary_dim)
        tables = {"table": self._generate("rotary", rope, shape)}
        limit = 0
        if rope.kind == "longrope" and positions > rope.original_positions:
            tables["long"] = self._generate("rotary", replace(rope, original_positions=0), shape)
            limit = rope.original_positions
        return self._add(
            "rotary",
            (),
            self.vector(rope.rotary_dim),
            "rotary",
            tables,
            longest=limit,
            reread=int(reread and limit > 0),
        )

    def slopes(self, alibi: Alibi) -> str:
        """Slope of each head's linear bias; declares a generated table."""
        name = self._generate("alibi", alibi, (1, len(alibi.slopes)))
        return self._add("by_head", (), Shape(Spread.QUERY, len(alibi.slopes), 1), "alibi", {"table": name})

    def sinks(self, tensor: str, module: str) -> str:
        """A score of each head that belongs to no token, from a tensor [heads]."""
        heads = self.heads.num_attention_heads
        name = self._declare(tensor, "embedding", (1, heads), module, stored_shape=(heads,))
        return self._add("by_head", (), Shape(Spread.QUERY, heads, 1), module, {"table": name})

    def scalar(self, tensor: str, module: str, stored_shape: tuple[int, ...]) -> str:
        """One number of the checkpoint."""
        return self.row(tensor, module, 1, stored_shape)

    def row(self, tensor: str, module: str, size: int, stored_shape: tuple[int, ...]) -> str:
        """A vector of the checkpoint that every device has whole."""
        name = self._declare(tensor, "embedding", (1, size), module, stored_shape=stored_shape)
        return self._add("number", (), self.vector(size), module, {"table": name}, index="none")

    def query_scale(self, scale: QueryScale, positions: int) -> str:
        """What queries at this position are multiplied by; declares a generated table."""
        name = self._generate("query_scale", scale, (positions, 1))
        return self._add("number", (), self.vector(1), "query_scale", {"table": name}, index="position")

    def linear(
        self,
        x: str,
        module: str,
        shape: Shape,
        bias: bool,
        weight_module: str = "",
        cut: Cut | None = None,
        transposed: bool = False,
    ) -> str:
        """weight @ x, then `bias` as an op of its own when there is one; `cut` says which rows of both."""
        owner = weight_module or module
        tensor = f"{owner}.weight"
        kind = self._parameters[tensor].kind if tensor in self._parameters else "weight"
        dimensions = (shape.size, self._shapes[x].size)
        weight = self._declare(tensor, kind, dimensions, owner, cut=cut, transposed=transposed)
        result = self._add("linear", (x,), shape, module, {"weight": weight})
        if bias:
            name = self._declare(f"{module}.bias", "bias", (shape.size,), module, cut=cut)
            result = self._add("bias", (result,), shape, module, {"bias": name})
        return result

    def norm(self, x: str, module: str, norm: Norm) -> str:
        """A vector, normalised."""
        return self._norm(x, module, norm, (self._shapes[x].size,))

    def head_norm(
        self, x: str, module: str, norm: Norm, over: str, stored_shape: tuple[int, ...] | None = None, parts: str = ""
    ) -> str:
        """Query or key heads, normalised.

        Args:
            over: "head": each by itself; "heads": all as one vector.
            stored_shape: of the weight; None for one weight of head_dim shared by the heads, or one vector over all.
            parts: pattern of the module of each head's own weight, with {} for the head; "" for one tensor.
        """
        shape = self._shapes[x]
        own = bool(stored_shape or parts or over == "heads")
        names = tuple(f"{module}.{parts.format(head)}" for head in range(shape.heads)) if parts else ()
        weight = (shape.size if own else shape.width,)
        return self._norm(x, module, norm, weight, over, stored_shape, names)

    def _norm(
        self,
        x: str,
        module: str,
        norm: Norm,
        shape: tuple[int, ...],
        over: str = "",
        stored_shape: tuple[int, ...] | None = None,
        parts: tuple[str, ...] = (),
    ) -> str:
        roles = {}
        for role, present in (("weight", norm.weight), ("bias", norm.bias)):
            if present:
                tensors = tuple(f"{part}.{role}" for part in parts)
                roles[role] = self._declare(
                    f"{module}.{role}", "norm", shape, module, stored_shape=stored_shape, parts=tensors
                )
        values: dict[str, int | float | str] = {"kind": norm.kind, "eps": norm.eps, "over": over}
        if norm.offset:
            values["offset"] = norm.offset
        return self._add("norm", (x,), self._shapes[x], module, roles, 1, **values)

    def act(self, x: str, function: str, module: str) -> str:
        """Activation function by its Hugging Face name."""
        return self._add("act", (x,), self._shapes[x], module, act=function)

    def add(self, a: str, b: str, module: str) -> str:
        """a + b."""
        return self._add("add", (a, b), self._shapes[a], module)

    def mul(self, a: str, b: str, module: str) -> str:
        """a * b."""
        return self._add("mul", (a, b), self._shapes[a], module)

    def scale(self, x: str, factor: float, module: str, rounded: bool = False) -> str:
        """x times a constant, which `rounded` rounds to the build's dtype first; x itself for 1."""
        if factor == 1.0:
            return x
        values: dict[str, int | float | str] = {"scale": factor}
        if rounded:
            values["rounded"] = 1
        return self._add("scale", (x,), self._shapes[x], module, {}, 1, **values)

    def softmax(self, x: str, module: str) -> str:
        """Softmax of a vector."""
        return self._add("softmax", (x,), self._shapes[x], module, scale=1.0)

    def shift(self, x: str, tensor: str, module: str) -> str:
        """x plus a vector of the checkpoint."""
        name = self._declare(tensor, "bias", (self._shapes[x].size,), module)
        return self._add("bias", (x,), self._shapes[x], module, {"bias": name})

    def rank(self, x: str, count: int, module: str, of: str = "") -> tuple[str, str]:
        """The `count` largest elements of x, or what `of` has in their places, and where they are."""
        values = self._add("rank", (x, of) if of else (x,), self.vector(count), module, outputs=2)
        return values, f"{values}.where"

    def expert_parameter(
        self,
        tensor: str,
        shape: tuple[int, ...],
        module: str,
        plane: Plane | None = None,
        transposed: bool = False,
    ) -> str:
        """Declare the matrix (rows, then columns) or the bias of one expert; returns its name."""
        kind = "weight" if len(shape) == 2 else "bias"
        return self._declare(tensor, kind, shape, module, transposed=transposed, plane=plane)

    def expert(self, x: str, chosen: str, place: int, width: int, parameters: dict[str, str], module: str) -> str:
        """weight @ x [+ bias] for the expert in one place of the chosen; `parameters` by role are all experts'."""
        return self._add("expert", (x, chosen), self.vector(width), module, parameters, place=place)

    def weigh(self, x: str, weights: str, place: int, module: str) -> str:
        """x times one element of `weights`."""
        return self._add("weigh", (x, weights), self._shapes[x], module, place=place)

    def rope(self, x: str, rotary: str, rotary_dim: int, style: RopeStyle, module: str) -> str:
        """Rotate each head of x."""
        return self._add("rope", (x, rotary), self._shapes[x], module, rotary_dim=rotary_dim, style=int(style))

    def write_cache(self, key: str, value: str, module: str) -> None:
        """Append key and value of this position to the caches of the current layer."""
        self._add("write_key", (key,), None, module, layer=self.layer)
        self._add("write_value", (value,), None, module, layer=self.layer)

    def attend(
        self,
        query: str,
        scale: float,
        module: str,
        window: int = 0,
        cap: float = 0.0,
        slopes: str = "",
        coarse: bool = False,
        sinks: str = "",
    ) -> str:
        """Attention of the query over the caches of the current layer.

        Args:
            window: most tokens it sees, 0 for all.
            cap: soft limit of the scaled scores, 0 for none.
            slopes: value of the heads' linear biases, "" for none.
            coarse: they are rounded to bfloat16 and then scaled like the scores.
            sinks: value of the heads' scores that belong to no token, "" for none; excludes slopes.
        """
        shape = Shape(Spread.SCORES, self.heads.num_attention_heads, 0)
        act = softcap(cap, scale) if cap else ""
        scores = self._add("scores", (query,), shape, module, layer=self.layer, act=act)
        values: dict[str, float] = {"scale": scale if coarse else 1.0}
        if not cap and not coarse:
            scores = self._add("scale", (scores,), shape, module, scale=scale)
        if window:
            values["window"] = window
        if coarse:
            values["coarse"] = 1
        if sinks:
            values["sink"] = 1
        by_head = slopes or sinks
        weights = self._add("softmax", (scores, by_head) if by_head else (scores,), shape, module, {}, 1, **values)
        return self._add("attend", (weights,), self.query(), module, layer=self.layer)

    def sample(self, logits: str) -> None:
        """Choose the next token."""
        self._add("sample", (logits,), None, "sample")

    def _generate(self, stem: str, table: GeneratedTable, shape: tuple[int, ...]) -> str:
        count = sum(name.startswith(stem) for name in self._parameters)
        name = f"{stem}.table" if not count else f"{stem}.table.{count + 1}"
        self._parameters[name] = Parameter(name, "table", shape, SourceRef(stem, "", -1), generated=table)
        return name

    def _declare(
        self,
        tensor: str,
        kind: str,
        shape: tuple[int, ...],
        module: str,
        first_row: int = 0,
        cut: Cut | None = None,
        transposed: bool = False,
        stored_shape: tuple[int, ...] | None = None,
        parts: tuple[str, ...] = (),
        plane: Plane | None = None,
    ) -> str:
        label = " ".join(part.label for part in (plane, cut) if part)
        name = f"{tensor}[{label}]" if label else tensor
        if name not in self._parameters:
            source = SourceRef(module, parts[0] if parts else tensor, self.layer)
            self._parameters[name] = Parameter(
                name, kind, shape, source, first_row, None, cut, transposed, stored_shape, parts, plane
            )
        return name

    def _add(
        self,
        op: str,
        inputs: Iterable[str],
        shape: Shape | None,
        module: str,
        parameters: dict[str, str] | None = None,
        outputs: int = 1,
        **values: int | float | str,
    ) -> str:
        written: tuple[str, ...] = ()
        if shape is not None:
            name = base = f"{module}:{op}"
            count = 1
            while name in self._shapes:
                count += 1
                name = f"{base}.{count}"
            written = (name, f"{name}.where")[:outputs]
            self._shapes.update(dict.fromkeys(written, shape))
        roles = tuple((parameters or {}).items())
        tensor = next((self._parameters[name].source.tensor for _, name in roles), "")
        source = SourceRef(module, tensor, self.layer)
        self._nodes.append(Node(op, tuple(inputs), written, roles, attributes(**values), source))
        return written[0] if written else ""
