"""The op table: which operations a graph may hold, and what each one takes.

Numbers: every op computes in float32 and rounds each output once.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.graph.ir import Spread

_V, _Q, _C, _S = Spread.VECTOR, Spread.QUERY, Spread.CACHE, Spread.SCORES


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One row.

    Attributes:
        inputs: for each input the spreads it may have; `optional_input` may follow.
        outputs: number of values written.
        required, optional: roles of parameters.
        attributes: keys that must be present; `optional_attributes` may be.
        elementwise: output element i depends on element i of the inputs only.
        synopsis: meaning.
    """

    name: str
    inputs: tuple[tuple[Spread, ...], ...]
    outputs: int
    synopsis: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    optional_attributes: tuple[str, ...] = ()
    optional_input: tuple[Spread, ...] = ()
    elementwise: bool = False


_ANY = (_V, _Q, _C)

OPS: dict[str, OpSpec] = {
    spec.name: spec
    for spec in (
        OpSpec("embed", (), 1, "Row of a table, by token or position.", required=("table",), attributes=("index",)),
        OpSpec(
            "rotary",
            (),
            1,
            "Cosines and sines of this position; from `long` when the prompt has more than `longest` tokens. With "
            "`reread` a text that grows beyond them is a prompt from then on, which begins anew.",
            required=("table",),
            optional=("long",),
            attributes=("longest", "reread"),
        ),
        OpSpec("by_head", (), 1, "One number for each query head.", required=("table",)),
        OpSpec(
            "number",
            (),
            1,
            "The only row of the table, or the one of this position, whole on every device.",
            required=("table",),
            attributes=("index",),
        ),
        OpSpec(
            "linear",
            ((_V, _Q),),
            1,
            "weight @ x [+ bias] [rotated] [act]. A second input is the rotary row.",
            required=("weight",),
            optional=("bias",),
            optional_attributes=("act", "style", "rotary_dim"),
            optional_input=(_V,),
        ),
        OpSpec("bias", (_ANY,), 1, "x + bias.", required=("bias",), elementwise=True),
        OpSpec("act", (_ANY,), 1, "Activation function.", attributes=("act",), elementwise=True),
        OpSpec("add", ((_V,), (_V,)), 1, "a + b.", elementwise=True),
        OpSpec("mul", ((_V,), (_V,)), 1, "a * b.", elementwise=True),
        OpSpec(
            "norm",
            (_ANY,),
            1,
            "Layer or RMS normalisation with weight + offset; of a vector, of each head, or of all heads as one.",
            optional=("weight", "bias"),
            attributes=("kind", "eps"),
            optional_attributes=("offset", "over"),
        ),
        OpSpec(
            "add_norm",
            ((_V,), (_V,)),
            2,
            "sum = a + b, and its normalisation; outputs are (normalised, sum).",
            optional=("weight", "bias"),
            attributes=("kind", "eps"),
            optional_attributes=("offset",),
        ),
        OpSpec("rope", ((_Q, _C), (_V,)), 1, "Rotate each head by the rotary row.", attributes=("style", "rotary_dim")),
        OpSpec("write_key", ((_C,),), 0, "Append to the key cache of a layer.", attributes=("layer",)),
        OpSpec("write_value", ((_C,),), 0, "Append to the value cache of a layer.", attributes=("layer",)),
        OpSpec(
            "scores",
            ((_Q,),),
            1,
            "query . key for every cached token [act].",
            attributes=("layer",),
            optional_attributes=("act",),
        ),
        OpSpec(
            "scale",
            ((_S, _V),),
            1,
            "Times a constant, which `rounded` rounds to the build's dtype first.",
            attributes=("scale",),
            optional_attributes=("rounded",),
        ),
        OpSpec(
            "rank",
            ((_V,),),
            2,
            "The largest elements, in descending order, and where they are; with a second input its elements there.",
            optional_input=(_V,),
        ),
        OpSpec(
            "expert",
            ((_V,), (_V,)),
            1,
            "weight of the chosen expert @ x [+ its bias] [act]; the second input says which are chosen, `place` which "
            "of these.",
            required=("expert",),
            optional=("bias",),
            attributes=("place",),
            optional_attributes=("act",),
        ),
        OpSpec("weigh", ((_V, _Q), (_V,)), 1, "x times element `place` of the second input.", attributes=("place",)),
        OpSpec(
            "softmax",
            ((_S, _V),),
            1,
            "Softmax of scale * x [+ slope * token], over a vector or over the last `window` cached tokens, all "
            "without one. A second input holds the slopes; a coarse bias is rounded to bfloat16, then scaled too. Or, "
            "with `sink`, it holds a score of each head that takes its share and belongs to no token.",
            attributes=("scale",),
            optional_attributes=("window", "coarse", "sink"),
            optional_input=(_Q,),
        ),
        OpSpec("attend", ((_S,),), 1, "Sum of cached values weighted by probability.", attributes=("layer",)),
        OpSpec("sample", ((_V,),), 0, "Choose the next token from the logits."),
    )
}
