"""Tables that no checkpoint holds: what they are computed from, and their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.checkpoint.alibi import Alibi
from compiler.checkpoint.rope import Rope, rotary_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class QueryScale:
    """Queries grow with their position p: 1 + beta * log(1 + floor(p / original_positions)).

    Source: transformers.models.ministral3.modeling_ministral3.get_llama_4_attn_scale.
    """

    beta: float
    original_positions: int


GeneratedTable = Rope | Alibi | QueryScale


def generated_table(table: GeneratedTable, rows: int) -> NDArray[np.float32]:
    """Float32 [rows, rotary_dim] of a rotation, [1, heads] of slopes, [rows, 1] of a query scale."""
    import numpy as np

    if isinstance(table, Rope):
        return rotary_table(table, rows)
    if isinstance(table, Alibi):
        return np.array([table.slopes], dtype=np.float32)
    periods = np.floor(np.arange(rows, dtype=np.float32) / np.float32(table.original_positions))
    return np.asarray(1 + np.float32(table.beta) * np.log(1 + periods), np.float32)[:, None]
