"""Views of a stopped machine, as rows: values, registers, LMU, HBM, tokens, breakpoints, counters.

Each view is a function from the machine to lines; the widget shows the chosen
one. A value that changed since the last stop has a `*` before it, one that was
never written is a dash: nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.debug_records import Operand
from compiler.quantity import bytes_text, counted, percent_text
from hyperdex_tui.backend.machine import Machine
from hyperdex_tui.formatting import pad, pad_left, share_bar
from hyperdex_tui.widgets.painted import Line, Span, line
from hyperdex_tui.widgets.row_list import RowList
from hyperdex_tui.widgets.token_list import token_line

VIEWS = ("values", "registers", "lmu", "hbm", "tokens", "breakpoints", "counters")
"""In the order of the keys 1 to 7."""

CELL = 13
"""Cells of one value, its mark included."""

_INDENT = 11
"""Cells before the values of an operand."""


class MachineView(RowList):
    """One of VIEWS.

    Args:
        chosen: the view shown first.
        id: of the widget.
        fixed: it never shows another one.
    """

    def __init__(self, chosen: str, id: str, *, fixed: bool = False) -> None:
        super().__init__(id=id)
        self.chosen = chosen
        self._fixed = fixed
        self._machine: Machine | None = None
        self._rows: Sequence[Line] = ()
        self._painted: Sequence[Line] = ()

    def show(self, machine: Machine, chosen: str = "") -> None:
        """Show the machine as it is now."""
        other = bool(chosen) and chosen != self.chosen
        self.chosen = chosen or self.chosen
        self._machine = machine
        width = max(20, self.size.width - 2)
        rows = tuple(tuple(spans) for spans in _LINES[self.chosen](machine, width))
        painted = rows or self.empty_lines(width)
        if painted != self._painted or other:
            self._rows, self._painted = rows, painted
            self.rows_changed(0 if other else len(rows) - 1 if self.chosen == "tokens" else None)

    def on_resize(self) -> None:
        """Lay out for the new width."""
        super().on_resize()
        if self._machine is not None:
            self.show(self._machine)

    def row_count(self) -> int:
        """Lines of the view."""
        return len(self._rows)

    def row(self, index: int, width: int) -> Line:
        """One line."""
        return self._rows[index]

    def heading(self, width: int) -> Line:
        """The names of all views when there is room, the chosen one marked."""
        if self._fixed:
            return line((pad(f"  {self.chosen}", width), "head"))
        spans: list[Span] = []
        for number, name in enumerate(VIEWS, 1):
            chosen = name == self.chosen
            spans.append((f"[{number} {name}]" if chosen else f" {number} {name} ", "strong" if chosen else "dim"))
        shown = (
            spans if sum(len(text) for text, _ in spans) <= width else [each for each in spans if each[1] == "strong"]
        )
        return (*shown, (" " * width, "dim"))

    @property
    def table_name(self) -> str:
        """Words for the name of an exported file."""
        return f"machine-{self.chosen}"

    def columns(self) -> tuple[str, ...]:
        """For copying."""
        return (self.chosen,)

    @property
    def breakpoint(self) -> int:
        """Number of the breakpoint under the cursor, 0 when that is none."""
        points = self._machine.breakpoints if self._machine is not None else ()
        shown = self.chosen == "breakpoints" and self.cursor < len(points)
        return points[self.cursor].number if shown else 0

    def empty_lines(self, width: int) -> tuple[Line, ...]:
        """What the view is for, and how to fill it."""
        if self._machine is not None and self._machine.hello is None and self._machine.problem:
            return (line(("  The emulator does not run: the reason is above.", "dim")),)
        if self._machine is None or self._machine.hello is None:
            return (line(("  Starting the emulator …", "dim")),)
        if self.chosen == "breakpoints":
            return (
                line(("  No breakpoints. b sets one at the cursor of the listing,", "dim")),
                line(("  B one on an opcode, a layer, a tensor, NaN or infinity.", "dim")),
            )
        if not self._machine.has_prompt:
            return (line(("  No prompt yet: n types one.", "dim")),)
        if self.chosen == "tokens":
            return (line(("  No token yet: t runs to the next one, c to a breakpoint or the end.", "dim")),)
        stopped = self._machine.stopped
        if stopped is not None and stopped.reason == "halted":
            return (line(("  Nothing moves any more: the text is complete. n types another prompt.", "dim")),)
        return (line(("  Nothing to show here yet: s executes an instruction.", "dim")),)


def _number(value: float) -> str:
    return f"{value:.5g}"


def _operand(kind: str, operand: Operand, width: int) -> list[Line]:
    """What an operand holds, and as many of its values as fit one row."""
    head: list[Span] = [(f"{kind} ", "dim"), (pad(operand.name, 11), "text"), (operand.where, "accent")]
    if operand.where.startswith(("r", "io[")):
        return [(*head, *((f" = {value:.0f}", "strong") for value in operand.values))]
    if operand.low <= operand.high:
        head.append((f"  min {_number(operand.low)}  max {_number(operand.high)}", "text"))
    if operand.nans:
        head.append((f"  ! {operand.nans:,} NaN", "bad"))
    if operand.missing:
        head.append((f"  ! {operand.missing:,} never written", "warn"))
    if operand.count > 1:
        head.append((f"  {operand.count:,} values", "dim"))
    lines: list[Line] = [tuple(head)]
    if operand.values:
        shown = operand.values[: max(1, (width - _INDENT - 2) // CELL)]
        more = " …" if operand.count > len(shown) else ""
        texts = "".join(pad_left(_number(each), CELL) for each in shown)
        lines.append(line((" " * _INDENT + texts + more, "strong")))
    return lines


def _values(machine: Machine, width: int) -> list[Line]:
    stopped = machine.stopped
    if stopped is None or not stopped.prompt_tokens:
        return []
    lines = [each for operand in stopped.outputs for each in _operand("wrote", operand, width)]
    lines += [each for operand in stopped.inputs for each in _operand("reads", operand, width)]
    for index in stopped.changed_registers:
        lines.append(line(("* ", "warn"), (f"r{index} = {stopped.registers[index]}", "text")))
    if stopped.lmu_changed_count:
        ranges = ", ".join(f"v[{begin}..{end - 1}]" for begin, end in stopped.lmu_changed[:6])
        more = " …" if len(stopped.lmu_changed) > 6 else ""
        lines.append(line(("* ", "warn"), (f"{stopped.lmu_changed_count:,} LMU elements: {ranges}{more}", "text")))
    return lines


def _registers(machine: Machine, width: int) -> list[Line]:
    stopped = machine.stopped
    if stopped is None or not stopped.registers:
        return []
    across = max(1, width // 18)
    lines: list[Line] = []
    for at in range(0, len(stopped.registers), across):
        spans: list[Span] = []
        for index in range(at, min(at + across, len(stopped.registers))):
            changed = index in stopped.changed_registers
            spans.append((f"r{index}".rjust(4) + ("*" if changed else " "), "warn" if changed else "dim"))
            spans.append((f"{stopped.registers[index]:>12} ", "strong" if changed else "text"))
        lines.append(tuple(spans))
    return lines


def _cells(values: Sequence[float], known: Sequence[bool], changed: Sequence[bool]) -> list[Span]:
    spans: list[Span] = []
    for value, is_known, is_changed in zip(values, known, changed, strict=True):
        text = _number(value) if is_known else "-"
        role = "strong" if is_changed else "text" if is_known else "dim"
        if is_known and (value != value or value in (float("inf"), float("-inf"))):
            role = "bad"
        spans.append((("*" if is_changed else " ") + text.rjust(CELL - 1), role))
    return spans


def lmu_columns(width: int) -> int:
    """Values in a row of the LMU view."""
    return max(1, (width - 12) // CELL // 4 * 4 or (width - 12) // CELL)


def _lmu(machine: Machine, width: int) -> list[Line]:
    view = machine.lmu
    if view is None:
        return []
    lines: list[Line] = [
        line((f"device {view.device}  ", "dim"), ("; ".join(view.names) or "no live value here", "accent"))
    ]
    across = lmu_columns(width)
    for at in range(0, len(view.values), across):
        part = slice(at, at + across)
        cells = _cells(view.values[part], view.written[part], view.changed[part])
        lines.append(((f"v[{view.begin + at}]".rjust(11), "dim"), *cells))
    return lines


def hbm_columns(width: int) -> int:
    """Values in a row of the HBM view."""
    return max(1, (width - 16) // CELL)


def _hbm(machine: Machine, width: int) -> list[Line]:
    view = machine.hbm
    if view is None:
        return []
    rows, cols, heads = view.limits
    size = f"{heads} x " if heads > 1 else ""
    lines: list[Line] = [
        line(
            (f"device {view.device}  ", "dim"),
            (f"{view.kind} ", "text"),
            (view.region, "accent"),
            (f"  {size}{rows:,} x {cols:,}", "dim"),
        )
    ]
    for at, (values, known, changed) in enumerate(zip(view.rows, view.known, view.changed, strict=True)):
        place = f"[{view.head},{view.row + at},{view.col}]" if heads > 1 else f"[{view.row + at},{view.col}]"
        lines.append(((place.rjust(15), "dim"), *_cells(values, known, changed)))
    return lines


def _tokens(machine: Machine, width: int) -> list[Line]:
    lines: list[Line] = []
    if machine.prompt:
        lines.append(line(("prompt ", "dim"), (repr(machine.prompt), "strong")))
    lines += [token_line(each, width) for each in machine.tokens]
    return lines if machine.tokens else []


def _breakpoints(machine: Machine, width: int) -> list[Line]:
    hits = machine.stopped.hits if machine.stopped is not None else ()
    lines: list[Line] = []
    for each in machine.breakpoints:
        where = f"{counted(each.sites, 'instruction')} from {each.pcs[0]:,}" if each.pcs else "after every instruction"
        mark = ("=> ", "accent") if each.number in hits else ("   ", "dim")
        lines.append(line(mark, (f"●{each.number:<3}", "bad"), (pad(str(each), 40), "strong"), (f" {where}", "dim")))
    return lines


def _counters(machine: Machine, width: int) -> list[Line]:
    found = machine.counters
    if found is None:
        return []
    lines: list[Line] = [
        line(
            (f"position {found.position}: ", "dim"),
            (f"{found.ms_per_token:.4g} ms/token", "strong"),
            f", {found.tokens_per_s:,.1f} tokens/s, {found.cycles:,.0f} cycles; bound by {found.binds}",
            ("  (emulated)", "dim"),
        ),
        line(
            (f"{found.joules_per_token:.4g} J/token", "strong"),
            f", {bytes_text(found.stream_bytes)} of HBM per device, ",
            (f"{percent_text(found.bandwidth)} of its bandwidth ", "strong"),
            (share_bar(found.bandwidth), "good"),
        ),
    ]
    if found.host_ms:
        lines.append(
            line((f"{found.host_ms:.3g} ms for a token here, measured: the emulator's speed, not the device's", "dim"))
        )
    for unit, share in found.busy:
        stalls = ", ".join(
            f"{why} {percent_text(part)}" for name, why, part in found.stalls if name == unit and part >= 0.0005
        )
        lines.append(
            line(
                (f"{unit} ", f"unit-{unit}"),
                (f"busy {pad_left(percent_text(share), 7)} ", "text"),
                (share_bar(share), "good"),
                (f"  waits: {stalls}" if stalls else "", "dim"),
            )
        )
    return lines


_LINES: dict[str, Callable[[Machine, int], list[Line]]] = {
    "values": _values,
    "registers": _registers,
    "lmu": _lmu,
    "hbm": _hbm,
    "tokens": _tokens,
    "breakpoints": _breakpoints,
    "counters": _counters,
}
