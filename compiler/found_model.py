"""What a search of the hub finds, as the compiler's process tells it to the app's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model of the hub; "" and 0 where the hub does not say.

    Attributes:
        architecture: class of transformers, as its config.json says.
        parameters: number of elements in its safetensors files.
        dtype: the element type most of them have.
        licence: identifier of the licence, as its card says.
        gating: "" when open, else "auto" or "manual": who grants access on the model's page.
        downloads: in the last 30 days.
        updated: day of the last change, YYYY-MM-DD.
        is_supported: whether its architecture is one this compiler handles.
    """

    model_id: str
    architecture: str = ""
    parameters: int = 0
    dtype: str = ""
    licence: str = ""
    gating: str = ""
    is_private: bool = False
    downloads: int = 0
    updated: str = ""
    is_supported: bool = False

    @property
    def access(self) -> str:
        """Who may download it, in words."""
        if self.is_private:
            return "private"
        if self.gating:
            who = "by its owners" if self.gating == "manual" else "at once"
            return f"gated: ask on its page, granted {who}"
        return "open"
