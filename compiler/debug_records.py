"""What the debugger says, as values.

The emulator makes them, `hyperdex debug --json-lines` writes them, the app
reads them back: `debug_wire`. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

PROTOCOL_VERSION = 1

GRANULARITIES = ("instruction", "op", "layer", "token")
"""What one step may be."""

BREAK_KINDS = ("pc", "opcode", "layer", "tensor", "nan", "inf")
"""What a breakpoint may watch: nan stops behind the instruction that makes one, the others before theirs."""

NAMED_SITES = 1000


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
