"""Events: what a compile says while it runs, one JSON object per line.

The same records drive the progress bars, the app, the job file and the tests.
Every record carries `version`, `event`, `phase` (0-4, or -1 for the job as a
whole) and `seconds` since the job began.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from compiler.errors import ArtifactError
from compiler.sanitize import one_line, printable
from compiler.source import SourceRef

EVENT_VERSION = 1

_LARGEST = (1 << 63) - 1
"""No count of ours is larger; one that is breaks the arithmetic of whoever shows it."""

_LARGEST_PID = (1 << 31) - 1

PHASE_TITLES = (
    "Check the model",
    "Download the checkpoint",
    "Convert to JSON and binary",
    "Memory mapping",
    "Instruction generation",
)
"""Title of phase 0 to 4."""


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A phase begins. `detail` says in one line what it will do."""

    event: ClassVar[str] = "started"
    phase: int
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """A phase moved on.

    Attributes:
        done: units finished, monotonic within a phase.
        total: units in all, 0 while unknown.
        unit: "bytes", "instructions", "tensors" or "files".
        rate: units per second since the phase began.
        source: what is being worked on now.
    """

    event: ClassVar[str] = "progress"
    phase: int
    seconds: float
    done: int
    total: int
    unit: str
    rate: float
    source: SourceRef = SourceRef()


@dataclass(frozen=True, slots=True)
class Message:
    """One line for the log; `level` is "info", "warning" or "option"."""

    event: ClassVar[str] = "message"
    phase: int
    seconds: float
    text: str
    level: str = "info"
    source: SourceRef = SourceRef()


@dataclass(frozen=True, slots=True)
class PhaseFinished:
    """A phase is done; `skipped` when its result was up to date, with `reason`."""

    event: ClassVar[str] = "finished"
    phase: int
    seconds: float
    skipped: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PhaseFailed:
    """A phase stopped; no later event follows. `exit_code` is the process's own."""

    event: ClassVar[str] = "failed"
    phase: int
    seconds: float
    error: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class JobStarted:
    """First record of a job file.

    Attributes:
        build: what it makes, "" for a download alone.
        options: the command's options, beside places, as a shell would take them.
    """

    event: ClassVar[str] = "job_started"
    phase: int
    seconds: float
    model_id: str
    build: str
    pid: int
    host: str
    started_at: str
    options: str = ""


@dataclass(frozen=True, slots=True)
class JobFinished:
    """Last record of a job that went through."""

    event: ClassVar[str] = "job_finished"
    phase: int
    seconds: float
    build: str


Record = PhaseStarted | Progress | Message | PhaseFinished | PhaseFailed | JobStarted | JobFinished
Listener = Callable[[Record], None]

_RECORDS: tuple[type[Record], ...] = (
    PhaseStarted,
    Progress,
    Message,
    PhaseFinished,
    PhaseFailed,
    JobStarted,
    JobFinished,
)
_BY_NAME = {record.event: record for record in _RECORDS}


def to_line(record: Record) -> str:
    """One JSON object without a newline; non-ASCII text is escaped."""
    return json.dumps({"version": EVENT_VERSION, "event": record.event, **asdict(record)})


def from_line(line: str) -> Record:
    """Read what `to_line` wrote; text fields come back printable.

    Raises:
        ArtifactError: the line is not a record of this version, or a field is missing, of another type or out of
            range: the file may come from anybody.
    """
    try:
        loaded = json.loads(line)
        version = loaded.pop("version")
        name = loaded.pop("event")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ArtifactError(f"not an event record: {one_line(line, 80)!r}") from None
    if type(version) is not int or version != EVENT_VERSION or not isinstance(name, str) or name not in _BY_NAME:
        shown = f"{one_line(repr(name), 40)} of version {one_line(repr(version), 40)}"
        raise ArtifactError(f"event {shown} is not known here")
    record: Callable[..., Record] = _BY_NAME[name]
    known = {field.name: str(field.type) for field in fields(_BY_NAME[name])}
    try:
        made = record(**{key: _checked(value, known[key]) for key, value in loaded.items() if key in known})
        if not -1 <= made.phase < len(PHASE_TITLES) or made.seconds < 0:
            raise ValueError
        if isinstance(made, JobStarted) and not 0 < made.pid <= _LARGEST_PID:
            raise ValueError  # a signal to 0 or to a negative number goes to many processes
    except (TypeError, ValueError, OverflowError):
        raise ArtifactError(f"event {name!r} has a wrong field or lacks one: {one_line(line, 80)!r}") from None
    return made


def _checked(value: object, kind: str) -> object:
    """The value as a field of type `kind`, the name of one in the records above.

    Raises:
        ValueError, OverflowError: it is of another type, not finite, or too large.
    """
    if kind == "str" and isinstance(value, str):
        return printable(value)
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and type(value) is int and abs(value) <= _LARGEST:
        return value
    if kind == "float" and type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type]
        return value
    if kind == "SourceRef" and isinstance(value, dict):
        module, tensor = (_checked(value.get(name, ""), "str") for name in ("module", "tensor"))
        return SourceRef(module, tensor, _checked(value.get("layer", -1), "int"))  # type: ignore[arg-type]
    raise ValueError
