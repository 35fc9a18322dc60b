"""The models screen: search of the hub, download, deletion, and where a model fits."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from compiler.checkpoint.json_object import read_json
from compiler.found_model import FoundModel
from compiler.workspace import ModelFolder, lock
from hyperdex_tui.backend.fit import estimate_fit
from hyperdex_tui.backend.hub_search import search_hub
from hyperdex_tui.backend.inventory import read_model
from hyperdex_tui.backend.words import config_words, weights_of
from hyperdex_tui.screens.compile import CompileScreen
from hyperdex_tui.screens.fit import FitScreen
from hyperdex_tui.screens.run import RunScreen
from hyperdex_tui.widgets.fit_list import FitList
from hyperdex_tui.widgets.model_detail import ModelDetail
from hyperdex_tui.widgets.model_list import HubAnswer, ModelList
from tests.hub.local_hub import Fault, LocalHub, running
from tests.tiny import LLAMA
from tests.tui.builds import BUILD, MODEL
from tests.tui.conftest import MakeApp
from tests.tui.screen_text import press, settle, text, until

SIZE = (80, 24)
EVIL = "\x1b]0;owned\x07[red]\u202eevil"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub with models called tiny, for child processes."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with running(LocalHub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        size = {"parameters": {"BF16": 1_300_000_000}, "total": 1}
        hub.details = {
            "org/tiny-gated": {"gated": "manual", "downloads": 9, "config": {"architectures": ["LlamaForCausalLM"]}},
            "org/tiny-open": {
                "downloads": 90,
                "config": {"architectures": ["OPTForCausalLM"]},
                "safetensors": size,
                "tags": ["license:mit"],
                "lastModified": "2024-05-06T07:08:09.000Z",
            },
            "org/tiny-strange": {"downloads": 1, "config": {"architectures": [EVIL]}},
        }
        yield hub


async def test_the_hub_is_searched_once_the_typing_rests(
    make_app: MakeApp, built: ModelFolder, hub: LocalHub, size: tuple[int, int], text_snapshot: SnapshotAssertion
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"tiny")
        await settle(pilot)
        assert len([seen for seen in hub.seen if seen.path == "/api/models"]) == 1
        await press(pilot, "enter", "j", "j", "j")
        assert text(app) == text_snapshot
        await press(pilot, "escape")
        assert "org/tiny-open" not in text(app)


async def test_a_hub_model_can_be_compiled(make_app: MakeApp, hub: LocalHub) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"tiny")
        await settle(pilot)
        await press(pilot, "enter", "G", "k", "enter")
        assert isinstance(app.screen, CompileScreen) and app.screen.spec.model_id == "org/tiny-gated"


async def test_new_letters_cancel_the_search_before(make_app: MakeApp, hub: LocalHub) -> None:
    hub.faults.append(Fault("/api/models", hang=True, times=1))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"ti")
        await until(pilot, lambda: len(hub.seen) > 0)
        assert "searching for ti" in text(app)
        await pilot.press("n")
        await until(pilot, lambda: "org/tiny-open" in text(app))


@pytest.mark.parametrize(("endpoint", "said"), [("", "offline: HF_HUB_OFFLINE"), ("http://127.0.0.1:9", "reached")])
async def test_no_hub_is_said_in_the_list(
    make_app: MakeApp, built: ModelFolder, monkeypatch: pytest.MonkeyPatch, endpoint: str, said: str
) -> None:
    if endpoint:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
    app = make_app()
    async with app.run_test(size=(160, 24)) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"tiny")
        await settle(pilot)
        assert said in text(app) and MODEL in text(app)
        await pilot.press("enter", "end")
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        pane = app.screen.query_one(ModelDetail).plain
        assert said in " ".join(pane.split()) and "…" not in pane, (
            "the row is cut at 80 columns, the pane has all of it"
        )


async def test_what_the_hub_says_is_text(make_app: MakeApp, hub: LocalHub) -> None:
    app = make_app()
    async with app.run_test(size=(160, 24)) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"strange")
        await settle(pilot)
        assert "[red]" in text(app) and "\x1b" not in text(app) and "\u202e" not in text(app)


async def test_a_search_tells_supported_from_others(hub: LocalHub) -> None:
    found = await search_hub("tiny")
    assert [(entry.model_id, entry.is_supported) for entry in found] == [
        ("org/tiny-open", True),
        ("org/tiny-gated", True),
        ("org/tiny-strange", False),
    ]


async def test_models_that_are_here_are_not_listed_twice(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        listing = app.screen.query_one(ModelList)
        listing.show((read_model(built),), "tiny", HubAnswer((FoundModel(MODEL), FoundModel("a/tiny")), is_done=True))
        ids = [listing.cells(index)[0] for index in range(listing.row_count())]
        assert ids == [MODEL, MODEL, None, "a/tiny"]


async def test_a_build_is_deleted_after_a_yes_and_only_then(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        await press(pilot, "x")
        assert "put the cursor on a build" in text(app)
        await press(pilot, "j", "x")
        assert f"Delete build {BUILD} of {MODEL}?" in text(app) and "Frees 4.0 MB" in text(app)
        await press(pilot, "n")
        assert built.builds() == (BUILD,)
        await press(pilot, "x", "y")
        await settle(pilot)
        assert built.builds() == () and "freed" in text(app)
        assert (built.ckpt / "model.safetensors").is_file()


async def test_a_model_at_work_keeps_its_builds(make_app: MakeApp, built: ModelFolder) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await settle(pilot)
        with lock(built):
            await press(pilot, "j", "x", "y")
            await settle(pilot)
        assert "is in use by" in text(app) and built.builds() == (BUILD,)


async def test_download_alone_is_a_job(make_app: MakeApp, prefix: Path) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "D")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.progress.ended)
        assert isinstance(app.screen, RunScreen) and not app.screen.progress.error, text(app)
    folder = ModelFolder(prefix, "hyperdex/demo")
    assert (folder.ckpt / "model.safetensors").is_file() and folder.builds() == ()
    assert not (folder.ckpt / "hyperdex_model.bin").exists()


async def test_the_fit_table_covers_every_target_and_leads_to_a_compile(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "f")
        listing = app.screen.query_one(FitList)
        assert isinstance(app.screen, FitScreen) and listing.row_count() == 24, text(app)
        for index in range(listing.row_count()):
            row = dict(zip(listing.columns(), listing.cells(index), strict=True))
            total, weights = row["total_bytes"], row["weight_bytes"]
            assert isinstance(total, int) and isinstance(weights, int) and total > weights > 0
            assert row["fits"] is True and isinstance(row["estimated_ms_per_token"], float)
        await press(pilot, "G", "k", "enter")
        assert isinstance(app.screen, CompileScreen)
        assert (app.screen.spec.target, app.screen.spec.num_devices) == ("lpu-3280", 16)


async def test_a_model_that_cannot_be_estimated_says_why(make_app: MakeApp, built: ModelFolder) -> None:
    (built.ckpt / "config.json").write_text(json.dumps({"architectures": ["NoSuchThing"]}))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, "f")
        assert "✗" in text(app) and "NoSuchThing" in text(app)


def test_a_config_in_plain_words() -> None:
    config: dict[str, object] = {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "hidden_act": "silu",
        "vocab_size": 1000,
        "tie_word_embeddings": True,
        "max_position_embeddings": 4096,
        "rope_theta": 10000.0,
        "rope_scaling": {"rope_type": "llama3"},
    }
    assert config_words(config) == (
        "2 decoder layers on vectors of 64 elements",
        "4 attention heads of 16 elements; keys and values in 2 heads",
        "feed-forward of 128 elements, silu",
        "vocabulary of 1,000 tokens; one matrix for input and output",
        "texts up to 4,096 tokens; rotary positions, base 10,000, scaled (llama3)",
    )


@pytest.mark.parametrize("value", [None, [], {}, "x", -1, True, 1e309, 10**400, 10**4000, EVIL])
def test_no_config_breaks_its_words(value: object) -> None:
    names = ("num_hidden_layers", "hidden_size", "n_head", "vocab_size", "hidden_act", "rope_theta", "rope_scaling")
    words = config_words(dict.fromkeys(names, value))
    assert all(word.isprintable() and len(word) < 200 for word in words)


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b"{"])
def test_weights_that_are_none_have_no_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weights_of(tmp_path) == (0, "")


def test_weights_of_absurd_shapes_have_no_size(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F16", "shape": [1 << 61] * 40}}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert weights_of(tmp_path) == (0, "")


def test_pipes_in_the_place_of_files_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    os.mkfifo(tmp_path / "config.json")
    assert weights_of(tmp_path) == (0, "")
    found, complaint = read_json(tmp_path / "config.json")
    assert found == {} and "config.json" in complaint


async def test_a_model_of_the_hub_is_estimated_for_as_long_a_text_as_it_has_room_for(
    prefix: Path, hub: LocalHub
) -> None:
    config = {**LLAMA, "max_position_embeddings": 64}
    hub.add("org/short", {"config.json": json.dumps(config).encode()})
    plan = await estimate_fit(prefix, "org/short", "u55c", (1, 2))
    assert not plan.is_problem, plan.note
    assert plan.tokens == plan.max_length == 64
    assert all(row.fits and row.ms_per_token for row in plan.rows)
