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

Instruction by instruction: each op of the graph is evaluated on what the build
itself made of its inputs, in the build's dtype, so errors do not add up and the
first result that is not the op's is the one that went wrong. One unit in the
last place is allowed for another order of addition, more behind a softmax,
whose exponent magnifies it. Heads are compared together, once their attention
is done.

Tensors are read when they are used; only transformers holds the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from compiler.cli.rebuild import graph_of, stored_config
from compiler.errors import ArtifactError, HyperDexError, UsageError
from compiler.sanitize import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compiler.artifacts.reader import Build
    from compiler.dtypes import DType
    from compiler.graph.ir import Graph, Node
    from compiler.graph.reference import ReferenceExecutor
    from compiler.workspace import ModelFolder

    Vector = NDArray[np.float32]

PROMPT_TOKENS = 6
SAFETY = 4.0
"""Of what independent roundings would add up to; random weights magnify them, up to 2.2 times in a hundred models."""

HALF_ULP = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-18}
"""Relative; float32 products are added in another order by each machine, so some bits more."""

UNITS_ALLOWED = 2.5
"""Of half a unit in the last place, between an op and the instruction that computes it from the same inputs."""

UNITS_OF_ATTENTION = 32.0
"""The same behind scores and softmax: a last place of a score of some tens is a percent of its exponential."""

ORDER = 2.0**-21
"""Another order of addition in float32, relative to the product of the lengths of row and vector."""

SAME_VALUE = 2.0**-10
"""Largest relative difference of two float32 computations that are taken for the same value."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One compared vector.

    Attributes:
        what: the layer, or the instruction with its source.
        difference: largest, absolute.
        tolerance: what is allowed.
        pc: the instruction, -1 for a layer.
        magnified: whether roundings alone explain a larger difference, because every instruction is right.
    """

    what: str
    difference: float
    tolerance: float
    pc: int = -1
    magnified: bool = False

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance, or explained; NaN is neither."""
        return self.difference <= self.tolerance or (self.magnified and math.isfinite(self.difference))

    @property
    def numbers(self) -> str:
        """Difference and tolerance for people."""
        if self.passed and self.difference > self.tolerance:
            return (
                f"differs by {self.difference:.2g}, more than roundings usually add up to ({self.tolerance:.2g}); "
                "each instruction is right, so the model magnifies them or a near tie chose another expert"
            )
        return f"differs by {self.difference:.2g}, allowed is {self.tolerance:.2g}"


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
    graph = _graph(folder, build)
    vocabulary = build.manifest.vocab_size
    prompt = [(7 + 13 * index) % vocabulary for index in range(min(PROMPT_TOKENS, build.manifest.max_length - 1))]
    ideal = _executor(folder, graph, build, FLOAT32)
    for position, token in enumerate(prompt):
        ideal.step(token, position)
    run = _Run(build, graph, _executor(folder, graph, build, build.manifest.dtype), prompt)
    run.execute()
    return Outcome(tuple(_layers(folder, ideal, run, prompt)), run.diverged, run.results)


def _graph(folder: ModelFolder, build: Build) -> Graph:
    """The graph the build was lowered from, passes included."""
    plan = graph_of(stored_config(folder, build.manifest), build.manifest)
    if len(plan.graph.nodes) != len(build.debug.nodes):
        raise ArtifactError("the build was made by other passes than this version has", "compile the model again")
    return plan.graph


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


class _Run:
    """The build, stepped through beside the reference executor."""

    def __init__(self, build: Build, graph: Graph, executor: ReferenceExecutor, prompt: list[int]) -> None:
        from compiler.emulator.machine import Machine
        from compiler.emulator.session import Session

        self.machine = Machine(build, fast=False)
        self.values: dict[str, Vector] = {}
        self.diverged: Comparison | None = None
        self.results = 0
        self._executor = executor
        self._build = build
        self._graph = graph
        self._prompt = prompt
        self._writers: dict[str, int] = {}
        self._pieces: dict[str, dict[int, list[Vector]]] = {}
        self._depths: list[int] = []
        depth = 0
        for node in graph.nodes:
            depth = max(depth, node.source.layer + 1)
            self._depths.append(depth)
        Session(self.machine).start(prompt, 1, stop_ids=())

    def execute(self) -> None:
        """To the end of the prompt and its first new token."""
        loop = self._build.debug.labels.get("loop", -1)
        position = -1
        while not self.machine.halted:
            pc = self.machine.pc
            if pc == loop:
                self._hold_against_the_graph(position)
                position += 1
                if position == len(self._prompt):
                    return
            self.machine.step()
            self._collect(pc)
        self._hold_against_the_graph(position)

    def tolerance(self, node: int, reference: Vector) -> float:
        """For a value of graph node `node`."""
        import numpy as np

        roundings = 4 + 14 * self._depths[node]
        unit = HALF_ULP[self._build.manifest.dtype.name] * float(np.abs(reference).max(initial=0.0))
        return SAFETY * math.sqrt(roundings) * unit

    def _collect(self, pc: int) -> None:
        """Remember the results of an instruction by the values of the graph they belong to."""
        nodes = self._build.debug.instruction_nodes
        if not nodes or nodes[pc] < 0:
            return
        instr = self.machine.program[pc]
        for name, begin, parts in self._written(pc):
            is_copy = instr.mnemonic in ("wr.key", "wr.value", "rx")
            if is_copy:  # the value as a whole: what the pieces of the devices become
                self._pieces[name] = {}
                self._writers.setdefault(name, pc)
            else:
                self._writers[name] = pc
            self._pieces.setdefault(name, {})[begin] = parts

    def _hold_against_the_graph(self, position: int) -> None:
        """Evaluate every op of the token on the machine's own values, and compare what came of them."""
        if position < 0:
            return
        trace: dict[str, Vector] = {}
        for node in self._graph.nodes:
            if node.op == "sample":
                break
            inputs = [trace[name] for name in node.inputs]
            expected = self._executor.evaluate(node, inputs, self._prompt[position], position)
            for name, reference in zip(node.outputs, expected, strict=True):
                found = _whole(self._pieces.get(name, {}), reference.size)
                trace[name] = reference if found is None else found.reshape(reference.shape)
                if found is not None:
                    self.values[name] = found
                    self.results += 1
                    self._compare(node, name, position, found, reference.reshape(-1), inputs)
        self._pieces = {}
        self._writers = {}

    def _compare(
        self, node: Node, name: str, position: int, found: Vector, reference: Vector, inputs: list[Vector]
    ) -> None:
        import numpy as np

        difference = float(np.abs(found - reference).max())
        units = UNITS_OF_ATTENTION if node.op == "attend" else UNITS_ALLOWED
        tolerance = units * HALF_ULP[self._build.manifest.dtype.name] * float(np.abs(reference).max(initial=0.0))
        if node.op in ("linear", "expert") and self.diverged is None and not difference <= tolerance:
            role = "weight" if node.op == "linear" else f"expert.{int(inputs[1][node.integer('place')])}"
            rows = np.linalg.norm(self._executor.parameter(node.parameter(role)), axis=1)
            tolerance += ORDER * float(rows.max()) * float(np.linalg.norm(inputs[0]))
        if self.diverged is None and not difference <= tolerance:
            pc = self._writers[name]
            source = self._build.debug.node_of(pc)
            what = f"pc {pc}: {self.machine.disassemble(pc)} from {source} at token {position}"
            self.diverged = Comparison(what, difference, tolerance, pc)

    def _written(self, pc: int) -> list[tuple[str, int, list[Vector]]]:
        """Names of the values an instruction wrote to, where, and each device's part."""
        from compiler.emulator.accesses import spans

        state, instr = self.machine.state, self.machine.program[pc]
        node = self._graph.nodes[self._build.debug.instruction_nodes[pc]]
        if instr.mnemonic == "mm" and instr.integer("out"):
            self._writers[node.outputs[0]] = pc
            return []
        if instr.mnemonic in ("wr.key", "wr.value"):
            cache = state.memory.cache(state.memory.place(instr.integer("hbm")).region.name)
            at = state.registers[instr.integer("at")]
            return [(node.inputs[0], 0, [cache.token(device, at) for device in range(len(state.lmu))])]
        found = []
        for span in spans(instr):
            if span.written and not span.register:
                name = node.outputs[1 if span.operand == "sum" else 0]
                parts = [lmu[span.begin : span.begin + span.count].copy() for lmu in state.lmu]
                found.append((name, span.begin, parts))
        return found


def _whole(pieces: Mapping[int, list[Vector]], size: int) -> Vector | None:
    """The value whose pieces lie behind one another on each device; None when they hold copies of heads, or gaps."""
    import numpy as np

    begins = sorted(pieces)
    if not begins or any(first + len(pieces[first][0]) != second for first, second in pairwise(begins)):
        return None
    parts = [np.concatenate([pieces[begin][device] for begin in begins]) for device in range(len(pieces[begins[0]]))]
    length = parts[0].shape[0]
    if length >= size:
        return parts[0][:size]
    if not 0 <= length * len(parts) - size < length:
        return None
    return np.concatenate(parts)[:size]


def _layers(folder: ModelFolder, ideal: ReferenceExecutor, run: _Run, prompt: list[int]) -> list[Comparison]:
    """The last token's hidden state after every layer, and the logits."""
    import numpy as np

    states, logits = _transformers(folder, prompt)
    trace = {name: value.reshape(-1) for name, value in ideal.trace.items()}
    nodes = {name: index for index, node in enumerate(run._graph.nodes) for name in node.outputs}
    found = []
    rounding_alone = run.diverged is None and run._build.manifest.dtype.name != "float32"
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


def _config(folder: ModelFolder) -> dict[str, Any]:
    import json

    try:
        loaded = json.loads((folder.ckpt / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder.ckpt}/config.json cannot be read: {error}", "compile the model again") from None
    return loaded if isinstance(loaded, dict) else {}


def _transformers(folder: ModelFolder, prompt: list[int]) -> tuple[list[Vector], Vector]:
    """Hidden states (embedding first) and logits of the last token, float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    config = _config(folder)
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
