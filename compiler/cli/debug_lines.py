"""Records of the debugger as lines of text, for people."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.debug_records import Breakpoint, Counters, HbmView, LmuView, Operand, Stopped, Token
from compiler.quantity import counted, percent_text


def token_line(token: Token) -> str:
    """A generated token among its candidates."""
    best = ", ".join(f"{_token_text(each.token_id, each.text)} {each.probability:.3f}" for each in token.candidates)
    return f"token {token.index} at {token.position}: {_token_text(token.token_id, token.text)}  of: {best}"


def _token_text(token_id: int, text: str) -> str:
    return f"{token_id} {text!r}" if text else str(token_id)


def change_lines(stopped: Stopped) -> Iterator[str]:
    """What the last instruction wrote, and what the run changed."""
    for operand in stopped.outputs:
        yield f"    wrote {operand_line(operand)}"
    changed = ", ".join(f"r{index}={stopped.registers[index]}" for index in stopped.changed_registers)
    if changed:
        yield f"    changed {changed}"
    if stopped.lmu_changed_count:
        ranges = ", ".join(f"v[{begin}..{end - 1}]" for begin, end in stopped.lmu_changed[:4])
        more = ", ..." if len(stopped.lmu_changed) > 4 else ""
        yield f"    changed {stopped.lmu_changed_count} LMU elements of device {stopped.device}: {ranges}{more}"


def operand_line(operand: Operand) -> str:
    """An operand with its first values, their range, and what is wrong with them."""
    text = f"{operand.name} = {operand.where}"
    if operand.where.startswith(("r", "io[")):
        return text + "".join(f" = {value:.0f}" for value in operand.values)
    if operand.values:
        shown = " ".join(f"{value:.5g}" for value in operand.values)
        text += f" [{operand.count}] {shown}{' ...' if operand.count > len(operand.values) else ''}"
        text += f"  min {operand.low:.5g} max {operand.high:.5g}" if operand.low <= operand.high else ""
    text += f"  {operand.nans} NaN" if operand.nans else ""
    return text + (f"  {operand.missing} never written" if operand.missing else "")


def lmu_lines(view: LmuView) -> Iterator[str]:
    """Names of the values that live there, then eight elements a line."""
    for name in view.names:
        yield f"    {name}"
    for at in range(0, len(view.values), 8):
        cells = zip(view.values[at : at + 8], view.written[at : at + 8], view.changed[at : at + 8], strict=True)
        yield f"v[{view.begin + at}]".rjust(12) + "".join(_cell(*each) for each in cells)


def hbm_lines(view: HbmView) -> Iterator[str]:
    """What the region is, then a row of it a line."""
    rows, cols, heads = view.limits
    yield f"{view.kind} {view.region}, {heads} x {rows} x {cols} on device {view.device}  {view.source}"
    for at, (values, known, changed) in enumerate(zip(view.rows, view.known, view.changed, strict=True)):
        cells = zip(values, known, changed, strict=True)
        yield f"[{view.head},{view.row + at},{view.col}]".rjust(16) + "".join(_cell(*each) for each in cells)


def _cell(value: float, known: bool, changed: bool) -> str:
    """A value in 12 cells, marked with * when it changed."""
    return ("*" if changed else " ") + (f"{value:>11.5g}" if known else f"{'-':>11}")


def breakpoint_line(each: Breakpoint) -> str:
    """Number, condition, and how many instructions it holds at."""
    where = "after every instruction"
    if each.sites:
        where = f"{counted(each.sites, 'instruction')}, the first is {each.pcs[0]}"
    return f"{each.number:>3}  {each}  ({where})"


def counter_lines(found: Counters) -> Iterator[str]:
    """Time and energy of a token, its traffic, and what the units do and wait for."""
    yield (
        f"position {found.position}: {found.ms_per_token:.4g} ms/token, {found.tokens_per_s:.1f} tokens/s, "
        f"{found.joules_per_token:.4g} J/token (emulated); bound by {found.binds}"
    )
    yield f"  {found.stream_bytes / 1e6:.3f} MB of HBM per device, {percent_text(found.bandwidth)} of its bandwidth"
    yield "  busy: " + ", ".join(f"{unit} {percent_text(share)}" for unit, share in found.busy)
    yield "  waiting: " + ", ".join(f"{unit} {why} {percent_text(share)}" for unit, why, share in found.stalls)
