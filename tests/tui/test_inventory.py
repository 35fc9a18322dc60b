"""What the models screen knows about a prefix."""

from __future__ import annotations

import json
from pathlib import Path

from compiler.demo import DEMO_MODEL_ID
from compiler.workspace import ModelFolder
from hyperdex_tui.backend.inventory import DEMO_ID, ModelEntry, read_inventory, read_model
from tests.sealed import sealed
from tests.tui.builds import BUILD


def test_the_bundled_demo_is_offered_in_an_empty_prefix(prefix: Path) -> None:
    assert DEMO_ID == DEMO_MODEL_ID
    (entry,) = read_inventory(prefix)
    assert (entry.model_id, entry.bundled, entry.builds) == (DEMO_ID, True, ())


def test_a_prefix_that_does_not_exist_holds_the_demo_only(tmp_path: Path) -> None:
    assert [entry.model_id for entry in read_inventory(tmp_path / "nowhere")] == [DEMO_ID]


def test_a_complete_build_is_complete(built: ModelFolder) -> None:
    entry = read_model(built)
    assert entry.phases == (True,) * 5
    (build,) = entry.builds
    assert build.complete and not build.stale and build.max_length == 256
    assert entry.bytes > build.bytes > 0


def test_a_changed_checkpoint_makes_a_build_stale(built: ModelFolder) -> None:
    (built.ckpt / "hyperdex_config.json").write_text(json.dumps({"fingerprint": "d" * 64}))
    assert "checkpoint" in read_model(built).builds[0].stale


def test_a_program_for_other_parameters_is_stale(built: ModelFolder) -> None:
    path = built.inst(BUILD) / "manifest.json"
    path.write_bytes(sealed(json.loads(path.read_text().replace("f" * 64, "a" * 64))))
    assert "parameters" in read_model(built).builds[0].stale


def test_a_damaged_config_is_a_note_not_a_failure(built: ModelFolder) -> None:
    for content in ("{", "[]", "\x00", '{"a":' * 100_000):
        (built.ckpt / "config.json").write_text(content)
        entry: ModelEntry = read_model(built)
        assert "config.json" in entry.note and not entry.phases[0]
