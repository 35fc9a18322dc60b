"""The machine: runs the program of a build on N devices in lockstep.

A build -> its effects on the host buffer. One instruction at a time, on all
devices, with breakpoints and a step budget. Whatever goes wrong is a
MachineFault with pc, instruction and source.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from compiler.artifacts.reader import Build
from compiler.emulator.arithmetic import Vector
from compiler.emulator.fast import FastPath
from compiler.emulator.host_buffer import HostBuffer
from compiler.emulator.kernel import Kernel
from compiler.emulator.link import Link
from compiler.emulator.plan import operands_of
from compiler.emulator.semantics import SEMANTICS, Semantics
from compiler.emulator.state import SampleObserver, State
from compiler.emulator.trap import Trap
from compiler.errors import ArtifactError, AssemblyError, MachineFault
from compiler.isa.encode import Instruction, decode
from compiler.isa.spec import Kind
from compiler.isa.text import format_instruction


class Stop(Enum):
    """Why `Machine.run` returned."""

    HALTED = "halted"
    BREAKPOINT = "breakpoint"
    OUTPUT = "output"
    CONDITION = "condition"
    INTERRUPTED = "interrupted"
    BUDGET = "budget"


class Machine:
    """N devices and their program.

    Attributes:
        build: what runs.
        program: the decoded instructions.
        state: registers, LMU, streams, memory; see `State`.
        steps: instructions executed since reset.
        last_pc: the instruction executed last; -1 after a reset or a plan of many.
        breakpoints: pcs before which `run` stops.

    Args:
        build: what to run.
        link: to the other devices; None: all of them are here.
        fast: let `run` use plans where it can; the results are the same bit for bit.
        kernel: computes products and tapes; None: that of this process.

    Raises:
        MachineFault: a word is no instruction, or a branch leaves the program.
    """

    def __init__(
        self, build: Build, *, link: Link | None = None, fast: bool = True, kernel: Kernel | None = None
    ) -> None:
        self.build = build
        self.program: tuple[Instruction, ...] = _load_program(build)
        self._code: tuple[tuple[Semantics, SimpleNamespace], ...] = tuple(
            (SEMANTICS[instr.mnemonic], operands_of(instr)) for instr in self.program
        )
        self.state = State(build, link, kernel)
        self._may_plan = fast
        self._fast: FastPath | None = None
        self.steps = 0
        self.last_pc = -1
        self.breakpoints: set[int] = set()

    def reset(self) -> None:
        """Back to the first instruction with empty LMU, caches, streams and host buffer."""
        self.state.reset()
        self.state.host.clear()
        self.steps = 0
        self.last_pc = -1

    @property
    def pc(self) -> int:
        """Index of the next instruction."""
        return self.state.pc

    @property
    def halted(self) -> bool:
        """Whether hlt was executed."""
        return self.state.halted

    @property
    def host(self) -> HostBuffer:
        """The host buffer."""
        return self.state.host

    @property
    def registers(self) -> tuple[int, ...]:
        """Control registers, signed."""
        return tuple(self.state.registers)

    def lmu(self, device: int) -> tuple[Vector, NDArray[np.bool_]]:
        """LMU of a device as read-only views: values, and which were ever written."""
        values, written = self.state.lmu[device].view(), self.state.written.view()
        values.flags.writeable = written.flags.writeable = False
        return values, written

    def observe_samples(self, observer: SampleObserver | None) -> None:
        """Have `observer` called with the logits of every sample instruction."""
        self.state.observer = observer

    def disassemble(self, pc: int) -> str:
        """Text of one instruction."""
        return format_instruction(self.program[pc]) if 0 <= pc < len(self.program) else "(outside the program)"

    def find(self, *, mnemonic: str = "", layer: int | None = None, tensor: str = "") -> tuple[int, ...]:
        """Program counters of the instructions that match all that is given, for breakpoints.

        Args:
            mnemonic: e.g. "mm".
            layer: decoder layer, -1 for what is outside the layers.
            tensor: tensor or module name, or a part of one.

        Raises:
            ArtifactError: the debug information cannot be read.
        """
        found = []
        for pc, instr in enumerate(self.program):
            node = self.build.debug.node_of(pc) if layer is not None or tensor else None
            source = node.source if node is not None else None
            if (
                (not mnemonic or instr.mnemonic == mnemonic)
                and (layer is None or (source is not None and source.layer == layer))
                and (not tensor or (source is not None and (tensor in source.tensor or tensor in source.module)))
            ):
                found.append(pc)
        return tuple(found)

    def step(self) -> None:
        """Execute one instruction on all devices.

        Raises:
            MachineFault: the instruction, or the state it met, is not legal.
        """
        with np.errstate(all="ignore"):
            self._step()

    def run(
        self,
        max_steps: int,
        *,
        until_output: bool = False,
        until: Callable[[State], bool] | None = None,
        interrupted: Callable[[], bool] | None = None,
    ) -> Stop:
        """Execute until the program halts or something else stops it.

        Args:
            max_steps: most instructions to execute.
            until_output: stop after an output slot was written.
            until: stop when it is true, asked after every instruction.
            interrupted: stop when it is true, asked between instructions, or plans of many instructions.

        Raises:
            MachineFault: an instruction faulted.
        """
        state, breakpoints = self.state, self.breakpoints
        outputs = state.host.outputs
        fast = self.prepare() if until is None else None
        executed = 0
        with np.errstate(all="ignore"):
            while executed < max_steps:
                if state.halted:
                    return Stop.HALTED
                if executed and state.pc in breakpoints:
                    return Stop.BREAKPOINT
                if interrupted is not None and interrupted():
                    return Stop.INTERRUPTED
                if fast is not None and (done := fast.advance(max_steps - executed, breakpoints)):
                    executed += done
                    self.steps += done
                    self.last_pc = -1
                    continue
                self._step()
                executed += 1
                if until_output and state.host.outputs != outputs:
                    return Stop.OUTPUT
                if until is not None and until(state):
                    return Stop.CONDITION
        return Stop.HALTED if state.halted else Stop.BUDGET

    def prepare(self) -> FastPath | None:
        """Make the plans that `run` uses, which the first `run` would do otherwise; None without a fast path."""
        if self._fast is None and self._may_plan:
            self._fast = FastPath(self.program, self.state)
        return self._fast

    def fault(self, pc: int, reason: str) -> MachineFault:
        """A fault at instruction `pc`."""
        try:
            node = self.build.debug.node_of(pc)
        except ArtifactError:
            node = None
        source = f" from {node}" if node is not None else ""
        return MachineFault(f"pc {pc} after {self.steps} steps: {self.disassemble(pc)}{source}: {reason}")

    def _step(self) -> None:
        state = self.state
        pc = state.pc
        if state.halted:
            raise self.fault(pc, "the machine has halted")
        if not 0 <= pc < len(self._code):
            raise self.fault(pc, f"the program ends at {len(self._code)} without hlt")
        function, operands = self._code[pc]
        state.pc = pc + 1
        try:
            function(state, operands)
        except Trap as trap:
            state.pc = pc
            raise self.fault(pc, str(trap)) from None
        self.steps += 1
        self.last_pc = pc


def _load_program(build: Build) -> tuple[Instruction, ...]:
    words = build.program_words.astype("<i4").tobytes()
    size = len(words) // len(build.program_words)
    program = []
    for pc in range(len(build.program_words)):
        try:
            instr = decode(words[pc * size : (pc + 1) * size])
        except AssemblyError as error:
            raise MachineFault(f"pc {pc}: {error}") from None
        for operand in instr.spec.operands:
            if operand.kind is Kind.TARGET and instr.integer(operand.name) >= len(build.program_words):
                raise MachineFault(
                    f"pc {pc}: {format_instruction(instr)}: the program ends at {len(build.program_words)}"
                )
        program.append(instr)
    return tuple(program)
