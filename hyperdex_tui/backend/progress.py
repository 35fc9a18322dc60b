"""Events folded into what a screen shows: five phases, a log, and how the job stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.events import (
    PHASE_TITLES,
    JobFinished,
    JobStarted,
    Message,
    PhaseFailed,
    PhaseFinished,
    PhaseStarted,
    Progress,
    Record,
)

LOG_LIMIT = 10_000
_SAMPLE_S = 0.2
_SAMPLES = 240

WAITING, RUNNING, DONE, SKIPPED, FAILED = "waiting", "running", "done", "up to date", "failed"


@dataclass(slots=True)
class PhaseProgress:
    """How one phase stands; times are seconds since the job began.

    Attributes:
        rate: units per second since the phase began.
        samples: units per second of one short interval after the other, the newest last.
    """

    number: int
    state: str = WAITING
    detail: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float = 0.0
    begin_s: float = 0.0
    end_s: float = 0.0
    source: str = ""
    samples: list[float] = field(default_factory=list)
    sampled_s: float = 0.0
    sampled_done: int = 0

    @property
    def title(self) -> str:
        """Name of the phase."""
        return PHASE_TITLES[self.number]

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds to go; None while unknown."""
        if self.state != RUNNING or self.rate <= 0 or self.total <= self.done:
            return None
        return (self.total - self.done) / self.rate


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log."""

    phase: int
    seconds: float
    level: str
    text: str


@dataclass(slots=True)
class JobProgress:
    """Everything a job file says so far.

    Attributes:
        started: first record, None until it was read.
        seconds: time of the newest record.
        error: why it failed, "" while it has not.
        finished: what was made, once it went through.
        build: name of the build that was made, "" for a download alone.
        dropped: lines that the log no longer holds.
        revision: counts changes, so that a view can tell whether to repaint.
    """

    phases: tuple[PhaseProgress, ...] = field(default_factory=lambda: tuple(PhaseProgress(n) for n in range(5)))
    log: list[LogLine] = field(default_factory=list)
    started: JobStarted | None = None
    seconds: float = 0.0
    error: str = ""
    exit_code: int = 0
    finished: str = ""
    build: str = ""
    dropped: int = 0
    revision: int = 0

    @property
    def ended(self) -> bool:
        """Whether no further event is due."""
        return bool(self.finished or self.error)

    @property
    def current(self) -> PhaseProgress | None:
        """The phase that runs."""
        return next((phase for phase in self.phases if phase.state == RUNNING), None)

    def state(self) -> str:
        """One word for lists."""
        if self.finished:
            return DONE
        if self.error:
            return "cancelled" if self.exit_code == 130 else FAILED
        return RUNNING if self.started else "starting"

    def fail(self, error: str, exit_code: int) -> None:
        """End the job from outside: its process died without saying so."""
        self.error, self.exit_code = error, exit_code
        self.revision += 1
        running = self.current
        if running is not None:
            running.state, running.end_s = FAILED, self.seconds
        self._say(running.number if running else -1, self.seconds, "error", error)

    def add(self, record: Record) -> None:
        """Fold one record in."""
        self.revision += 1
        self.seconds = max(self.seconds, record.seconds)
        match record:
            case JobStarted():
                self.started = record
                return
            case JobFinished():
                self.build, self.finished = record.build, record.build or "the checkpoint"
                self._say(-1, record.seconds, "good", f"compiled {record.build}" if record.build else "downloaded")
                return
            case PhaseFailed():
                self.error, self.exit_code = record.error or "failed", record.exit_code
                self._say(record.phase, record.seconds, "error", self.error)
            case Message():
                text = f"{record.text}  {record.source}" if str(record.source) else record.text
                self._say(record.phase, record.seconds, record.level, text)
        if 0 <= record.phase < len(self.phases):
            self._phase(self.phases[record.phase], record)

    def _phase(self, phase: PhaseProgress, record: Record) -> None:
        match record:
            case PhaseStarted():
                phase.state, phase.begin_s, phase.detail = RUNNING, record.seconds, record.detail
                phase.sampled_s = record.seconds
                self._say(phase.number, record.seconds, "head", f"{phase.title}: {record.detail}".rstrip(": "))
            case Progress():
                phase.done, phase.total, phase.unit = record.done, record.total, record.unit
                phase.rate, phase.source = record.rate, str(record.source)
                _sample(phase, record)
            case PhaseFinished():
                phase.state, phase.end_s = (SKIPPED if record.skipped else DONE), record.seconds
                if record.reason:
                    phase.detail = record.reason
                    self._say(phase.number, record.seconds, "info", record.reason)
            case PhaseFailed():
                phase.state, phase.end_s = FAILED, record.seconds

    def _say(self, phase: int, seconds: float, level: str, text: str) -> None:
        self.log.append(LogLine(phase, seconds, level, text))
        if len(self.log) > LOG_LIMIT:
            del self.log[: LOG_LIMIT // 10]
            self.dropped += LOG_LIMIT // 10


def _sample(phase: PhaseProgress, record: Progress) -> None:
    """Keep the rate since the last sample, once that is long enough ago to mean something."""
    elapsed = record.seconds - phase.sampled_s
    if elapsed < _SAMPLE_S:
        return
    phase.samples.append(max(0, record.done - phase.sampled_done) / elapsed)
    del phase.samples[:-_SAMPLES]
    phase.sampled_s, phase.sampled_done = record.seconds, record.done
