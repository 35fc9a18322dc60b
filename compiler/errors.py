"""The error tree: every failure a user can meet, with its exit code.

    HyperDexError                 70  our own bug (also VerificationError)
    |-- UsageError                 2  a wrong option or argument
    |-- CheckpointError            3  the checkpoint is damaged or incomplete
    |-- UnsupportedModelError      4  a sound model this compiler cannot handle
    |-- CapacityError              5  the model, the cache or the disk does not fit
    |-- ArtifactError              6  a build is damaged, foreign or of another version
    |-- AssemblyError              7  assembly text or instruction words are malformed
    |-- MachineFault               8  the emulated machine stopped on a fault
    |-- HubError                   9  the Hugging Face Hub or the network refused
    |-- BusyError                 10  somebody else holds the lock
    |-- Interrupted              130  stopped by a signal
    `-- VerificationError         70  a verifier found the compiler itself wrong

The message of an error is one line: what, where, the value, the limit, what to do.
"""

from __future__ import annotations

from compiler.sanitize import one_line


class HyperDexError(Exception):
    """Base of every error; its text is one printable line.

    Args:
        message: what went wrong and where.
        advice: what the user can do about it, appended after a semicolon.

    Attributes:
        problem: the message without the advice, for whoever follows it already.
    """

    exit_code = 70

    def __init__(self, message: str, advice: str = "") -> None:
        self.problem = one_line(message)
        super().__init__(f"{self.problem}; {one_line(advice)}" if advice else self.problem)


class UsageError(HyperDexError):
    """An option or argument is wrong."""

    exit_code = 2


class CheckpointError(HyperDexError):
    """A checkpoint file is damaged, missing or contradicts its config."""

    exit_code = 3


class UnsupportedModelError(HyperDexError):
    """The model is sound but outside what this compiler handles."""

    exit_code = 4


class CapacityError(HyperDexError):
    """Something does not fit: device memory, LMU or disk."""

    exit_code = 5


class ArtifactError(HyperDexError):
    """A build on disk is damaged, foreign or of another version."""

    exit_code = 6


class AssemblyError(HyperDexError):
    """Assembly text or an instruction word is malformed."""

    exit_code = 7


class MachineFault(HyperDexError):
    """The emulated machine stopped; the message names pc, instruction and source."""

    exit_code = 8


class HubError(HyperDexError):
    """The hub or the network refused."""

    exit_code = 9


class BusyError(HyperDexError):
    """Another process holds the lock of this model."""

    exit_code = 10


class Interrupted(HyperDexError):
    """Stopped by SIGINT or SIGTERM."""

    exit_code = 130


class VerificationError(HyperDexError):
    """An independent verifier found our own output wrong."""
