"""Will it fit: bytes per device for several device counts, from config.json alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compiler.errors import HyperDexError, UnsupportedModelError
from compiler.sanitize import one_line
from compiler.workspace import Workspace
from hyperdex_tui.backend.inventory import read_json

DEVICE_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class FitRow:
    """Memory of one device when `num_devices` share the model; sizes in bytes.

    Attributes:
        weight_bytes: parameters with their padding.
        cache_bytes: keys and values at max_length.
        io_bytes: host buffer.
        note: why this count is impossible, "" when it is not.
    """

    num_devices: int
    weight_bytes: int = 0
    cache_bytes: int = 0
    io_bytes: int = 0
    capacity_bytes: int = 0
    note: str = ""

    @property
    def total_bytes(self) -> int:
        """What one device needs."""
        return self.weight_bytes + self.cache_bytes + self.io_bytes

    @property
    def fits(self) -> bool:
        """Whether one device holds it."""
        return not self.note and self.total_bytes <= self.capacity_bytes


@dataclass(frozen=True, slots=True)
class FitPlan:
    """The rows for all device counts, or why there are none.

    Attributes:
        smallest_fit: fewest devices that hold the model, 0 when unknown or none does.
        is_problem: whether `note` says that the model cannot be compiled at all.
    """

    rows: tuple[FitRow, ...] = ()
    note: str = ""
    smallest_fit: int = 0
    is_problem: bool = False


def config_file(prefix: Path, model_id: str) -> Path | None:
    """The config.json to plan with: the model's own, the bundled demo's, or None."""
    from compiler.demo import DEMO_MODEL_ID, demo_folder

    path = Workspace(prefix).model(model_id).ckpt / "config.json"
    if path.is_file():
        return path
    return demo_folder() / "config.json" if model_id == DEMO_MODEL_ID else None


def plan_fit(prefix: Path, model_id: str, target: str, dtype: str, max_length: int, counts: tuple[int, ...]) -> FitPlan:
    """Plan for each device count; slow at first (imports), so never on the event loop."""
    try:
        path = config_file(prefix, model_id)
        if path is None:
            return FitPlan(note="known once phase 1 has brought the model's config.json")
        config, damage = read_json(path)
        if damage:
            return FitPlan(note=damage, is_problem=True)
        rows, smallest = [], 0
        for count in counts:
            row, smallest = _plan_row(config, target, dtype, max_length, count)
            rows.append(row)
        return FitPlan(tuple(rows), smallest_fit=smallest)
    except HyperDexError as error:
        return FitPlan(note=str(error), is_problem=True)
    except Exception as error:  # a plan is advice: a bug in it must not end the app
        return FitPlan(note=one_line(f"no plan, a bug of ours: {type(error).__name__}: {error}", 300), is_problem=True)


def _plan_row(config: dict[str, object], target: str, dtype: str, max_length: int, count: int) -> tuple[FitRow, int]:
    """The row of one device count and the smallest count that fits.

    Raises:
        UnsupportedModelError: the model cannot be compiled for any count.
    """
    from compiler.planning import CompileOptions, plan_memory

    options = CompileOptions(num_devices=count, target=target, dtype=dtype, max_length=max_length or None)
    try:
        plan = plan_memory(config, options)
    except UnsupportedModelError:
        raise
    except HyperDexError as error:
        return FitRow(count, note=str(error)), 0
    row = FitRow(count, plan.weight_bytes, plan.kv_bytes, plan.io_bytes, plan.capacity_bytes)
    return row, plan.smallest_fit
