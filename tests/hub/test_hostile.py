"""A repository, a hub or a redirect that means harm: the token, the folder and the terminal stay ours."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler.errors import CheckpointError, HubError, UsageError
from compiler.hub.client import connect
from compiler.workspace import ModelFolder
from tests.hub.conftest import CONFIG, MODEL, QUICK, SHARDED, TOKEN, WEIGHTS, WHOLE, get, refused
from tests.hub.local_hub import COMMIT, Fault, LocalHub, running


def everything_written(folder: ModelFolder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.prefix.rglob("*") if path.is_file())


def test_the_token_goes_to_the_hub_and_not_past_a_redirect(
    hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(LocalHub()) as store:
        store.add(MODEL, WHOLE)
        elsewhere = f"{store.endpoint.replace('127.0.0.1', 'localhost')}/{MODEL}/resolve/main/{WEIGHTS}?Signature=s"
        hub.faults += [
            Fault("/api/", status=307, headers={"Location": f"{store.endpoint}/api/models/{MODEL}"}),
            Fault(WEIGHTS, status=302, headers={"Location": elsewhere}),
        ]
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        get(folder)
        assert {seen.token for seen in hub.seen} == {TOKEN}
        assert [seen.path for seen in store.seen] == [f"/api/models/{MODEL}", f"/{MODEL}/resolve/main/{WEIGHTS}"]
        assert {seen.token for seen in store.seen} == {""}


def test_the_token_follows_a_renamed_repository(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add("new/name", WHOLE)
    hub.private |= {MODEL, "new/name"}
    hub.faults += [
        Fault(f"/api/models/{MODEL}", status=307, headers={"Location": "/api/models/new/name"}),
        *(
            Fault(
                f"/{MODEL}/resolve/{COMMIT}/{name}", status=308, headers={"Location": f"/new/name/resolve/main/{name}"}
            )
            for name in WHOLE
        ),
    ]
    get(folder, token=TOKEN)
    assert (folder.ckpt / WEIGHTS).read_bytes() == WHOLE[WEIGHTS]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "data:text/plain,x"])
def test_redirects_lead_to_http_only(hub: LocalHub, folder: ModelFolder, location: str) -> None:
    hub.faults.append(Fault(WEIGHTS, status=302, headers={"Location": location}))
    assert isinstance(refused(folder), HubError)


def test_an_endless_redirect_ends(hub: LocalHub, folder: ModelFolder) -> None:
    hub.faults.append(Fault(WEIGHTS, status=302, headers={"Location": f"/{MODEL}/resolve/main/{WEIGHTS}"}))
    assert "answers 302" in str(refused(folder))


@pytest.mark.parametrize("where", ["/api/", WEIGHTS])
def test_neither_the_token_nor_the_hubs_words_reach_the_user(
    hub: LocalHub, folder: ModelFolder, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    words = {"X-Error-Message": f"\x1b[31mpwned {TOKEN}", "X-HF-Warning": "t; \x1b[2Jwarned", "X-Error-Code": "Odd"}
    hub.faults.append(Fault(where, status=403, headers=words))
    said: list[str] = []
    error = refused(folder, token=TOKEN, on_message=said.append)
    spoken = "".join([*traceback.format_exception(error), repr(error), *said, caplog.text])
    for secret in (TOKEN, "pwned", "\x1b"):
        assert secret not in spoken
    assert TOKEN.encode() not in everything_written(folder)


def test_no_file_or_repr_holds_the_token(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder, token=TOKEN)
    assert TOKEN.encode() not in everything_written(folder)
    assert TOKEN not in repr(connect(TOKEN, QUICK, print))
    assert {seen.token for seen in hub.seen} == {TOKEN}


@pytest.mark.parametrize("token", ["hf_a\nX-Evil: 1", "hf_ä", "hf_a b", "hf_\x00"])
def test_a_token_that_cannot_be_one_is_refused_unshown(hub: LocalHub, folder: ModelFolder, token: str) -> None:
    error = refused(folder, token=token)
    assert isinstance(error, UsageError)
    assert token.split()[0] not in str(error)
    assert hub.seen == []


@pytest.mark.parametrize(
    "endpoint",
    [
        *("ftp://x", "127.0.0.1", "127.0.0.1:80", "file:///", "http://", "h", "//h", "http:h", "http:///org"),
        *("http://h:99999", "http://h:0", "http://h:-1", "http://h:8x", "http://h:٣"),
        *("http://h h", "http://h/a b", "http://h\n", "http://h\x1b[31m", "http://h\t.example", "http://ä.example"),
        *("http://[", "http://[::1", "http://[x]", "http://h[1]", "http://h]", "http://h\\x", "http://h\u202e"),
        *("http://a..b", "http://.h", f"http://{'x' * 64}", "http://h?a=b", "http://h#a", "http://h%20h"),
    ],
)
def test_an_endpoint_that_is_not_http_is_a_usage_error(
    hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    error = refused(folder)
    assert isinstance(error, UsageError)
    assert "HF_ENDPOINT is not an http or https address" in str(error)


@pytest.mark.parametrize("endpoint", ["http://[::1]:9", "https://h.example./hub/", "http://u:p@h_1:65535", "HTTP://h"])
def test_an_endpoint_that_is_an_address_is_taken(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert connect("", QUICK, print).endpoint == endpoint.rstrip("/")


@pytest.mark.parametrize(
    "address", ["http://[", "http://h:99999/", "http://a..b/", "http://h:x/", "http://127.0.0.1:0/"]
)
def test_a_redirect_to_what_is_no_address_is_a_hub_error(hub: LocalHub, folder: ModelFolder, address: str) -> None:
    hub.faults.append(Fault(WEIGHTS, status=302, headers={"Location": address}))
    assert isinstance(refused(folder), HubError)


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/passwd", "a/../../b", "..\\evil", "a\0b", ""])
def test_names_that_lead_out_are_refused(hub: LocalHub, folder: ModelFolder, name: str) -> None:
    hub.add(MODEL, {**WHOLE, name: b"evil"})
    assert "leads out of its folder" in str(refused(folder))
    assert not folder.path.exists()


@pytest.mark.parametrize(
    "shard",
    [
        *("../evil.safetensors", "/tmp/evil.safetensors", "a/b.safetensors", ".x.safetensors", "a\nb.safetensors"),
        *("a\x1b.safetensors", "x.py", "x.bin", "", 1, None, ["x.safetensors"]),
    ],
)
def test_a_weight_map_that_leads_elsewhere_is_refused(hub: LocalHub, folder: ModelFolder, shard: object) -> None:
    index = json.dumps({"weight_map": {"\x1b[31mtensor": shard}}).encode()
    hub.add(MODEL, {"config.json": CONFIG, "model.safetensors.index.json": index, "x.py": b"", "x.bin": b""})
    error = refused(folder)
    assert isinstance(error, CheckpointError)
    assert "which is not a plain .safetensors file name" in str(error)
    assert not folder.path.exists()


@pytest.mark.parametrize("index", [b"[]", b"{}", b'{"weight_map":{}}', b'{"weight_map":[]}', b"\xff", b"[" * 10_000])
def test_a_malformed_index_is_a_checkpoint_error(hub: LocalHub, folder: ModelFolder, index: bytes) -> None:
    hub.add(MODEL, {"config.json": CONFIG, "model.safetensors.index.json": index})
    assert isinstance(refused(folder), CheckpointError)


def test_shards_missing_at_the_hub_are_named_at_once(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add(MODEL, {name: raw for name, raw in SHARDED.items() if "-of-" not in name})
    error = refused(folder)
    assert isinstance(error, CheckpointError)
    assert "names 2 files that do not exist: model-00001-of-00002.safetensors, model-00002-of" in str(error)


@pytest.mark.parametrize(
    "edit",
    [
        {"siblings": None},
        {"siblings": 3},
        {"siblings": [{}]},
        {"siblings": [{"rfilename": None}]},
        {"sha": None},
        {"sha": "a/b"},
        {"sha": "../x"},
        {"id": None, "sha": 3},
    ],
)
def test_a_malformed_listing_is_one_error(hub: LocalHub, folder: ModelFolder, edit: dict[str, object]) -> None:
    hub.edit_listing = lambda listing: {**listing, **edit}
    assert refused(folder).exit_code in (HubError.exit_code, 4)


@pytest.mark.parametrize("answer", [[], "text", None, 3])
def test_a_listing_that_is_no_object_is_a_hub_error(hub: LocalHub, folder: ModelFolder, answer: object) -> None:
    hub.edit_listing = lambda listing: answer
    assert "malformed answer" in str(refused(folder))


@pytest.mark.parametrize(
    "edit",
    [
        {"size": None},
        {"size": -1},
        {"size": "1"},
        {"size": 1 << 60},
        {"lfs": {"size": 1, "sha256": "x", "pointerSize": 1}},
        {"size": True},
    ],
)
def test_a_file_without_size_or_hash_is_refused(hub: LocalHub, folder: ModelFolder, edit: dict[str, object]) -> None:
    def spoil(listing: dict[str, object]) -> object:
        for sibling in listing["siblings"]:  # type: ignore[attr-defined]
            if sibling["rfilename"] == WEIGHTS:
                sibling.update(edit)
        return listing

    hub.edit_listing = spoil
    assert isinstance(refused(folder), HubError)


def test_importing_the_hub_is_lean() -> None:
    code = "import sys, compiler.hub; print({'huggingface_hub', 'numpy', 'torch', 'requests'} & set(sys.modules))"
    repository = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to], ids=["symbolic", "hard"])
def test_a_part_is_not_written_through_a_link(
    link: Callable[[Path, Path], None], hub: LocalHub, folder: ModelFolder, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * 100_000)
    folder.ckpt.mkdir(parents=True)
    identity = hashlib.sha256(WHOLE[WEIGHTS]).hexdigest()
    link(folder.ckpt / f".{WEIGHTS}.{identity[:16]}.part", precious)
    get(folder)
    assert precious.read_bytes() == b"x" * 100_000
    assert (folder.ckpt / WEIGHTS).read_bytes() == WHOLE[WEIGHTS] and not (folder.ckpt / WEIGHTS).is_symlink()
