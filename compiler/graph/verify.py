"""The graph verifier: is this graph legal? A separate reading of the op table.

Raises VerificationError, for a graph is ours and so is the mistake.
"""

from __future__ import annotations

from compiler.errors import VerificationError
from compiler.graph.ir import Graph, Node, Parameter, Shape, Spread, format_node
from compiler.graph.ops import OPS


def verify_graph(graph: Graph, verified: Graph | None = None) -> None:
    """Check every node against the op table, widths, and the order of values and caches.

    Args:
        verified: a legal graph with the same shapes and parameters; nodes that it has, too, are checked for their
            order only.

    Raises:
        VerificationError: naming the node and the rule it breaks.
    """
    parameters = {parameter.name: parameter for parameter in graph.parameters}
    written: set[str] = set()
    caches: set[tuple[str, int]] = set()
    known = {id(node) for node in verified.nodes} if verified else set()
    for node in graph.nodes:
        new = id(node) not in known
        problem = _table_problem(node, parameters) if new else ""
        problem = problem or _order_problem(node, graph, written, caches)
        problem = problem or (_width_problem(node, graph, parameters) if new else "")
        if problem:
            raise VerificationError(f"graph of {graph.architecture}: {format_node(node, graph.shapes)}: {problem}")
        written.update(node.outputs)
        if node.op in ("write_key", "write_value"):
            caches.add((node.op, node.integer("layer")))
    unused = set(parameters) - {name for node in graph.nodes for _, name in node.parameters}
    if unused:
        raise VerificationError(f"graph of {graph.architecture}: unused parameters {sorted(unused)[:8]}")
    if sum(node.op == "sample" for node in graph.nodes) != 1 or graph.nodes[-1].op != "sample":
        raise VerificationError(f"graph of {graph.architecture}: it must end in its only sample")


def _table_problem(node: Node, parameters: dict[str, Parameter]) -> str:
    spec = OPS.get(node.op)
    if spec is None:
        return "unknown op"
    more = len(node.inputs) - len(spec.inputs)
    if more not in (0, bool(spec.optional_input)) or len(node.outputs) != spec.outputs:
        return f"{len(node.inputs)} inputs and {len(node.outputs)} outputs"
    if node.op == "linear" and more != (node.integer("rotary_dim") > 0):
        return f"{len(node.inputs)} inputs and {node.integer('rotary_dim')} rotated elements"
    roles = [role for role, _ in node.parameters]
    kinds = {role.partition(".")[0] for role in roles}  # expert.0, expert.1 and so on
    if len(set(roles)) != len(roles) or not set(spec.required) <= kinds <= {*spec.required, *spec.optional}:
        return f"parameter roles {roles}"
    if any(name not in parameters for _, name in node.parameters):
        return "an undeclared parameter"
    keys = {key for key, _ in node.attributes}
    if not set(spec.attributes) <= keys <= {*spec.attributes, *spec.optional_attributes}:
        return f"attributes {sorted(keys)}"
    return ""


def _order_problem(node: Node, graph: Graph, written: set[str], caches: set[tuple[str, int]]) -> str:
    for name in node.inputs:
        if name not in written:
            return f"{name} is read before it is written"
    for name in node.outputs:
        if name in written:
            return f"{name} is written twice"
        if name not in graph.shapes:
            return f"{name} has no shape"
    spec = OPS[node.op]
    spreads = (*spec.inputs, spec.optional_input)
    for shape, allowed in zip((graph.shapes[name] for name in node.inputs), spreads, strict=False):
        if shape.spread not in allowed:
            return f"an input is {shape}"
    layer = node.integer("layer", -1)
    if node.op == "scores" and ("write_key", layer) not in caches:
        return f"reads keys of layer {layer} before this token's key is written"
    if node.op == "attend" and ("write_value", layer) not in caches:
        return f"reads values of layer {layer} before this token's value is written"
    return ""


def _width_problem(node: Node, graph: Graph, parameters: dict[str, Parameter]) -> str:
    shapes = [graph.shapes[name] for name in node.inputs]
    outputs = [graph.shapes[name] for name in node.outputs]
    expected = _expected_outputs(node, graph, shapes, parameters)
    if expected is not None and [shape.size for shape in outputs] != expected:
        return f"outputs are {[str(shape) for shape in outputs]}, sizes {expected} follow from the inputs"
    if node.op in ("expert", "weigh") and not 0 <= node.integer("place") < shapes[1].size:
        return f"place {node.integer('place')} of {shapes[1]}"
    if len(shapes) == 2 and node.op in ("add", "mul", "add_norm", "rank") and shapes[0] != shapes[1]:
        return f"inputs are {shapes[0]} and {shapes[1]}"
    if node.op == "softmax" and len(shapes) == 2 and shapes[1] != Shape(Spread.QUERY, shapes[0].heads, 1):
        return f"the slopes or sinks of {shapes[0].heads} heads are {shapes[1]}"
    width = outputs[0].size if outputs else 0
    for role, name in node.parameters:
        norm = node.op in ("norm", "add_norm")
        if role != "bias" and not (role == "weight" and norm):
            continue
        shared = norm and node.text("over") == "head" and parameters[name].shape == (outputs[0].width,)
        if parameters[name].shape != (width,) and not shared:
            return f"{role} {name} has shape {parameters[name].shape}, not ({width},)"
    if node.op == "norm" and (node.text("over") in ("head", "heads")) == (shapes[0].spread is Spread.VECTOR):
        return f"{shapes[0]} is normalised over {node.text('over') or 'all'!r}"
    return ""


def _ranked(node: Node, graph: Graph) -> int:
    """How many elements a ranking keeps: no more than there are."""
    return min(graph.shapes[node.outputs[0]].size, graph.shapes[node.inputs[0]].size)


def _expected_outputs(
    node: Node, graph: Graph, shapes: list[Shape], parameters: dict[str, Parameter]
) -> list[int] | None:
    if node.op in ("embed", "rotary", "by_head", "number"):
        return [parameters[node.parameter("table")].shape[1]]
    if node.op == "linear":
        rows, cols = parameters[node.parameter("weight")].shape
        return [rows] if cols == shapes[0].size else [-1]
    if node.op == "expert":
        matrix = parameters[node.parameter("expert.0")].shape
        expected = {"expert": matrix, "bias": matrix[:1]}
        alike = all(parameters[name].shape == expected[role.partition(".")[0]] for role, name in node.parameters)
        return [matrix[0]] if alike and matrix[1] == shapes[0].size else [-1]
    if node.op == "rank":
        return [_ranked(node, graph), _ranked(node, graph)]
    if node.op == "weigh":
        return [shapes[0].size]
    if node.op == "scores":
        return [0]
    if node.op == "attend":
        return [graph.heads.num_attention_heads * graph.heads.head_dim]
    if node.op in ("write_key", "write_value"):
        wanted = Shape(Spread.CACHE, graph.heads.num_key_value_heads, graph.heads.head_dim)
        return [] if shapes[0] == wanted else [-1]
    if node.op == "sample":
        return [] if shapes[0].size == graph.vocab_size else [-1]
    return [shapes[0].size] * len(node.outputs)
