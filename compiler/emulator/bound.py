"""A plan bound to storage: the tape that runs it for a number of lanes.

It does to the machine what stepping through its piece does, bit for bit, or
nothing at all: it says no before anything happened, and when a fault comes up
it takes back what it wrote to the caches. The machine then steps, and the
fault is found where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from compiler.emulator.accesses import Extent
from compiler.emulator.arguments import aligned_zeros
from compiler.emulator.arithmetic import Vector
from compiler.emulator.binding import Binding
from compiler.emulator.caches import Cache
from compiler.emulator.lanes import Lane
from compiler.emulator.plan import Plan, operands_of
from compiler.emulator.schedule import Node
from compiler.emulator.semantics import SEMANTICS
from compiler.emulator.state import State
from compiler.emulator.tape import Row, assemble
from compiler.emulator.trap import Trap
from compiler.emulator.versions import Version
from compiler.isa.spec import REGISTER_COUNT

_Piece = tuple[int, int, int, Extent | None, int]
"""LMU element, count, address, how many a register says, offset in the version that it is a piece of."""


class BoundPlan:
    """A plan with storage for a number of lanes.

    Attributes:
        lanes: one per token.
        storage: float32 [lanes, devices, elements].
        calls: what runs it: tapes, and between them what `semantics` does lane by lane.
    """

    def __init__(self, plan: Plan, state: State, count: int) -> None:
        self.plan = plan
        self._state = state
        self.storage: Vector = aligned_zeros((count, len(state.lmu), plan.elements))
        self.lanes = [Lane(state, list(rows)) for rows in self.storage]
        self._registers: NDArray[np.int64] = np.zeros((count, REGISTER_COUNT), dtype=np.int64)
        self._renamed = {pc: operands_of(plan.program[pc]) for pc in range(plan.begin, plan.end)}
        for node in plan.schedule.nodes:
            for (pc, name), (version, offset) in node.operands.items():
                setattr(self._renamed[pc], name, version.address + offset)
        self.calls = self._bind()
        self._entry = [(each.begin, each.begin + each.count, each.address) for each in plan.schedule.entry]
        self._shown = _merged(plan.schedule.shown)
        self._sliding = {extent for _, _, _, extent, _ in self._shown if extent and extent.last}
        self._writes = [(*self._write_of(pc), operands_of(plan.program[pc]).at) for pc in plan.cache_writes]

    def _bind(self) -> list[Callable[[], None]]:
        """Calls in the order of execution: tapes, and between them nodes for which there is no operation.

        Raises:
            Trap: a node would fault whatever the registers are.
        """
        kernel = self._state.memory.kernel
        code = kernel.tape_code(self._state.memory.memory_map.dtype)
        packed_from = code.packed_from if code is not None else 0
        self._binding = Binding(self.plan.program, self._renamed, self.lanes, self.storage, packed_from)
        calls: list[Callable[[], None]] = []
        pending: list[list[Row]] = []

        def flush() -> None:
            if pending and code is not None:
                tape = assemble(pending, code.operations)
                run = partial(kernel.run_tape, code, tape, self._registers)
                calls.append(partial(_run_tape, run, self._binding))
                pending.clear()

        for level in self._levels():
            phases: list[list[Row]] = []
            stepped: list[Node] = []
            for member, node in enumerate(level):
                rows = self._binding.rows(node, member) if code is not None else None
                if rows is None:
                    stepped.append(node)
                    continue
                phases += [[] for _ in range(len(rows) - len(phases))]
                for phase, more in zip(phases, rows, strict=False):
                    phase += more
            pending += phases
            if stepped:
                flush()
                calls += [self._stepped(node) for node in stepped]
        flush()
        return calls

    def _levels(self) -> list[list[Node]]:
        """Nodes that do not depend on each other, in the order of execution."""
        levels: dict[int, list[Node]] = {}
        for node in self.plan.schedule.nodes:
            levels.setdefault(node.level, []).append(node)
        return [levels[level] for level in sorted(levels)]

    def _stepped(self, node: Node) -> Callable[[], None]:
        """A node through `semantics`, lane by lane."""
        steps = [(SEMANTICS[self.plan.program[pc].mnemonic], self._renamed[pc]) for pc in node.pcs]
        lanes = self.lanes

        def call() -> None:
            for lane in lanes:
                for function, operands in steps:
                    function(lane, operands)

        return call

    def _write_of(self, pc: int) -> tuple[Cache, int, int]:
        """Cache, first head and heads of a cache write."""
        operands = operands_of(self.plan.program[pc])
        place = self._state.memory.place(operands.hbm)
        return self._state.memory.cache(place.region.name), place.head, operands.heads

    def run(self, registers: list[list[int]]) -> bool:
        """Run all lanes; False when the piece must be stepped through instead, nothing having happened.

        Args:
            registers: of each lane, in the order of the tokens.
        """
        positions = self._fresh_positions(registers)
        if positions is None or not self._choices_exist(registers[0]):
            return False
        for begin, end, address in self._entry:
            for device, lmu in enumerate(self._state.lmu):
                self.storage[:, device, address : address + end - begin] = lmu[begin:end]
        self._registers[:] = registers
        for lane, values in zip(self.lanes, registers, strict=True):
            lane.registers = values
        try:
            for call in self.calls:
                call()
        except BaseException as error:  # not only a fault: a signal's handler may raise anything
            self._take_back(positions)
            if isinstance(error, Trap):
                return False
            raise
        self._show()
        return True

    def _choices_exist(self, registers: list[int]) -> bool:
        """Whether every matrix that a register chooses is one."""
        memory = self._state.memory
        try:
            for each in self._binding.chosen:
                address = each.address + registers[each.register] * each.step
                memory.open_parameters(address, each.rows, each.cols, each.stride)
        except Trap:
            return False
        return True

    def _fresh_positions(self, registers: list[list[int]]) -> list[tuple[Cache, int, int, list[int]]] | None:
        """Cache positions that will be written, None when one of them already is, or two lanes write the same."""
        found: list[tuple[Cache, int, int, list[int]]] = []
        for cache, head, heads, register in self._writes:
            at = [values[register] for values in registers]
            written = cache.written[head]
            if any(not 0 <= each < written.shape[0] or written[each] for each in at) or len(set(at)) < len(at):
                return None
            found.append((cache, head, heads, at))
        return found

    def _take_back(self, positions: list[tuple[Cache, int, int, list[int]]]) -> None:
        for cache, head, heads, at in positions:
            for position in at:
                cache.erase(head, heads, position)
        self._state.link.clear()
        for lane in self.lanes:
            lane.streams = [None] * len(lane.streams)

    def _show(self) -> None:
        """Copy what the lanes left to the machine's LMU, as if one had come after the other."""
        for lane in self._outlasting():
            self._copy(lane, [piece for piece in self._shown if piece[3] in self._sliding])
        self._copy(len(self.lanes) - 1, self._shown)

    def _outlasting(self) -> list[int]:
        """Lanes that wrote elements which none behind them wrote: of the last tokens there may be fewer later on."""
        found: list[int] = []
        if self._sliding:
            most = self._reach(len(self.lanes) - 1)
            for at in reversed(range(len(self.lanes) - 1)):
                reach = self._reach(at)
                if any(here > behind for here, behind in zip(reach, most, strict=True)):
                    found.insert(0, at)
                    most = [*map(max, reach, most)]
        return found

    def _reach(self, lane: int) -> list[int]:
        """How many elements a lane wrote where there may be fewer later on."""
        return [extent.elements(self.lanes[lane].registers) for extent in self._sliding]

    def _copy(self, lane: int, pieces: list[_Piece]) -> None:
        """Copy what a lane left in some places to the machine's LMU."""
        registers, written = self.lanes[lane].registers, self._state.written
        for begin, count, address, extent, offset in pieces:
            if extent:
                count = min(count, extent.elements(registers) - offset)
                if count <= 0:
                    continue
            for lmu, values in zip(self._state.lmu, self.storage[lane], strict=True):
                lmu[begin : begin + count] = values[address : address + count]
            written[begin : begin + count] = True


def _run_tape(run: Callable[[int], bool], binding: Binding) -> None:
    """A tape; no method of the plan, which would keep itself and all its files alive."""
    if not run(binding.products):
        raise Trap("an operation of the tape faulted")


def _merged(shown: list[tuple[Version, int, int]]) -> list[_Piece]:
    """What the LMU shows in the end; neighbours in both places become one."""
    merged: list[_Piece] = []
    for version, begin, count in shown:
        if version.node < 0:
            continue
        offset = begin - version.begin
        address = version.address + offset
        if merged and not version.extent and not merged[-1][3]:
            last_begin, last_count, last_address = merged[-1][:3]
            if last_begin + last_count == begin and last_address + last_count == address:
                merged[-1] = (last_begin, last_count + count, last_address, None, 0)
                continue
        merged.append((begin, count, address, version.extent, offset))
    return merged
