"""The debugger: breakpoints, steps by instruction, op, layer or token, and why the machine stopped.

In: a machine and a prompt. Out: `Stopped`, and tokens with their candidates.
It drives the machine through its public face and changes nothing in it, so a
run that was stopped anywhere goes on to the same result, bit for bit.

An op is stepped over to behind its last instruction, a layer to the first
instruction of the next one (prefetched streams of later layers do not begin
it), a token to the head of the token loop. None of the three steps over a
breakpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cached_property

import numpy as np

from compiler.debug_info import LayerBegin, layer_begins
from compiler.debug_records import BREAK_KINDS, GRANULARITIES, NAMED_SITES, Breakpoint, Candidate, Stopped, Token
from compiler.emulator.accesses import spans
from compiler.emulator.arithmetic import Vector
from compiler.emulator.machine import Machine, Stop
from compiler.emulator.path import loop_end
from compiler.emulator.session import GREEDY, SamplingParameters, Session, step_budget
from compiler.emulator.state import EngineVector
from compiler.emulator.views import Snapshot, changed_ranges, changed_registers, inputs, outputs, snapshot
from compiler.errors import MachineFault, UsageError
from compiler.isa.instructions import BY_MNEMONIC
from compiler.isa.spec import Effect, Kind

TOP_CANDIDATES = 5
LMU_RANGES = 64
"""Most changed ranges that one `Stopped` names."""

_WATCHES: dict[str, Callable[[Vector], bool]] = {
    "nan": lambda values: bool(np.isnan(values).any()),
    "inf": lambda values: bool(np.isinf(values).any()),
}


class Reason(Enum):
    """Why the machine stands still."""

    READY = "ready"
    STEP = "step"
    BREAKPOINT = "breakpoint"
    INTERRUPTED = "interrupted"
    HALTED = "halted"
    FAULT = "fault"


_Outcome = tuple[Reason, tuple[int, ...], str]
"""Reason, numbers of the breakpoints, detail."""

_STEPPED: _Outcome = (Reason.STEP, (), "")


class Debugger:
    """One machine under observation.

    Attributes:
        machine: what runs.
        tokens: generated since `start`.
        device: whose values `Stopped` shows; an index among the machine's devices.

    Args:
        machine: any machine; its breakpoints become the debugger's own.
        on_token: called with every token when the device has written it.
        on_progress: asked often while the machine runs; it decides what to do with it.
    """

    def __init__(
        self,
        machine: Machine,
        on_token: Callable[[Token], None] | None = None,
        on_progress: Callable[[], None] | None = None,
    ) -> None:
        self.machine = machine
        self.tokens: list[Token] = []
        self.device = 0
        self._session = Session(machine)
        self._on_token = on_token or (lambda _token: None)
        self._on_progress = on_progress or (lambda: None)
        self._breakpoints: dict[int, tuple[Breakpoint, frozenset[int]]] = {}
        self._numbers = 0
        self._logits: dict[int, Vector] = {}
        self._prompt_tokens = 0
        self._budget = 0
        self._stops: frozenset[int] = frozenset()
        self._interrupt = False
        self._before = snapshot(machine.state)

    # breakpoints

    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """All, in the order in which they were set."""
        return tuple(each for each, _ in self._breakpoints.values())

    def add_breakpoint(self, kind: str, value: str = "") -> Breakpoint:
        """Set a breakpoint.

        Args:
            kind: one of BREAK_KINDS.
            value: index of an instruction, mnemonic, layer, or part of a tensor's or module's name; "" for nan and inf.

        Raises:
            UsageError: nothing in the program matches, or the kind is none.
            ArtifactError: the debug information cannot be read.
        """
        value = value.strip()
        pcs = self._find(kind, value)
        self._numbers += 1
        found = Breakpoint(self._numbers, kind, value, len(pcs), tuple(sorted(pcs)[:NAMED_SITES]))
        self._breakpoints[found.number] = (found, pcs)
        return found

    def remove_breakpoint(self, number: int) -> None:
        """Remove one.

        Raises:
            UsageError: there is none of that number.
        """
        if number not in self._breakpoints:
            raise UsageError(f"there is no breakpoint {number}", "list them first")
        del self._breakpoints[number]

    def _find(self, kind: str, value: str) -> frozenset[int]:
        machine, count = self.machine, len(self.machine.program)
        match kind:
            case "pc":
                pc = _number(value.removeprefix("@"))
                if pc is None or not 0 <= pc < count:
                    raise UsageError(f"pc {value[:40]!r} is none of 0 to {count - 1}")
                return frozenset({pc})
            case "opcode":
                if value not in BY_MNEMONIC:
                    raise UsageError(f"{value[:40]!r} is no opcode", "hyperdex disasm shows those of the program")
                found = machine.find(mnemonic=value)
            case "layer":
                layer = _number(value)
                begins = [each.begin for each in self._layer_begins if each.layer == layer]
                if layer is None or not begins:
                    last = max((each.layer for each in self._layer_begins), default=-1)
                    raise UsageError(f"layer {value[:40]!r} is none of 0 to {last}")
                found = tuple(begins)
            case "tensor":
                if not value:
                    raise UsageError("the name of a tensor is empty", "give a part of it")
                found = machine.find(tensor=value)
            case "nan" | "inf":
                return frozenset()
            case _:
                raise UsageError(f"{kind[:40]!r} is no kind of breakpoint", f"there are {', '.join(BREAK_KINDS)}")
        if not found:
            raise UsageError(f"no instruction matches {kind} {value[:80]!r}")
        return frozenset(found)

    # start, step, run

    @property
    def started(self) -> bool:
        """Whether there is a prompt to run."""
        return self._prompt_tokens > 0

    def start(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        parameters: SamplingParameters = GREEDY,
        stop_ids: Sequence[int] | None = None,
    ) -> Stopped:
        """Reset the machine and put a prompt in; nothing runs yet. Breakpoints stay.

        Raises:
            UsageError: an argument is out of range; the machine is as it was.
        """
        self._session.start(prompt_ids, max_new_tokens, parameters, stop_ids)
        self.machine.observe_samples(self._observe)
        self.tokens = []
        self._logits = {}
        self._prompt_tokens = len(prompt_ids)
        self._budget = step_budget(self.machine, len(prompt_ids), max_new_tokens)
        self._stops = frozenset(self.machine.host.stop_tokens())
        self._before = snapshot(self.machine.state)
        return self.describe(Reason.READY)

    def step(self, granularity: str = "instruction", count: int = 1) -> Stopped:
        """Step `count` times, or until something else stops the machine.

        Raises:
            UsageError: there is no prompt, or no such granularity.
            ArtifactError: ops and layers need debug information that cannot be read.
        """
        if granularity not in GRANULARITIES:
            raise UsageError(f"{granularity[:40]!r} is no step", f"there are {', '.join(GRANULARITIES)}")
        if count < 1:
            raise UsageError(f"{count} steps, at least 1 is possible")
        self._begin()
        reason, hits, detail = _STEPPED
        while count and reason is Reason.STEP:
            if granularity == "instruction":
                reason, hits, detail = self._go(most=count)
                break
            reason, hits, detail = self._go(self._borders(granularity))
            count -= 1
        return self._end(reason, hits, detail)

    def run(self, *, breakpoints: bool = True) -> Stopped:
        """Run to a breakpoint or to the end.

        Args:
            breakpoints: False: run past them.

        Raises:
            UsageError: there is no prompt.
        """
        self._begin()
        return self._end(*self._go(watch=breakpoints))

    def interrupt(self) -> None:
        """Stop the run that goes on, between two instructions; may be called by a signal handler or a thread."""
        self._interrupt = True

    def _begin(self) -> None:
        if not self.started:
            raise UsageError("there is no prompt to run", "start with one")
        self._before = snapshot(self.machine.state)

    def _end(self, reason: Reason, hits: tuple[int, ...], detail: str) -> Stopped:
        self._interrupt = False
        return self.describe(reason, hits, detail)

    def describe(self, reason: Reason, hits: tuple[int, ...] = (), detail: str = "") -> Stopped:
        """The machine as it stands, on the chosen device, compared with the last stop."""
        machine, device = self.machine, self.device
        ranges, changed = changed_ranges(machine.state, self._before, device)
        return Stopped(
            reason=reason.value,
            detail=detail,
            hits=hits,
            pc=machine.pc,
            last_pc=machine.last_pc,
            steps=machine.steps,
            position=self.position,
            tokens=len(self.tokens),
            prompt_tokens=self._prompt_tokens,
            device=device,
            registers=machine.registers,
            changed_registers=changed_registers(machine.state, self._before),
            inputs=inputs(machine, machine.pc, device) if not machine.halted else (),
            outputs=outputs(machine, machine.last_pc, device),
            lmu_changed=ranges[:LMU_RANGES],
            lmu_changed_count=changed,
        )

    @property
    def before(self) -> Snapshot:
        """The state at the last stop."""
        return self._before

    @property
    def position(self) -> int:
        """Position of the token that is fed: what the program indexes the prompt with."""
        register = self._position_register
        return self.machine.registers[register] if register >= 0 else 0

    # inside

    def _go(self, borders: frozenset[int] = frozenset(), *, most: int = 0, watch: bool = True) -> _Outcome:
        """Run until a breakpoint, one of `borders`, or `most` instructions."""
        machine = self.machine
        if machine.halted:
            return Reason.HALTED, (), ""
        sites = frozenset().union(*(pcs for _, pcs in self._breakpoints.values())) if watch else frozenset()
        watches = [each for each, _ in self._breakpoints.values() if watch and each.kind in _WATCHES]
        machine.breakpoints = set(sites | borders)
        first = machine.steps
        try:
            while True:
                left = self._budget - machine.steps
                if left <= 0:
                    return Reason.FAULT, (), str(machine.fault(machine.pc, "no end: the program loops"))
                left = min(left, most - (machine.steps - first)) if most else left
                stop = machine.run(1 if watches else left, until_output=True, interrupted=self._asked)
                self._take_outputs()
                if watches and (hits := self._seen(watches)):
                    return Reason.BREAKPOINT, hits, ""
                if stop is Stop.HALTED:
                    return Reason.HALTED, (), ""
                if machine.pc in machine.breakpoints and machine.steps > first:
                    return self._at_site(machine.pc)
                if stop is Stop.INTERRUPTED:
                    return Reason.INTERRUPTED, (), ""
                if most and machine.steps - first >= most:
                    return _STEPPED
        except MachineFault as fault:
            return Reason.FAULT, (), str(fault)
        finally:
            machine.breakpoints = set()

    def _asked(self) -> bool:
        self._on_progress()
        return self._interrupt

    def _at_site(self, pc: int) -> _Outcome:
        hits = tuple(number for number, (_, pcs) in self._breakpoints.items() if pc in pcs)
        return (Reason.BREAKPOINT, hits, "") if hits else _STEPPED

    def _seen(self, watches: list[Breakpoint]) -> tuple[int, ...]:
        """Which of `watches` see what the last instruction wrote, on any device."""
        machine = self.machine
        if machine.last_pc < 0:
            return ()
        instr = machine.program[machine.last_pc]
        written: list[Vector] = []
        for span in (each for each in spans(instr) if each.written):
            count = span.elements(machine.registers)
            written += [lmu[span.begin : span.begin + count] for lmu in machine.state.lmu]
        for operand in instr.spec.operands:
            if operand.kind is Kind.STREAM and operand.effect is Effect.WRITE:
                stream = machine.state.streams[instr.integer(operand.name)]
                written += stream.vectors if isinstance(stream, EngineVector) else []
        return tuple(each.number for each in watches if any(_WATCHES[each.kind](values) for values in written))

    def _observe(self, logits: Vector, index: int) -> None:
        self._logits[index] = logits

    def _take_outputs(self) -> None:
        """Tokens that the device has written since the last look.

        Raises:
            MachineFault: one is outside the vocabulary, or its logits were never sampled.
        """
        machine, host = self.machine, self.machine.host
        while len(self.tokens) < host.outputs:
            index = len(self.tokens)
            token_id, logits = host.output(index), self._logits.pop(index, None)
            if logits is None or token_id >= len(logits):
                raise machine.fault(machine.last_pc, f"output {index} is {token_id}, which was not sampled")
            self.tokens.append(_token(index, token_id, self._prompt_tokens + index, logits))
            self._on_token(self.tokens[-1])

    @property
    def finish_reason(self) -> str:
        """Why the text ended: "stop" or "length"."""
        return "stop" if self.tokens and self.tokens[-1].token_id in self._stops else "length"

    # where things begin and end

    def _borders(self, granularity: str) -> frozenset[int]:
        """Where a step ends, from the machine's pc on."""
        if granularity == "token":
            return self._loop_heads
        if granularity == "layer":
            return frozenset(each.begin for each in self._layer_begins) | self._loop_heads
        node = self._node_index(self.machine.pc)
        if node < 0:
            return self._node_begins | self._loop_heads
        return frozenset({self._node_ends[node]}) | self._loop_heads

    @cached_property
    def _loop_heads(self) -> frozenset[int]:
        """The head of the token loop: where its last jump backwards leads."""
        end = loop_end(self.machine.program)
        return frozenset({self.machine.program[end].integer("target")} if end >= 0 else ())

    @cached_property
    def _layer_begins(self) -> tuple[LayerBegin, ...]:
        """Where each layer begins; -1 behind the last one's end."""
        return layer_begins(self.machine.build.debug)[1:]

    @cached_property
    def _node_ends(self) -> dict[int, int]:
        """Node -> the instruction behind its last one."""
        nodes = self.machine.build.debug.instruction_nodes
        return {node: pc + 1 for pc, node in enumerate(nodes) if node >= 0}

    @cached_property
    def _node_begins(self) -> frozenset[int]:
        """First instruction of every node."""
        begins: dict[int, int] = {}
        for pc, node in enumerate(self.machine.build.debug.instruction_nodes):
            begins.setdefault(node, pc)
        return frozenset(pc for node, pc in begins.items() if node >= 0)

    def _node_index(self, pc: int) -> int:
        nodes = self.machine.build.debug.instruction_nodes
        return nodes[pc] if 0 <= pc < len(nodes) else -1

    @cached_property
    def _position_register(self) -> int:
        """The register that indexes the prompt; -1 when the program reads none."""
        begin = self.machine.host.layout.input
        found = (
            instr.integer("index")
            for instr in self.machine.program
            if instr.mnemonic == "rd.host" and instr.integer("io") == begin
        )
        return next(found, -1)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _token(index: int, token_id: int, position: int, logits: Vector) -> Token:
    """A token with its probability and the best candidates; ties go to the smaller id."""
    scores = logits.astype(np.float64)
    peak = float(scores.max())
    total = float(np.exp(scores - peak).sum()) if math.isfinite(peak) else math.nan

    def probability(score: float) -> float:
        return math.exp(score - peak) / total if math.isfinite(score) and total == total else 0.0

    count = min(TOP_CANDIDATES, len(scores))
    threshold = np.partition(scores, -count)[-count]
    best = np.flatnonzero(scores >= threshold)
    best = best[np.argsort(-scores[best], kind="stable")][:count]
    chosen = float(scores[token_id])
    return Token(
        index=index,
        token_id=token_id,
        position=position,
        probability=probability(chosen),
        rank=int((scores > chosen).sum()),
        candidates=tuple(Candidate(int(each), probability(float(scores[each]))) for each in best),
    )
