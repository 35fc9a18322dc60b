"""Whether the compiler handles the models of a prefix: phase 0 as far as no device matters, for the list of models.

Slow at first, since every family is loaded, so it comes after the first
frame and looks at models that went through no further phase alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compiler.checkpoint.json_object import read_json
from compiler.errors import HyperDexError
from compiler.sanitize import one_line
from compiler.workspace import Workspace
from hyperdex_tui.backend.inventory import ModelEntry


class Support:
    """Checks configs, each one once for every time it was written."""

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._known: dict[tuple[str, int], str] = {}

    def settled(self, models: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
        """The models with phase 0 as far as it is known, without checking any."""
        return tuple(self._marked(model, self._known.get(self._key(model))) for model in models)

    def checked(self, models: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
        """The models with phase 0 decided."""
        for model in models:
            key = self._key(model)
            if key[1] and not model.phases[0] and not model.note and key not in self._known:
                self._known[key] = self._problem(model.model_id)
        return self.settled(models)

    def _key(self, model: ModelEntry) -> tuple[str, int]:
        """A model and when its config was written, 0 where it has none."""
        try:
            return model.model_id, self._config(model.model_id).stat().st_mtime_ns
        except OSError:
            return model.model_id, 0

    def _config(self, model_id: str) -> Path:
        return Workspace(self._prefix).model(model_id).ckpt / "config.json"

    def _marked(self, model: ModelEntry, problem: str | None) -> ModelEntry:
        if problem is None or model.phases[0]:
            return model
        return replace(model, phases=(not problem, *model.phases[1:]), unsupported=problem)

    def _problem(self, model_id: str) -> str:
        from compiler.checkpoint.config import CheckpointConfig
        from compiler.graph.architectures import build_graph

        config, damage = read_json(self._config(model_id))
        try:
            if not damage:
                build_graph(CheckpointConfig(config))
        except HyperDexError as error:
            return one_line(str(error), 300)
        except Exception as error:  # a list of models outlives a config that nobody thought of
            return one_line(f"not understood: {type(error).__name__}: {error}", 300)
        return damage
