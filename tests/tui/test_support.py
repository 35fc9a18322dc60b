"""Phase 0 of models that went no further: decided behind the first frame, each config once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from compiler.workspace import ModelFolder, Workspace
from hyperdex_tui.backend import support
from hyperdex_tui.backend.inventory import read_inventory
from hyperdex_tui.backend.support import Support
from tests.tiny import LLAMA
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, rows, settle, text


def place(prefix: Path, model_id: str, config: object) -> ModelFolder:
    folder = Workspace(prefix).model(model_id)
    folder.ckpt.mkdir(parents=True)
    (folder.ckpt / "config.json").write_text(json.dumps(config))
    return folder


def phase_0(prefix: Path, check: Support, model_id: str) -> tuple[bool, str]:
    model = next(each for each in check.checked(read_inventory(prefix)) if each.model_id == model_id)
    return model.phases[0], model.unsupported


def test_a_family_that_is_known_passes_phase_0_and_another_does_not(prefix: Path) -> None:
    place(prefix, "org/good", LLAMA)
    place(prefix, "org/other", {"architectures": ["BertModel"]})
    check = Support(prefix)
    assert phase_0(prefix, check, "org/good") == (True, "")
    done, problem = phase_0(prefix, check, "org/other")
    assert not done and "'BertModel' is not supported" in problem


def test_a_config_that_changed_is_looked_at_again(prefix: Path) -> None:
    folder = place(prefix, "org/one", {"architectures": ["BertModel"]})
    check = Support(prefix)
    assert not phase_0(prefix, check, "org/one")[0]
    path = folder.ckpt / "config.json"
    path.write_text(json.dumps(LLAMA))
    os.utime(path, ns=(1, 1))
    assert phase_0(prefix, check, "org/one") == (True, "")


def test_what_is_known_is_not_computed_again(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(prefix, "org/one", {"architectures": ["BertModel"]})
    check = Support(prefix)
    expected = phase_0(prefix, check, "org/one")
    monkeypatch.setattr(support, "read_json", lambda path: pytest.fail("read again"))
    assert phase_0(prefix, check, "org/one") == expected


def test_a_hostile_config_is_a_reason(prefix: Path) -> None:
    place(prefix, "org/evil", {"architectures": ["LlamaForCausalLM"], "hidden_size": {"\x1b[2J": 1}})
    done, problem = phase_0(prefix, Support(prefix), "org/evil")
    assert not done and problem and "\x1b" not in problem


async def test_the_list_and_the_pane_say_so(make_app: MakeApp, prefix: Path) -> None:
    place(prefix, "org/other", {"architectures": ["BertModel"]})
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        row = next(row for row in rows(app) if "org/other" in row)
        assert "✗ not supported: BertModel" in row and "0✗" in row
        await press(pilot, "end")
        assert "hyperdex models --supported" in text(app) and "No build yet" not in text(app)
