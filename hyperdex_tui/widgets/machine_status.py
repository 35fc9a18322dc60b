"""What the machine does and where it stands, as two lines."""

from __future__ import annotations

from compiler.quantity import counted
from hyperdex_tui.backend.machine import Machine
from hyperdex_tui.backend.program import Program
from hyperdex_tui.formatting import wrap
from hyperdex_tui.widgets.painted import Line, line

_DOING = {"run": "running", "step": "stepping", "start": "putting the prompt in"}


def status_lines(machine: Machine, program: Program | None, width: int) -> list[Line]:
    """What it does, or why it stopped; below it the place. A problem takes both lines where it needs them."""
    stopped = machine.stopped
    where = line((_where(machine, program), "dim"))
    if machine.busy:
        return [line((f"▶ {_DOING.get(machine.busy, machine.busy)}", "accent"), ("  x stops it", "dim")), where]
    if machine.problem:
        problem: list[Line] = [line((part, "bad")) for part in wrap(f"✗ {machine.problem}", width, 2)]
        return [*problem, where][:2]
    if machine.hello is None:
        return [line(("▶ starting the emulator and opening the build …", "accent")), where]
    if stopped is None or not machine.has_prompt:
        return [line(("■ no prompt yet: ", "text"), ("n", "accent"), (" types one", "text")), where]
    return [_stopped(machine), where]


def _stopped(machine: Machine) -> Line:
    """Why it stands still."""
    stopped = machine.stopped
    assert stopped is not None
    match stopped.reason:
        case "breakpoint":
            hit = ", ".join(f"{each.number} ({each})" for each in machine.breakpoints if each.number in stopped.hits)
            return line((f"● breakpoint {hit}", "warn"))
        case "fault":
            return line((f"✗ fault: {stopped.detail}", "bad"))
        case "halted":
            if machine.finished is None:  # it ended on the generate screen, before anybody looked here
                return line(("✓ the text is complete; ", "good"), ("5", "accent"), (" shows its tokens", "text"))
            return line(("✓ the text is complete: ", "good"), (repr(machine.finished.text), "strong"))
        case "interrupted":
            return line((f"■ interrupted{': ' + stopped.detail if stopped.detail else ''}", "warn"))
    return line(("■ stopped", "text"))


def _where(machine: Machine, program: Program | None) -> str:
    """The next instruction, while it runs the last one that was told."""
    stopped, hello = machine.stopped, machine.hello
    if hello is None:
        return ""
    if stopped is None or not stopped.prompt_tokens:
        return f"{hello.instructions:,} instructions, {counted(hello.devices, 'device')}, {hello.dtype}"
    at = machine.progress or stopped
    node = program.node(at.pc) if program is not None and at.pc < program.count else None
    layer = f"layer {node.source.layer} " if node is not None and node.source.layer >= 0 else ""
    tokens = stopped.tokens if at is stopped else len(machine.tokens)
    return (
        f"pc {at.pc:,}  {layer}{node.op if node is not None else 'control'}  position {at.position} "
        f"({stopped.prompt_tokens} + {tokens})  device {stopped.device} of {hello.devices}  {at.steps:,} executed"
    )
