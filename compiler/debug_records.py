"""What the debugger says: values, and one JSON object per line.

The emulator makes them, `hyperdex debug --json-lines` writes them, the app
reads them back. Numbers that JSON does not have are the strings "nan", "inf"
and "-inf". Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from compiler.sanitize import one_line, printable

PROTOCOL_VERSION = 1

GRANULARITIES = ("instruction", "op", "layer", "token")
"""What one step may be."""

BREAK_KINDS = ("pc", "opcode", "layer", "tensor", "nan", "inf")
"""What a breakpoint may watch: nan stops behind the instruction that makes one, the others before theirs."""

NAMED_SITES = 1000

LINE_LIMIT = 256 << 20
"""Most bytes of one line: the timeline of a long program is the longest."""


@dataclass(frozen=True, slots=True)
class Operand:
    """What an operand of an instruction holds on one device.

    Attributes:
        name: of the operand.
        where: register, LMU elements, stream or memory, as in a listing.
        count: elements.
        values: the first of them.
        low, high: least and greatest of all, NaN apart; NaN when there are none or nobody looked.
        nans: elements that are NaN.
        missing: elements that were never written.
    """

    name: str
    where: str
    count: int = 0
    values: tuple[float, ...] = ()
    low: float = math.nan
    high: float = math.nan
    nans: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that might have been next; its probability is that of the model, before sampling parameters."""

    token_id: int
    probability: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token.

    Attributes:
        index: 0 for the first new one.
        position: in the text, prompt included.
        probability: of the chosen token.
        rank: 0 when no token was more probable.
        candidates: the most probable tokens, the best first.
        text: what became certain of the text with it, newlines kept.
    """

    event: ClassVar[str] = "token"
    index: int
    token_id: int
    position: int
    probability: float
    rank: int
    candidates: tuple[Candidate, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """A breakpoint; `sites` says how many instructions it stops at, `pcs` which, the first NAMED_SITES of them."""

    number: int
    kind: str
    value: str
    sites: int
    pcs: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}".strip()


@dataclass(frozen=True, slots=True)
class Hello:
    """First line of a child: what it runs."""

    event: ClassVar[str] = "hello"
    model_id: str
    build: str
    instructions: int
    devices: int
    dtype: str
    lmu_elements: int
    max_length: int
    vocabulary: int
    has_tokenizer: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """The machine stands still.

    Attributes:
        reason: "ready", "step", "breakpoint", "interrupted", "halted" or "fault".
        detail: what the fault is, "" otherwise.
        hits: numbers of the breakpoints that stopped it.
        pc: next instruction.
        last_pc: the one executed last; -1 when it was part of many.
        steps: instructions executed since the start.
        position: token that is fed now.
        tokens: generated so far.
        prompt_tokens: of the prompt; 0 when there is none yet.
        device: whose values are shown.
        registers: signed.
        changed_registers: which of them changed since the last stop.
        inputs: what instruction `pc` will read.
        outputs: what instruction `last_pc` wrote.
        lmu_changed: [begin, end) of LMU elements that changed since the last stop, the first ones.
        lmu_changed_count: elements that changed.
    """

    event: ClassVar[str] = "stopped"
    reason: str
    detail: str = ""
    hits: tuple[int, ...] = ()
    pc: int = 0
    last_pc: int = -1
    steps: int = 0
    position: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    device: int = 0
    registers: tuple[int, ...] = ()
    changed_registers: tuple[int, ...] = ()
    inputs: tuple[Operand, ...] = ()
    outputs: tuple[Operand, ...] = ()
    lmu_changed: tuple[tuple[int, ...], ...] = ()
    lmu_changed_count: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """A run is going on; at most ten times a second."""

    event: ClassVar[str] = "progress"
    pc: int
    steps: int
    position: int


@dataclass(frozen=True, slots=True)
class Breakpoints:
    """All breakpoints, after one was set or removed."""

    event: ClassVar[str] = "breakpoints"
    breakpoints: tuple[Breakpoint, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The prompt, and every token generated since."""

    event: ClassVar[str] = "tokens"
    prompt: str
    prompt_ids: tuple[int, ...]
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class LmuView:
    """LMU elements [begin, begin + len(values)) of a device.

    Attributes:
        written: whether each was ever written.
        changed: whether each changed since the last stop.
        names: values that live there at the pc, as "name [begin, end)".
    """

    event: ClassVar[str] = "lmu"
    device: int
    begin: int
    values: tuple[float, ...]
    written: tuple[bool, ...]
    changed: tuple[bool, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HbmView:
    """A rectangle of a region of a device's memory, from (row, col) of a head on.

    Attributes:
        source: tensor or module the region comes from.
        rows: values; integers for the host buffer.
        known: whether each was ever written; parameters always are.
        changed: whether each was written since the last stop.
        limits: rows, columns and heads of the region.
    """

    event: ClassVar[str] = "hbm"
    device: int
    region: str
    kind: str
    source: str
    head: int
    row: int
    col: int
    rows: tuple[tuple[float, ...], ...]
    known: tuple[tuple[bool, ...], ...]
    changed: tuple[tuple[bool, ...], ...]
    limits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counters:
    """What the token at a position costs the devices, by the emulator's clock.

    Attributes:
        bandwidth: share of the peak bandwidth of HBM.
        busy: unit and its share of the token.
        stalls: unit, reason and their share of the token.
        host_ms: what a token took on this computer, 0.0 when unknown.
    """

    event: ClassVar[str] = "counters"
    position: int
    cycles: float
    ms_per_token: float
    tokens_per_s: float
    joules_per_token: float
    stream_bytes: int
    bandwidth: float
    binds: str
    busy: tuple[tuple[str, float], ...]
    stalls: tuple[tuple[str, str, float], ...]
    host_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """One token in time: columns of equal length, packed little-endian and base64.

    Attributes:
        cycles: of the token.
        clock_hz: of the target.
        pcs: int32 per instruction executed.
        units: uint8, index into `unit_names`.
        starts, ends: float64, cycles.
        waits: float64, cycles for which the unit stood still before.
        reasons: uint8, index into `reason_names`.
    """

    event: ClassVar[str] = "timeline"
    position: int
    prompt: bool
    cycles: float
    clock_hz: float
    unit_names: tuple[str, ...]
    reason_names: tuple[str, ...]
    pcs: str
    units: str
    starts: str
    ends: str
    waits: str
    reasons: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A generation came to its end.

    Attributes:
        text: of all new tokens.
        finish_reason: "stop" or "length".
        device_ms: emulated milliseconds per token of the devices.
        device_ttft_ms: emulated milliseconds to the first token.
    """

    event: ClassVar[str] = "finished"
    token_count: int
    text: str
    finish_reason: str
    device_ms: float
    device_ttft_ms: float


@dataclass(frozen=True, slots=True)
class Done:
    """A request that has nothing to show is done; `detail` says what came of it."""

    event: ClassVar[str] = "done"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A request could not be carried out; the machine is as it was."""

    event: ClassVar[str] = "failed"
    error: str
    exit_code: int = 2


Record = (
    Hello
    | Stopped
    | Progress
    | Breakpoints
    | Token
    | Tokens
    | LmuView
    | HbmView
    | Counters
    | Timeline
    | Finished
    | Done
    | Failed
)

_RECORDS: tuple[type[Record], ...] = (
    Hello,
    Stopped,
    Progress,
    Breakpoints,
    Token,
    Tokens,
    LmuView,
    HbmView,
    Counters,
    Timeline,
    Finished,
    Done,
    Failed,
)
_BY_NAME: Mapping[str, type[Record]] = {record.event: record for record in _RECORDS}


def _shape(kind: type[Any]) -> Mapping[str, tuple[Any, bool]]:
    """Type of every field, and whether it must be given."""
    hints = get_type_hints(kind)
    return {each.name: (hints[each.name], each.default is MISSING) for each in fields(kind)}


_SHAPES: Mapping[type, Mapping[str, tuple[Any, bool]]] = {
    kind: _shape(kind) for kind in (*_RECORDS, Operand, Candidate, Breakpoint)
}


def to_line(record: Record, request: int = 0) -> str:
    """One JSON object without a newline; `request` is the number of the request it answers."""
    head = {"version": PROTOCOL_VERSION, "event": record.event, "request": request}
    return json.dumps({**head, **_plain(asdict(record))}, separators=(",", ":"), allow_nan=False)


def from_line(line: str | bytes) -> tuple[int, Record]:
    """Read what `to_line` wrote: number of the request, and the record with printable text.

    Raises:
        ValueError: the line is not a record of this version.
    """
    try:
        loaded = json.loads(line)
    except (ValueError, RecursionError):
        loaded = None
    if not isinstance(loaded, dict):
        shown = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        raise ValueError(f"not a record: {one_line(shown[:200], 80)!r}")
    version, name, request = loaded.get("version"), loaded.get("event"), loaded.get("request")
    kind = _BY_NAME.get(name) if isinstance(name, str) else None
    if version != PROTOCOL_VERSION or kind is None or type(request) is not int:
        raise ValueError(
            f"record {one_line(repr(name), 40)} of version {one_line(repr(version), 20)} is not known here"
        )
    record: Record = _build(kind, loaded)
    return request, record


def _plain(value: Any) -> Any:
    """JSON's own values: numbers it lacks become strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _build(kind: type[Any], loaded: Mapping[str, object]) -> Any:
    values = {}
    for name, (expected, required) in _SHAPES[kind].items():
        if name in loaded:
            values[name] = _value(expected, loaded[name], f"{kind.__name__}.{name}")
        elif required:
            raise ValueError(f"{kind.__name__}.{name} is missing")
    return kind(**values)


def _value(expected: Any, value: object, where: str) -> Any:
    """`value` as the type that a field declares.

    Raises:
        ValueError: it is something else.
    """
    if get_origin(expected) is tuple and isinstance(value, list):
        inner = get_args(expected)
        if inner[-1] is Ellipsis:
            return tuple(_value(inner[0], each, where) for each in value)
        if len(inner) == len(value):
            return tuple(_value(kind, each, where) for kind, each in zip(inner, value, strict=True))
    if isinstance(expected, type):
        if is_dataclass(expected) and isinstance(value, dict):
            return _build(expected, value)
        if read := _READERS.get(expected):
            return read(value, where)
    raise ValueError(f"{where} is {one_line(repr(value)[:60])}")


def _integer(value: object, where: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{where} is no integer")
    return value


def _number(value: object, where: str) -> float:
    if value in ("nan", "inf", "-inf") and isinstance(value, str):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} is no number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{where} is no number of 64 bits") from None


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} is no text")
    return printable(value, keep="\n\t")


def _truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{where} is neither true nor false")
    return value


_READERS: Mapping[type, Callable[[object, str], Any]] = {int: _integer, float: _number, str: _text, bool: _truth}
