"""Messages between widgets, screens and the app.

Widgets tell their screen what the user did with a list or a prompt; screens
ask the app for another screen. Models and builds go by name, so that a
message never holds on to a file.
"""

from __future__ import annotations

from typing import ClassVar

from textual.message import Message
from textual.widget import Widget


class RowMoved(Message):
    """The cursor of a list is on another row; `row` is -1 in an empty list."""

    def __init__(self, rows: Widget, row: int) -> None:
        super().__init__()
        self.rows = rows
        self.row = row


class RowChosen(Message):
    """Enter was pressed on a row of a list, or it was clicked twice."""

    def __init__(self, rows: Widget, row: int) -> None:
        super().__init__()
        self.rows = rows
        self.row = row


class LineChanged(Message):
    """The text of the prompt line changed."""

    def __init__(self, purpose: str, text: str) -> None:
        super().__init__()
        self.purpose = purpose
        self.text = text


class LineEntered(Message):
    """Enter was pressed in the prompt line."""

    def __init__(self, purpose: str, text: str) -> None:
        super().__init__()
        self.purpose = purpose
        self.text = text


class OpenCompile(Message):
    """Show the compile screen of a model, with a target and a number of devices when given."""

    def __init__(self, model_id: str, target: str = "", num_devices: int = 0) -> None:
        super().__init__()
        self.model_id = model_id
        self.target = target
        self.num_devices = num_devices


class OpenFit(Message):
    """Show where a model, here or on the hub, fits; `words` are what its config says, when it is here."""

    def __init__(self, model_id: str, words: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.model_id = model_id
        self.words = words


class StartDownload(Message):
    """Download a checkpoint and nothing more."""

    def __init__(self, model_id: str) -> None:
        super().__init__()
        self.model_id = model_id


class OpenRun(Message):
    """Follow a job file."""

    def __init__(self, model_id: str, job_id: str) -> None:
        super().__init__()
        self.model_id = model_id
        self.job_id = job_id


class OpenJobs(Message):
    """Show the compiles of the prefix."""


class OpenInstructions(Message):
    """Show the program of a build, at `pc`, limited to a region, or with a filter typed before, when given."""

    scope: ClassVar[str] = "instructions"

    def __init__(self, model_id: str, build: str, pc: int = -1, region: str = "", filter: str = "") -> None:
        super().__init__()
        self.filter = filter
        self.model_id = model_id
        self.build = build
        self.pc = pc
        self.region = region


class OpenMemory(Message):
    """Show the memory map of a build, on `region` or with a filter typed before, when given."""

    scope: ClassVar[str] = "memory"

    def __init__(self, model_id: str, build: str, region: str = "", filter: str = "") -> None:
        super().__init__()
        self.filter = filter
        self.model_id = model_id
        self.build = build
        self.region = region


class OpenGenerate(Message):
    """Show the generate screen of a build."""

    scope: ClassVar[str] = "generate"

    def __init__(self, model_id: str, build: str) -> None:
        super().__init__()
        self.model_id = model_id
        self.build = build


class OpenMachine(Message):
    """Show the debugger of a build, with a breakpoint at `pc` when given."""

    scope: ClassVar[str] = "machine"

    def __init__(self, model_id: str, build: str, pc: int = -1) -> None:
        super().__init__()
        self.model_id = model_id
        self.build = build
        self.pc = pc


class OpenTimeline(Message):
    """Show one token of a build in time."""

    def __init__(self, model_id: str, build: str, position: int) -> None:
        super().__init__()
        self.model_id = model_id
        self.build = build
        self.position = position


class ColumnsChosen(Message):
    """The user chose the columns of the instruction list, by name."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        super().__init__()
        self.columns = columns


class CopyText(Message):
    """Send a text to the clipboard; `what` it is goes into the answer."""

    def __init__(self, text: str, what: str) -> None:
        super().__init__()
        self.text = text
        self.what = what


class GoBack(Message):
    """Leave the current screen."""
