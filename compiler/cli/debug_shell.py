"""`hyperdex debug`: a line interface to the debugger, in the manner of gdb.

One command per line, abbreviated as far as it stays clear; an empty line
repeats a step or a run. Ctrl+C stops the run that goes on, the end of the
input ends the session. Reads a terminal or a script alike.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TextIO

from compiler.cli.debug_lines import (
    breakpoint_line,
    change_lines,
    counter_lines,
    hbm_lines,
    lmu_lines,
    operand_line,
    token_line,
)
from compiler.cli.debug_session import DebugSession
from compiler.debug_records import GRANULARITIES, Stopped, Token
from compiler.errors import HyperDexError, UsageError
from compiler.isa.text import format_instruction
from compiler.quantity import counted
from compiler.sanitize import one_line, printable

LISTED = 11
"""Instructions of a listing."""

_REPEATED = (*GRANULARITIES, "step", "run")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its arguments as help shows them, and what it does."""

    arguments: str
    synopsis: str
    action: Callable[[DebugShell, list[str]], Iterable[str]]


class DebugShell:
    """Reads commands, prints what comes of them.

    Args:
        session: what they act on.
        out: takes the lines.
    """

    def __init__(self, session: DebugSession, out: TextIO) -> None:
        self.session = session
        self._out = out
        self._last = ""

    def loop(self, lines: Iterable[str]) -> None:
        """Carry out commands until one of them is quit; failures are told and do not end the session."""
        for line in lines:
            if not self.execute(line):
                return

    def execute(self, line: str) -> bool:
        """Carry out one command; False for quit."""
        line = line.strip() or self._last
        if not line or line.startswith("#"):
            return True
        try:
            words = line.split(maxsplit=1)
            name = command_name(words[0])
            if name == "quit":
                return False
            self._last = line if name in _REPEATED else ""
            with self._interruptible():
                for shown in COMMANDS[name].action(self, _words(words[1] if len(words) > 1 else "")):
                    self.say(shown)
        except HyperDexError as error:
            self._last = ""
            self.say(f"error: {one_line(str(error))}")
        return True

    def say(self, line: str) -> None:
        self._out.write(printable(line, keep="\n\t") + "\n")
        self._out.flush()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl+C stops the machine, not the program."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.session.debugger.interrupt()

        previous = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def say_token(self, token: Token) -> None:
        """One generated token, when the machine writes it."""
        self.say(token_line(token))

    # what is shown

    def stopped(self, stopped: Stopped) -> Iterator[str]:
        """Why it stopped, and the next instruction with what it will read."""
        session = self.session
        if stopped.reason == "breakpoint":
            hit = [str(each) for each in session.debugger.breakpoints if each.number in stopped.hits]
            yield f"breakpoint {', '.join(map(str, stopped.hits))}: {', '.join(hit)}"
        elif stopped.reason not in ("step", "ready"):
            yield stopped.reason + (f": {stopped.detail}" if stopped.detail else "")
        if (finished := session.finished()) is not None:
            yield (
                f"{counted(finished.token_count, 'token')} ({finished.finish_reason}): {finished.text!r}; "
                f"the devices: {finished.device_ms:.4g} ms/token (emulated)"
            )
        yield from change_lines(stopped)
        if stopped.reason != "halted":
            yield f"position {stopped.position}, step {stopped.steps}"
            yield self._line(stopped.pc)
            for operand in stopped.inputs:
                yield f"    reads {operand_line(operand)}"

    def _line(self, pc: int) -> str:
        machine = self.session.debugger.machine
        mark = "=>" if pc == machine.pc and not machine.halted else "  "
        node = self.session.build.debug.node_of(pc)
        labels = {at: name for name, at in self.session.build.debug.labels.items()}
        text = format_instruction(machine.program[pc], labels) if pc < len(machine.program) else "(the end)"
        return f"{mark} {pc:>6}  {text}" + (f"    ; {node}" if node is not None else "")

    def listing(self, first: int) -> Iterator[str]:
        """Instructions from `first` on."""
        count = len(self.session.debugger.machine.program)
        first = max(0, min(first, count - 1))
        yield from (self._line(pc) for pc in range(first, min(count, first + LISTED)))


def command_name(word: str) -> str:
    """The command that `word` names or begins.

    Raises:
        UsageError: none, or several.
    """
    if word in COMMANDS or word == "quit":
        return word
    found = [name for name in (*COMMANDS, "quit") if name.startswith(word)]
    if word in _SHORT:
        return _SHORT[word]
    if len(found) != 1:
        raise UsageError(
            f"{one_line(word, 40)!r} is {'no command' if not found else 'one of ' + ', '.join(found)}", "help lists all"
        )
    return found[0]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{str(error).lower()} in {one_line(text, 60)!r}") from None


def _number(words: list[str], index: int, default: int) -> int:
    if index >= len(words):
        return default
    word = words[index].removeprefix("@")
    try:
        return int(word, 0)
    except ValueError:
        raise UsageError(f"{one_line(word, 40)!r} is not a number") from None


def _start(shell: DebugShell, words: list[str]) -> Iterable[str]:
    if not words:
        raise UsageError("there is no prompt", 'start "once upon" 20, or ids 1,2,3 20')
    return shell.stopped(shell.session.start(words[0], _number(words, 1, 0)))


def _ids(shell: DebugShell, words: list[str]) -> Iterable[str]:
    from compiler.cli.prompt import parse_prompt

    ids = parse_prompt(None, words[0] if words else "")
    return shell.stopped(shell.session.start(ids, _number(words, 1, 0)))


def _stepper(granularity: str) -> Callable[[DebugShell, list[str]], Iterable[str]]:
    return lambda shell, words: shell.stopped(shell.session.step(granularity, _number(words, 0, 1)))


def _break(shell: DebugShell, words: list[str]) -> Iterable[str]:
    if words:
        kind, value = ("pc", words[0]) if words[0].removeprefix("@").isdecimal() else (words[0], " ".join(words[1:]))
        shell.session.add_breakpoint(kind, value)
    found = [breakpoint_line(each) for each in shell.session.debugger.breakpoints]
    return found or ["no breakpoints; break pc N, opcode NAME, layer L, tensor TEXT, nan, inf"]


def _delete(shell: DebugShell, words: list[str]) -> Iterable[str]:
    left = shell.session.remove_breakpoint(_number(words, 0, 0)).breakpoints
    return [breakpoint_line(each) for each in left] or ["no breakpoints"]


def _registers(shell: DebugShell, _words: list[str]) -> Iterator[str]:
    values = shell.session.debugger.machine.registers
    old = shell.session.debugger.before.registers
    for at in range(0, len(values), 8):
        cells = (f"r{index}".rjust(4) + f"{'*' if values[index] != old[index] else ' '}{values[index]:>11}"
                 for index in range(at, at + 8))  # fmt: skip
        yield "".join(cells)


def _hbm(shell: DebugShell, words: list[str]) -> Iterable[str]:
    if not words:
        regions = shell.session.build.memory_map.regions
        return [f"{each.kind:<10} {each.name}  {each.heads} x {each.rows} x {each.cols}" for each in regions]
    numbers = [_number(words, index, 0) for index in (1, 2, 3)]
    return hbm_lines(shell.session.hbm(words[0], *numbers))


def _tokens(shell: DebugShell, _words: list[str]) -> Iterable[str]:
    session = shell.session
    yield f"prompt {', '.join(map(str, session.prompt_ids))}"
    for token in session.debugger.tokens:
        best = ", ".join(f"{each.token_id} {each.probability:.3f}" for each in token.candidates)
        yield f"token {token.index} at {token.position}: {token.token_id} {token.probability:.3f}  of: {best}"


def _counters(shell: DebugShell, words: list[str]) -> Iterable[str]:
    return counter_lines(shell.session.counters(_number(words, 0, -1)))


def _where(shell: DebugShell, _words: list[str]) -> Iterable[str]:
    return shell.stopped(shell.session.look_from(shell.session.debugger.device))


def _trace(shell: DebugShell, words: list[str]) -> Iterable[str]:
    position = _number(words, 1, shell.session.debugger.position)
    return [shell.session.save_trace(words[0] if words else "", position).detail]


def _help(_shell: DebugShell, _words: list[str]) -> Iterator[str]:
    for name, command in COMMANDS.items():
        yield f"{name + ' ' + command.arguments:<32} {command.synopsis}"
    yield f"{'quit':<32} End the session"
    yield "abbreviations: " + ", ".join(f"{short} = {name}" for short, name in _SHORT.items())


COMMANDS: Mapping[str, Command] = {
    "start": Command('"PROMPT" [NEW]', "Reset the machine with a prompt", _start),
    "ids": Command("1,2,3 [NEW]", "Reset the machine with token ids", _ids),
    "step": Command("[N]", "Execute N instructions", _stepper("instruction")),
    "op": Command("[N]", "To behind the last instruction of this op", _stepper("op")),
    "layer": Command("[N]", "To the next layer", _stepper("layer")),
    "token": Command("[N]", "To the next token", _stepper("token")),
    "run": Command("", "To a breakpoint or the end; Ctrl+C stops", lambda shell, _: shell.stopped(shell.session.run())),
    "break": Command("[KIND VALUE]", "Stop at pc N, opcode NAME, layer L, tensor TEXT, nan or inf; lists all", _break),
    "delete": Command("[N]", "Remove breakpoint N, or all", _delete),
    "list": Command(
        "[PC]",
        "Instructions around the next one, or from PC on",
        lambda shell, words: shell.listing(_number(words, 0, shell.session.debugger.machine.pc - 3)),
    ),
    "where": Command("", "Where it stands, and what it will read", _where),
    "registers": Command("", "Control registers; * changed since the last stop", _registers),
    "lmu": Command(
        "[V] [COUNT]",
        "LMU elements; * changed since the last stop",
        lambda shell, words: lmu_lines(shell.session.lmu(_number(words, 0, 0), _number(words, 1, 64))),
    ),
    "hbm": Command("[REGION [HEAD ROW COL]]", "Values of a region; without one, the regions", _hbm),
    "device": Command(
        "D", "Show another device", lambda shell, words: shell.stopped(shell.session.look_from(_number(words, 0, 0)))
    ),
    "tokens": Command("", "Tokens and their candidates", _tokens),
    "counters": Command("[POSITION]", "Time, bandwidth and energy of a token", _counters),
    "trace": Command("FILE [POSITION]", "Save a token in time, for Perfetto", _trace),
    "help": Command("", "This list", _help),
}  # fmt: skip

_SHORT = {
    "s": "step",
    "n": "op",
    "c": "run",
    "continue": "run",
    "b": "break",
    "d": "delete",
    "l": "list",
    "r": "registers",
}


def terminal_lines(first: Iterable[str]) -> Iterator[str]:
    """The commands given, then those typed or piped in, with line editing on a terminal."""
    yield from first
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  editing and history for input()
    while True:
        try:
            yield input("(hyperdex) ") if interactive else _next_line()
        except EOFError:
            return


def _next_line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.strip() or "#"
