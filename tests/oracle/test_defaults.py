"""A field that config.json leaves out means what transformers takes for it."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.checkpoint.config import CheckpointConfig
from compiler.errors import UnsupportedModelError
from compiler.graph.architectures import build_graph
from compiler.graph.ir import Graph
from tests.oracle.checkpoints import FAMILIES, Recipe, class_name, make_config

NOT_OF_THE_MODEL = ("architectures", "model_type", "transformers_version", "dtype")


def _graph(fields: dict[str, Any]) -> Graph | str:
    try:
        return build_graph(CheckpointConfig(fields))
    except UnsupportedModelError as error:
        return str(error)


@pytest.mark.parametrize("recipe", FAMILIES, ids=str)
def test_a_missing_field_means_what_transformers_takes(recipe: Recipe) -> None:
    config = make_config(recipe)
    kind, fields = type(config), {**config.to_dict(), "architectures": [class_name(recipe)]}
    different = []
    for name in sorted(set(fields) - set(NOT_OF_THE_MODEL)):
        rest = {key: value for key, value in fields.items() if key != name}
        ours = _graph(rest)
        if isinstance(ours, str) and "missing" in ours:
            continue  # a size without which there is no model
        try:
            theirs = kind.from_dict(rest).to_dict()
        except ValueError:  # no model of theirs, as layer types are for another number of layers
            continue
        if ours != _graph({**theirs, "architectures": [class_name(recipe)]}):
            different.append(f"{name}, which is {theirs.get(name)!r} there")
    assert not different
