"""Where a value, an instruction or a byte range comes from. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A Hugging Face module, its tensor and its decoder layer.

    Attributes:
        module: dotted module path, e.g. `model.layers.3.self_attn.q_proj`.
        tensor: full tensor name, or "" for a value without parameters.
        layer: decoder layer, or -1 outside the layers.
    """

    module: str = ""
    tensor: str = ""
    layer: int = -1

    def __str__(self) -> str:
        return self.tensor or self.module
