"""One turn of a program's token loop, timed by the scheduler's clock at any position.

In: a program, before or after its LMU addresses are chosen, and the latency rules of its target. Out: cycles, busy
time and stalls of a token. Control is decided by what lowering keeps in its registers, not executed.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from compiler.isa.encode import Instruction
from compiler.isa.spec import Unit
from compiler.program.demand import UNITS, Demand, Kinds, Scoreboard, integer, operands_of
from compiler.program.predict import Prediction
from compiler.program.virtual import Label, Register, VirtualInstruction
from compiler.target.timing import Rules

_HELD: dict[int, int] = {
    Register.ZERO: 0,
    Register.POSITION: 1,
    Register.LENGTH: 2,
    Register.STOP: 0,
    Register.LAST_OUTPUT: 1 << 30,
}
"""Registers in the second turn of the token loop."""

_TAKEN = {"beq": operator.eq, "bne": operator.ne, "blt": operator.lt, "bge": operator.ge}
_BRANCHES = ("jmp", *_TAKEN)
_SXE, _ICP = UNITS.index(Unit.SXE), UNITS.index(Unit.ICP)


class Times(NamedTuple):
    """One instruction in time, in cycles from the start of the token; see `Prediction`.

    Attributes:
        streams: that it reads, by the place of their openers in the path.
    """

    issue: int
    start: int
    end: int
    ready: int
    streams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TokenPrediction:
    """One turn of a program's token loop.

    Attributes:
        pcs: of its instructions.
        demands: of each of them; numbers are places in the path.
        busy: cycles per unit; with its stalls they make `cycles`.
        stalls: cycles per unit and reason; "end" when nothing is left to do.
    """

    pcs: tuple[int, ...]
    demands: tuple[Demand, ...]
    prediction: Prediction
    cycles: int
    stream_bytes: int
    busy: dict[Unit, int]
    stalls: dict[tuple[Unit, str], int]

    @property
    def times(self) -> tuple[Times, ...]:
        """When each instruction took place."""
        placed = self.prediction
        columns = placed.issue, placed.start, placed.end, placed.ready
        return tuple(map(Times, *columns, [demand.streams for demand in self.demands]))


class TokenPath:
    """One turn of a program's token loop, to be predicted at several positions.

    Args:
        prompt: the token's logits are not needed.
        stands_for: by pc, how many instructions of a longer program each one is counted for; () for itself alone.
            Then cycles, bytes and stalls are those of the longer program, whose units all take equally long for
            what is counted more than once.
    """

    def __init__(
        self,
        instructions: Sequence[Instruction | VirtualInstruction],
        labels: Mapping[str, int],
        rules: Rules,
        *,
        prompt: bool = False,
        stands_for: Sequence[int] = (),
    ) -> None:
        self._pcs = tuple(token_path(instructions, labels, prompt=prompt))
        self._rules, self._kinds = rules, Kinds()
        board = Scoreboard(self._kinds)
        self._demands = tuple([board.show(who, instructions[pc]) for who, pc in enumerate(self._pcs)])
        self._counts = [stands_for[pc] if stands_for else 1 for pc in self._pcs]
        self._works = self._kinds.works(rules, 1)
        self._of_kind = [0] * len(self._works)
        self._units = [0] * len(self._works)
        for demand, count in zip(self._demands, self._counts, strict=True):
            self._of_kind[demand.kind] += count
            self._units[demand.kind] = demand.unit

    def at(self, position: int) -> TokenPrediction:
        """The token at a position."""
        works = self._kinds.works(self._rules, position + 1, self._works)
        prediction = Prediction(self._rules, works, len(self._pcs))
        for who, demand in enumerate(self._demands):
            prediction.place(who, demand)
        busy = [0] * len(UNITS)
        for unit, count, work in zip(self._units, self._of_kind, works, strict=True):
            busy[unit] += count * work.cycles
        busy[_ICP] = self._rules.target.timing.issue_cycles * sum(self._counts)
        stalls: dict[tuple[Unit, str], int] = {}
        stalled = [0] * len(UNITS)
        for wait in prediction.waits:
            cycles = self._counts[wait.who] * wait.cycles
            key = UNITS[wait.unit], wait.reason
            stalls[key] = stalls.get(key, 0) + cycles
            stalled[wait.unit] += cycles
        # The SXE is never idle for all of a layer, so that it tells how long one takes.
        cycles = busy[_SXE] + stalled[_SXE] + prediction.cycles - prediction.free[_SXE]
        for place, idle in enumerate(UNITS):
            if rest := cycles - busy[place] - stalled[place]:
                stalls[idle, "end"] = rest
        stream_bytes = sum(count * work.stream_bytes for count, work in zip(self._of_kind, works, strict=True))
        per_unit = dict(zip(UNITS, busy, strict=True))
        return TokenPrediction(self._pcs, self._demands, prediction, cycles, stream_bytes, per_unit, stalls)


def predict_token(
    instructions: Sequence[Instruction | VirtualInstruction],
    labels: Mapping[str, int],
    rules: Rules,
    position: int,
    *,
    prompt: bool = False,
) -> TokenPrediction:
    """Predict the token at a position from a program alone; `prompt` when its logits are not needed."""
    return TokenPath(instructions, labels, rules, prompt=prompt).at(position)


def token_path(
    instructions: Sequence[Instruction | VirtualInstruction], labels: Mapping[str, int], *, prompt: bool
) -> list[int]:
    """The instructions of a token in the middle of a prompt, or in the middle of the new tokens.

    Control is decided by what lowering keeps in its registers, not executed; without a token loop the path runs
    from the first instruction.
    """
    control = {
        pc: operands_of(instr)[1] for pc, instr in enumerate(instructions) if instr.mnemonic in (*_BRANCHES, "li")
    }

    def target(pc: int) -> int:
        value = control[pc]["target"]
        return labels[value.name] if isinstance(value, Label) else integer(control[pc], "target")

    loops = [pc for pc in control if instructions[pc].mnemonic == "jmp" and target(pc) <= pc]
    end = loops[-1] if loops else len(instructions) - 1
    pc = target(end) if loops else 0
    loaded = {
        integer(given, "dst"): integer(given, "value")
        for at, given in control.items()
        if at < pc and instructions[at].mnemonic == "li"
    }
    held: dict[int, int] = {**loaded, **_HELD, Register.LAST_PROMPT: 2 if prompt else 0}
    path: list[int] = []
    while pc <= end and len(path) <= len(instructions):
        mnemonic = instructions[pc].mnemonic
        path.append(pc)
        if pc == end or mnemonic == "hlt":
            break
        taken = mnemonic == "jmp"
        if mnemonic in _TAKEN:
            given = control[pc]
            taken = _TAKEN[mnemonic](held.get(integer(given, "a"), 0), held.get(integer(given, "b"), 0))
        pc = target(pc) if taken else pc + 1
    return path
