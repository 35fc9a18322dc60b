"""`hyperdex verify --reference`: does the program compute what transformers computes?

Three machines are fed the same tokens: transformers in float32, the reference
executor of the graph, and the build on the emulator, one instruction at a time.

Layer by layer: transformers' hidden state must be a value of the graph in
float32, and the build's value must be the same within the roundings behind it.
A value behind L layers has passed at most 4 + 14 * L; they are independent, so
their sum grows with the square root: SAFETY times that, in units of half a unit
in the last place of the largest element, is allowed. More is allowed to a 16-bit
build whose instructions are all right: weights can magnify a rounding, and where
two experts are nearly tied it chooses the other.

Instruction by instruction: see `cli.stepped`.

Tensors are read when they are used; only transformers holds the whole model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.checkpoint.config import load_config
from compiler.cli.rebuild import graph_of, stored_config
from compiler.cli.stepped import Comparison, SteppedRun
from compiler.errors import ArtifactError, HyperDexError, UsageError
from compiler.sanitize import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compiler.artifacts.reader import Build
    from compiler.dtypes import DType
    from compiler.graph.ir import Graph
    from compiler.graph.reference import ReferenceExecutor
    from compiler.planning import Plan
    from compiler.workspace import ModelFolder

    Vector = NDArray[np.float32]

PROMPT_TOKENS = 6

SAME_VALUE = 2.0**-10
"""Largest relative difference of two float32 computations that are taken for the same value."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the comparison found.

    Attributes:
        layers: hidden state after each layer, against transformers.
        diverged: the first instruction whose result leaves the tolerance, None when there is none.
        results: how many results of instructions were compared.
    """

    layers: tuple[Comparison, ...]
    diverged: Comparison | None
    results: int


def reference_checks(folder: ModelFolder, name: str) -> list[tuple[str, bool, str, int]]:
    """The comparison as lines of `hyperdex verify`: name, whether it passed, what was found, instruction or -1."""
    try:
        outcome = compare_with_transformers(folder, name)
    except HyperDexError as error:
        return [("reference", False, str(error), -1)]
    lines = [(each.what.replace(" ", "."), each.passed, each.numbers, -1) for each in outcome.layers]
    worst = outcome.diverged
    if worst is None:
        return [*lines, ("results", True, f"{outcome.results:,} results of instructions within the tolerance", -1)]
    return [*lines, ("results", False, f"the first that is not: {worst.what}: {worst.numbers}", worst.pc)]


def compare_with_transformers(folder: ModelFolder, name: str) -> Outcome:
    """Run all three on a fixed prompt.

    Raises:
        ArtifactError: the build, or the converted model beside it, cannot be read.
        UnsupportedModelError, UsageError: the config is not one this compiler handles.
    """
    from compiler.artifacts.reader import open_build
    from compiler.dtypes import FLOAT32

    build = open_build(folder.param(name), folder.inst(name))
    plan = _plan(folder, build)
    graph = plan.graph
    vocabulary = build.manifest.vocab_size
    prompt = [(7 + 13 * index) % vocabulary for index in range(min(PROMPT_TOKENS, build.manifest.max_length - 1))]
    ideal = _executor(folder, graph, build, FLOAT32)
    for position, token in enumerate(prompt):
        ideal.step(token, position)
    executor = _executor(folder, graph, build, build.manifest.dtype)
    run = SteppedRun(build, graph, plan.mapping.partition, executor, prompt)
    run.execute()
    return Outcome(tuple(_layers(folder, ideal, run, prompt)), run.diverged, run.results)


def _plan(folder: ModelFolder, build: Build) -> Plan:
    """The plan the build was lowered from: its graph, passes included, and its partition."""
    plan = graph_of(stored_config(folder, build.manifest), build.manifest)
    if len(plan.graph.nodes) != len(build.debug.nodes):
        raise ArtifactError("the build was made by other passes than this version has", "compile the model again")
    return plan


def _executor(folder: ModelFolder, graph: Graph, build: Build, dtype: DType) -> ReferenceExecutor:
    """Evaluates the graph on the converted model's tensors, each read when it is used."""
    import numpy as np

    from compiler.checkpoint.binary import open_model
    from compiler.graph.reference import ReferenceExecutor
    from compiler.rounding import to_float32

    tensors = open_model(folder.ckpt)

    def load(name: str) -> Vector:
        parameter = graph.parameter(name)
        arrays = [tensors.array(tensor) for tensor, _ in parameter.tensors]
        dtypes = [tensors.dtype(tensor) for tensor, _ in parameter.tensors]
        plane = parameter.plane
        if plane is not None:  # one expert of a stacked tensor: the others stay where they are
            arrays = [array[plane.index] for array in arrays]
        parts = [to_float32(array, kind) for array, kind in zip(arrays, dtypes, strict=True)]
        whole = np.concatenate(parts) if len(parts) > 1 else parts[0]
        whole = whole.T if parameter.transposed else whole
        whole = whole[plane.first :: plane.step][: parameter.shape[0]] if plane is not None else whole
        if parameter.cut is not None:
            groups = whole.reshape(-1, parameter.cut.period, *whole.shape[1:])
            whole = groups[:, parameter.cut.first : parameter.cut.first + parameter.cut.count]
        if parameter.kind == "embedding":  # position tables have rows in front that no token uses
            return np.ascontiguousarray(whole).reshape(-1, parameter.shape[-1])
        return np.ascontiguousarray(whole).reshape(parameter.shape)

    return ReferenceExecutor(graph, load, dtype, build.manifest.max_length, keep=False)


def _layers(folder: ModelFolder, ideal: ReferenceExecutor, run: SteppedRun, prompt: list[int]) -> list[Comparison]:
    """The last token's hidden state after every layer, and the logits."""
    import numpy as np

    states, logits = _transformers(folder, prompt)
    trace = {name: value.reshape(-1) for name, value in ideal.trace.items()}
    nodes = {name: index for index, node in enumerate(run.graph.nodes) for name in node.outputs}
    found = []
    rounding_alone = run.diverged is None and run.build.manifest.dtype.name != "float32"
    named = [*((f"layer {index}", state) for index, state in enumerate(states[1:])), ("logits", logits)]
    for what, expected in named:
        candidates = [name for name, value in trace.items() if value.shape == expected.shape and name in run.values]
        name = min(candidates, key=lambda each: float(np.abs(trace[each] - expected).max()), default="")
        scale = float(np.abs(expected).max(initial=0.0))
        if not name or float(np.abs(trace[name] - expected).max()) > SAME_VALUE * scale:
            nearest = float(np.abs(trace[name] - expected).max()) if name else math.inf
            found.append(Comparison(f"{what}: the graph has no such value", nearest, SAME_VALUE * scale))
            continue
        difference = float(np.abs(run.values[name] - expected).max())
        found.append(Comparison(what, difference, run.tolerance(nodes[name], expected), magnified=rounding_alone))
    return found


def _transformers(folder: ModelFolder, prompt: list[int]) -> tuple[list[Vector], Vector]:
    """Hidden states (embedding first) and logits of the last token, float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    config = load_config(folder.ckpt)
    wrapped = isinstance(config.get("text_config"), dict) and "vision_config" in config
    kind = AutoModelForImageTextToText if wrapped else AutoModelForCausalLM
    # eager is the plain one, but that of Falcon adds linear biases twice
    attention = "sdpa" if config.get("model_type") == "falcon" else "eager"
    try:
        model = kind.from_pretrained(
            folder.ckpt, dtype=torch.float32, attn_implementation=attention, local_files_only=True
        ).eval()
    except (OSError, ValueError) as error:
        raise ArtifactError(f"transformers cannot read {folder.ckpt}: {_first_line(error)}") from None
    if choose := getattr(model, "set_experts_implementation", None):
        choose("eager")  # the grouped product refuses sizes that are no multiple of 16 bytes
    try:
        with torch.inference_mode():
            output = model(torch.tensor([prompt]), output_hidden_states=True, use_cache=False)
    except RuntimeError as error:
        raise UsageError(f"transformers cannot run {folder.ckpt}: {_first_line(error)}") from None
    return [state[0, -1].numpy() for state in output.hidden_states], output.logits[0, -1].numpy()


def _first_line(error: Exception) -> str:
    """What a library complains of, in one printable line."""
    return one_line(next(iter(str(error).splitlines()), type(error).__name__), 200)
