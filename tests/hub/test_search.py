"""Search: the real client against a local hub, whatever that answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from compiler.errors import HubError, HyperDexError, UsageError
from compiler.found_model import FoundModel
from compiler.hub.search import LIMIT, search_models
from tests.hub.conftest import QUICK, TOKEN
from tests.hub.local_hub import Fault, LocalHub

EVIL = "\x1b]0;owned\x07[red]\u202eevil"


@pytest.fixture
def stocked(hub: LocalHub) -> LocalHub:
    """A hub with a few models."""
    hub.details = {
        "org/opt-small": {
            "config": {"architectures": ["OPTForCausalLM"], "model_type": "opt"},
            "safetensors": {"parameters": {"F16": 1000, "F32": 10}, "total": 1010},
            "tags": ["text-generation", "license:mit"],
            "gated": False,
            "private": False,
            "downloads": 5,
            "lastModified": "2024-05-06T07:08:09.000Z",
        },
        "org/opt-gated": {"gated": "manual", "downloads": 50, "config": {"architectures": ["LlamaForCausalLM"]}},
        "org/other": {"downloads": 500},
    }
    return hub


def test_a_search_says_what_decides_whether_to_try_a_model(stocked: LocalHub) -> None:
    found = search_models("OPT", patience=QUICK)
    assert found == (
        FoundModel("org/opt-gated", "LlamaForCausalLM", gating="manual", downloads=50, is_supported=True),
        FoundModel("org/opt-small", "OPTForCausalLM", 1010, "float16", "mit", "", False, 5, "2024-05-06", True),
    )


def test_the_limit_is_the_hubs_work(stocked: LocalHub) -> None:
    assert len(search_models("o", limit=1, patience=QUICK)) == 1
    assert len([seen for seen in stocked.seen if seen.path == "/api/models"]) == 1


def test_the_token_goes_to_the_hub_and_nowhere_else(stocked: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said: list[str] = []
    found = search_models("opt", patience=QUICK, on_message=said.append)
    assert {seen.token for seen in stocked.seen} == {TOKEN}
    assert TOKEN not in repr(found) and not any(TOKEN in text for text in said)


@pytest.mark.parametrize(
    "details",
    [
        {"config": EVIL, "tags": [f"license:{EVIL}"], "safetensors": {"parameters": {EVIL: 3}, "total": 3}},
        {"config": {"architectures": [EVIL]}, "gated": EVIL, "downloads": -1},
        {"config": {"architectures": []}, "tags": EVIL, "downloads": True},
    ],
)
def test_nothing_a_hub_says_reaches_a_terminal_unescaped(stocked: LocalHub, details: dict[str, object]) -> None:
    stocked.details = {"org/model": details, "../../etc": {}, EVIL: {}}
    (found,) = search_models("o", patience=QUICK)
    assert found.model_id == "org/model"
    for value in (found.architecture, found.dtype, found.licence, found.gating):
        assert value.isprintable() and "\x1b" not in value
    assert found.downloads == 0 and found.gating in ("", "manual")


@pytest.mark.parametrize(
    "edit",
    [
        lambda entry: {"no": "id"},
        lambda entry: [],
        lambda entry: {**entry, "lastModified": "yesterday"},
        lambda entry: {**entry, "safetensors": {"parameters": None}},
    ],
)
def test_a_malformed_answer_is_one_line(stocked: LocalHub, edit: Callable[[dict[str, object]], object]) -> None:
    stocked.edit_listing = edit
    with pytest.raises(HyperDexError, match="malformed answer") as caught:
        search_models("opt", patience=QUICK)
    assert caught.value.exit_code == 9


@pytest.mark.parametrize(("status", "said"), [(401, "private"), (404, "does not exist"), (418, "answers 418")])
def test_a_refusal_is_one_line(stocked: LocalHub, status: int, said: str) -> None:
    stocked.faults.append(Fault("/api/models", status=status))
    with pytest.raises(HubError, match=said):
        search_models("opt", patience=QUICK)


def test_nobody_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch, hub: LocalHub) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(HubError, match="cannot be reached"):
        search_models("opt", patience=QUICK)
    assert time.monotonic() - begun < 15  # the hub's own client would go on for half a minute


def test_offline_asks_nobody(stocked: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="offline"):
        search_models("opt", patience=QUICK)
    assert stocked.seen == []


@pytest.mark.parametrize(("query", "limit"), [("", 5), ("  ", 5), ("x" * 201, 5), ("x", 0), ("x", LIMIT + 1)])
def test_an_impossible_question_is_refused(stocked: LocalHub, query: str, limit: int) -> None:
    with pytest.raises(UsageError):
        search_models(query, limit=limit, patience=QUICK)
    assert stocked.seen == []


def test_the_command_prints_data_on_stdout(stocked: LocalHub) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "compiler", "search", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    done = run("opt", "--json")
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)["models"]
    assert [(each["model_id"], each["is_supported"]) for each in models] == [
        ("org/opt-gated", True),
        ("org/opt-small", True),
    ]
    shown = run("opt")
    assert shown.stdout.splitlines()[0].startswith("MODEL") and "gated (manual)" in shown.stdout
    nothing = run("nonesuch")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert run("opt", "--offline").returncode == 9
