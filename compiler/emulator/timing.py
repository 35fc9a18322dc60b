"""The clock: when each instruction of a token starts and ends on its unit.

In: a program and the latency rules of its target. Out: cycles, busy time and
stalls with their reason, per token. Numbers are not computed here; a token's
time depends on its position alone.

The model, unit by unit:
    ICP   dispatches in program order, one instruction per `issue_cycles`.
    SMA   fetches streams in program order at the rate of the HBM and runs ahead of the engines by at most
          `fifo_bytes`; cache writes are posted and take their bytes from the same rate.
    SXE   holds a matrix until its last tile: one tile per cycle, or as fast as the stream arrives.
    VXE   holds a vector for its passes.
    ESL   sends a slice through N - 1 hops.
An instruction starts when its unit is free and everything it reads is ready; a
result is ready `latency` after its unit is free again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.emulator.dataflow import Sources, trace_sources
from compiler.isa.encode import Instruction
from compiler.isa.host import Word
from compiler.isa.spec import Unit
from compiler.target.timing import Rules, Work

_OPENERS = ("rd.param", "rd.kv")
REASONS = ("issue", "operand", "stream", "link")
"""Why a unit stood still: no instruction yet, a result of another unit, memory, or another device."""

_PATH_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Slice:
    """One instruction in time: [start, end) on its unit, in cycles from the start of the token."""

    pc: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TokenTime:
    """The time of one token.

    Attributes:
        position: of the token that is fed.
        cycles: from its first instruction to its last.
        stream_bytes: moved from and to HBM by each device.
        busy: cycles per unit.
        stalls: cycles per unit and reason.
        slices: per instruction, in program order, when asked for.
    """

    position: int
    cycles: float
    stream_bytes: int
    busy: dict[Unit, float]
    stalls: dict[tuple[Unit, str], float]
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True, slots=True)
class _Path:
    """The instructions that one kind of token executes, and what each waits for."""

    pcs: tuple[int, ...]
    instructions: tuple[Instruction, ...]
    sources: tuple[Sources, ...]


class Clock:
    """Times the tokens of one program.

    Args:
        instructions: the program.
        lmu_elements: size of the vector register file.
        rules: of its target, number of devices and dtype.
    """

    def __init__(self, instructions: Sequence[Instruction], lmu_elements: int, rules: Rules) -> None:
        self.rules = rules
        self._prompt = _walk(instructions, lmu_elements, last_prompt=1)
        self._decode = _walk(instructions, lmu_elements, last_prompt=0)

    def token(self, position: int, *, prompt: bool = False, slices: bool = False) -> TokenTime:
        """The time of the token at a position; `prompt` when its logits are not needed."""
        path = self._prompt if prompt else self._decode
        return _Run(path, self.rules, position + 1).token(position, slices)

    def sources(self, token: TokenTime) -> Iterator[tuple[int, ...]]:
        """For each slice of a token, the slices whose results it waits for."""
        path = self._decode if len(token.slices) == len(self._decode.pcs) else self._prompt
        return (sources.results for sources in path.sources)

    def seconds(self, cycles: float) -> float:
        """Cycles as seconds of the target's clock."""
        return cycles / self.rules.target.clock_hz


class _Run:
    """One walk along a path at one text length."""

    def __init__(self, path: _Path, rules: Rules, length: int) -> None:
        self.path, self.rules, self.length = path, rules, length
        self.busy: dict[Unit, float] = dict.fromkeys(Unit, 0.0)
        self.stalls: dict[tuple[Unit, str], float] = {}
        self.free: dict[Unit, float] = dict.fromkeys(Unit, 0.0)
        self.ready = [0.0] * len(path.pcs)
        self.fetch_begin = [0.0] * len(path.pcs)
        self.stream_bytes = 0
        self.known: dict[tuple[object, ...], Work] = {}

    def token(self, position: int, keep: bool) -> TokenTime:
        slices: list[Slice] = []
        issued = end_of_all = 0.0
        issue_cycles = self.rules.target.timing.issue_cycles
        for index, instr in enumerate(self.path.instructions):
            issued += issue_cycles
            if instr.mnemonic in _OPENERS:
                start, end = self._open(index, instr, issued)
            else:
                start, end = self._execute(index, instr, issued)
            if instr.spec.unit is Unit.ICP:
                issued = max(issued, end)  # a branch decides what is fetched next
            end_of_all = max(end_of_all, self.ready[index], end)
            if keep:
                slices.append(Slice(self.path.pcs[index], start, end))
        return TokenTime(position, end_of_all, self.stream_bytes, self.busy, self.stalls, tuple(slices))

    def _work(self, instr: Instruction) -> Work:
        key = (instr.mnemonic, *instr.values[1:])
        work = self.known.get(key)
        if work is None:
            names = {operand.name: int(value) for operand, value in zip(instr.spec.operands, instr.values, strict=True)}
            work = self.known[key] = self.rules.work(instr.spec, lambda name: names.get(name, 0), self.length)
        return work

    def _waits(self, index: int) -> float:
        return max((self.ready[source] for source in self.path.sources[index].results), default=0.0)

    def _open(self, index: int, instr: Instruction, issued: float) -> tuple[float, float]:
        """The SMA begins to fetch; how long it takes is known once the reader has started."""
        work = self._work(instr)
        begin = max(self.free[Unit.SMA], issued, self._waits(index))
        end = begin + self.rules.stream_cycles(work.stream_bytes)
        self.fetch_begin[index] = begin
        self.free[Unit.SMA] = self.ready[index] = end
        self.busy[Unit.SMA] += end - begin
        self.stream_bytes += work.stream_bytes
        return begin, end

    def _execute(self, index: int, instr: Instruction, issued: float) -> tuple[float, float]:
        unit, work = instr.spec.unit, self._work(instr)
        if unit is Unit.SMA:
            return self._post(index, work, max(issued, self._waits(index)))
        free, operands = self.free[unit], self._waits(index)
        streams = self.path.sources[index].streams
        first = self.fetch_begin[streams[0]] + self.rules.target.timing.hbm_latency_cycles if streams else 0.0
        start = max(free, issued, operands, first)
        self._stall(unit, start - free, {"operand": operands, "stream": first, "issue": issued})
        end = max((self._arrival(stream, start) for stream in streams), default=start)
        if end > start + work.cycles:
            self._add_stall(unit, "stream", end - start - work.cycles)
        end = max(end, start + work.cycles)
        for stream in streams:
            self._release(stream, start, end)
        self.free[unit] = end
        self.busy[unit] += work.cycles
        self.ready[index] = end + work.latency
        return start, end

    def _post(self, index: int, work: Work, start: float) -> tuple[float, float]:
        """A read or write of the SMA's own: it takes its bytes from the rate of the streams."""
        own = self.rules.stream_cycles(work.stream_bytes)
        self.free[Unit.SMA] += own
        self.busy[Unit.SMA] += own
        self.stream_bytes += work.stream_bytes
        self.ready[index] = start + own + work.latency
        return start, start + own

    def _arrival(self, stream: int, start: float) -> float:
        """When the last byte of a stream reaches an engine that starts at `start`."""
        count = self._work(self.path.instructions[stream]).stream_bytes
        timing = self.rules.target.timing
        lead = start - self.fetch_begin[stream] - timing.hbm_latency_cycles
        ahead = min(max(0.0, lead) * self.rules.bytes_per_cycle, timing.fifo_bytes, count)
        return start - min(0.0, lead) + self.rules.stream_cycles(count - int(ahead))

    def _release(self, stream: int, start: float, end: float) -> None:
        """Free the SMA once the rest of a stream, read in [start, end), fits the FIFO."""
        count = self._work(self.path.instructions[stream]).stream_bytes
        room = end - (end - start) * min(1.0, self.rules.target.timing.fifo_bytes / max(1, count))
        self.free[Unit.SMA] = max(self.free[Unit.SMA], room)

    def _stall(self, unit: Unit, waited: float, causes: dict[str, float]) -> None:
        if waited > 0:
            reason = max(causes, key=lambda name: causes[name])
            self._add_stall(unit, "link" if unit is Unit.ESL and reason == "operand" else reason, waited)

    def _add_stall(self, unit: Unit, reason: str, cycles: float) -> None:
        self.stalls[unit, reason] = self.stalls.get((unit, reason), 0.0) + cycles


def _walk(instructions: Sequence[Instruction], lmu_elements: int, last_prompt: int) -> _Path:
    """Follow the branches of the first token whose position is not beyond `last_prompt`.

    With last_prompt 0 the first token is the last of the prompt and its logits are
    needed; with 1 they are not. The walk ends where the token loop closes.
    """
    registers = [0] * 32
    pcs: list[int] = []
    pc, loop_end = 0, _loop_end(instructions)
    while len(pcs) < _PATH_LIMIT:
        instr = instructions[pc]
        pcs.append(pc)
        if instr.mnemonic == "hlt" or pc == loop_end:
            break
        pc = _next(instr, pc, registers, last_prompt)
    body = tuple(instructions[pc] for pc in pcs)
    return _Path(tuple(pcs), body, tuple(trace_sources(body, lmu_elements)))


def _loop_end(instructions: Sequence[Instruction]) -> int:
    """The last jump backwards: it closes the token loop."""
    found = [pc for pc, instr in enumerate(instructions) if instr.mnemonic == "jmp" and instr.integer("target") <= pc]
    return found[-1] if found else len(instructions) - 1


def _next(instr: Instruction, pc: int, registers: list[int], last_prompt: int) -> int:
    """Execute one instruction as far as control needs it."""
    match instr.mnemonic:
        case "li":
            registers[instr.integer("dst")] = instr.integer("value")
        case "addi":
            registers[instr.integer("dst")] = registers[instr.integer("a")] + instr.integer("value")
        case "add":
            registers[instr.integer("dst")] = registers[instr.integer("a")] + registers[instr.integer("b")]
        case "rd.host":
            words = {4 * Word.LAST_PROMPT: last_prompt, 4 * Word.LAST_OUTPUT: 1 << 30}
            registers[instr.integer("dst")] = words.get(instr.integer("io"), 0)
        case "sample":
            registers[instr.integer("token")] = registers[instr.integer("stop")] = 0
        case "jmp":
            return instr.integer("target")
        case "beq" | "bne" | "blt" | "bge":
            a, b = registers[instr.integer("a")], registers[instr.integer("b")]
            taken = {"beq": a == b, "bne": a != b, "blt": a < b, "bge": a >= b}[instr.mnemonic]
            return instr.integer("target") if taken else pc + 1
    registers[0] = 0
    return pc + 1
