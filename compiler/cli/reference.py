"""`hyperdex verify --reference`: does the program compute what transformers computes?

Three machines are fed the same tokens: transformers in float32, the reference
executor of the graph in float32 on the checkpoint's tensors, and the build on
the emulator, one instruction at a time. transformers' hidden state after each
layer must be a value of the graph; every result of an instruction must be the
graph's value within the tolerance of the build's dtype.

Tolerance: a value behind L layers has passed at most 4 + 14 * L roundings. They
are independent, so their sum grows with the square root: SAFETY times that, in
units of half a unit in the last place of the largest element, is allowed.
Working builds stay below a third of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.cli.rebuild import graph_of, stored_config
from compiler.errors import ArtifactError, HyperDexError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compiler.artifacts.reader import Build
    from compiler.graph.ir import Graph
    from compiler.graph.reference import ReferenceExecutor
    from compiler.workspace import ModelFolder

    Vector = NDArray[np.float32]

PROMPT_TOKENS = 6
SAFETY = 1.0
HALF_ULP = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-18}
"""Relative; float32 products are added in another order by each machine, so some bits more."""

SAME_VALUE = 2.0**-10
"""Largest relative difference of two float32 computations that are taken for the same value."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One compared vector.

    Attributes:
        what: the layer, or the instruction with its source.
        difference: largest, absolute.
        tolerance: what is allowed.
    """

    what: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.difference <= self.tolerance

    @property
    def numbers(self) -> str:
        """Difference and tolerance for people."""
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


def reference_checks(folder: ModelFolder, name: str) -> list[tuple[str, bool, str]]:
    """The comparison as lines of `hyperdex verify`: name, whether it passed, what was found."""
    try:
        outcome = compare_with_transformers(folder, name)
    except HyperDexError as error:
        return [("reference", False, str(error))]
    lines = [(each.what.replace(" ", "."), each.passed, each.numbers) for each in outcome.layers]
    worst = outcome.diverged
    if worst is None:
        return [*lines, ("results", True, f"{outcome.results:,} results of instructions within the tolerance")]
    return [*lines, ("results", False, f"the first that is not: {worst.what}: {worst.numbers}")]


def compare_with_transformers(folder: ModelFolder, name: str) -> Outcome:
    """Run all three on a fixed prompt.

    Raises:
        ArtifactError: the build, or the converted model beside it, cannot be read.
        UnsupportedModelError, UsageError: the config is not one this compiler handles.
    """
    from compiler.artifacts.reader import open_build

    build = open_build(folder.param(name), folder.inst(name))
    graph = _graph(folder, build)
    vocabulary = build.manifest.vocab_size
    prompt = [(7 + 13 * index) % vocabulary for index in range(min(PROMPT_TOKENS, build.manifest.max_length - 1))]
    run = _Run(build, graph, _executor(folder, graph, build.manifest.max_length), prompt)
    run.execute()
    return Outcome(tuple(_layers(folder, build, run, prompt)), run.diverged, run.results)


def _graph(folder: ModelFolder, build: Build) -> Graph:
    """The graph the build was lowered from, passes included."""
    plan = graph_of(stored_config(folder, build.manifest), build.manifest)
    if len(plan.graph.nodes) != len(build.debug.nodes):
        raise ArtifactError("the build was made by other passes than this version has", "compile the model again")
    return plan.graph


def _executor(folder: ModelFolder, graph: Graph, max_length: int) -> ReferenceExecutor:
    import numpy as np

    from compiler.checkpoint.binary import open_model
    from compiler.dtypes import FLOAT32
    from compiler.graph.reference import ReferenceExecutor
    from compiler.rounding import to_float32

    tensors = open_model(folder.ckpt)

    def load(name: str) -> Vector:
        parameter = graph.parameter(name)
        arrays = [to_float32(tensors.array(tensor), tensors.dtype(tensor)) for tensor, _ in parameter.tensors]
        whole = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        whole = whole.T if parameter.transposed else whole
        if parameter.cut is not None:
            groups = whole.reshape(-1, parameter.cut.period, *whole.shape[1:])
            whole = groups[:, parameter.cut.first : parameter.cut.first + parameter.cut.count]
        if parameter.kind == "embedding":  # position tables have rows in front that no token uses
            return np.ascontiguousarray(whole)
        return np.ascontiguousarray(whole).reshape(parameter.shape)

    return ReferenceExecutor(graph, load, FLOAT32, max_length)


class _Run:
    """The build, stepped through beside the reference executor."""

    def __init__(self, build: Build, graph: Graph, executor: ReferenceExecutor, prompt: list[int]) -> None:
        from compiler.emulator.machine import Machine
        from compiler.emulator.session import Session

        self.machine = Machine(build, fast=False)
        self.executor = executor
        self.values: dict[str, Vector] = {}
        self.diverged: Comparison | None = None
        self.results = 0
        self._build = build
        self._graph = graph
        self._prompt = prompt
        self._writers: dict[str, int] = {}
        self._depths: list[int] = []
        depth = 0
        for node in graph.nodes:
            depth = max(depth, node.source.layer + 1)
            self._depths.append(depth)
        Session(self.machine).start(prompt, 1, stop_ids=())

    def execute(self) -> None:
        """To the end of the program."""
        loop = self._build.debug.labels.get("loop", -1)
        position = -1
        while not self.machine.halted:
            pc = self.machine.pc
            if pc == loop:
                position += 1
                if position == len(self._prompt):
                    return
                self.executor.step(self._prompt[position], position)
            self.machine.step()
            self._check(pc, position)

    def tolerance(self, node: int, reference: Vector) -> float:
        """For a value of graph node `node`."""
        import numpy as np

        roundings = 4 + 14 * self._depths[node]
        unit = HALF_ULP[self._build.manifest.dtype.name] * float(np.abs(reference).max(initial=0.0))
        return SAFETY * math.sqrt(roundings) * unit

    def _check(self, pc: int, position: int) -> None:
        index = self._build.debug.instruction_nodes[pc] if self._build.debug.instruction_nodes else -1
        if index < 0 or position < 0:
            return
        node, instr = self._graph.nodes[index], self.machine.program[pc]
        if node.op in ("scores", "scale", "softmax", "attend", "sample", "by_head", "number"):
            return  # head by head, of growing length: what they make of a wrong input shows behind them
        for name, parts in self._written(pc):
            reference = self.executor.trace[name].reshape(-1)
            found = _whole(parts, reference.shape[0])
            if found is None:
                continue
            self.values[name] = found
            self.results += 1
            producer = pc
            if instr.mnemonic in ("wr.key", "wr.value"):
                producer = self._writers.get(name, pc)
            elif instr.mnemonic != "rx":
                self._writers[name] = pc
            self._compare(producer, position, found, reference)

    def _compare(self, pc: int, position: int, found: Vector, reference: Vector) -> None:
        import numpy as np

        difference = float(np.abs(found - reference).max())
        tolerance = self.tolerance(self._build.debug.instruction_nodes[pc], reference)
        if self.diverged is None and not difference <= tolerance:
            source = self._build.debug.node_of(pc)
            what = f"pc {pc}: {self.machine.disassemble(pc)} from {source} at token {position}"
            self.diverged = Comparison(what, difference, tolerance)

    def _written(self, pc: int) -> list[tuple[str, list[Vector]]]:
        """Names of the values an instruction finished, and each device's part."""
        from compiler.emulator.accesses import spans

        state, instr = self.machine.state, self.machine.program[pc]
        node = self._graph.nodes[self._build.debug.instruction_nodes[pc]]
        if instr.mnemonic == "mm" and instr.integer("out"):
            self._writers[node.outputs[0]] = pc
            return []
        if instr.mnemonic in ("wr.key", "wr.value"):
            cache = state.memory.cache(state.memory.place(instr.integer("hbm")).region.name)
            at = state.registers[instr.integer("at")]
            return [(node.inputs[0], [cache.token(device, at) for device in range(len(state.lmu))])]
        found = []
        for span in spans(instr):
            if span.written and not span.register:
                name = node.outputs[1 if span.operand == "sum" else 0]
                found.append((name, [lmu[span.begin : span.begin + span.count].copy() for lmu in state.lmu]))
        return found


def _whole(parts: list[Vector], size: int) -> Vector | None:
    """The value whose parts the devices hold; None when they hold copies of heads or only pieces."""
    import numpy as np

    length = parts[0].shape[0]
    if length >= size:
        return parts[0][:size]
    if not 0 <= length * len(parts) - size < length:
        return None
    return np.concatenate(parts)[:size]


def _layers(folder: ModelFolder, build: Build, run: _Run, prompt: list[int]) -> list[Comparison]:
    """The last token's hidden state after every layer, and the logits."""
    import numpy as np

    states, logits = _transformers(folder, prompt)
    trace = {name: value.reshape(-1) for name, value in run.executor.trace.items()}
    nodes = {name: index for index, node in enumerate(run._graph.nodes) for name in node.outputs}
    found = []
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
        found.append(Comparison(what, difference, run.tolerance(nodes[name], expected)))
    return found


def _transformers(folder: ModelFolder, prompt: list[int]) -> tuple[list[Vector], Vector]:
    """Hidden states (embedding first) and logits of the last token, float32."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder.ckpt, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        ).eval()
    except (OSError, ValueError) as error:
        raise ArtifactError(f"transformers cannot read {folder.ckpt}: {str(error).splitlines()[0][:200]}") from None
    with torch.inference_mode():
        output = model(torch.tensor([prompt]), output_hidden_states=True, use_cache=False)
    return [state[0, -1].numpy() for state in output.hidden_states], output.logits[0, -1].numpy()
