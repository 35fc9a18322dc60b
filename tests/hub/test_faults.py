"""A hub, a network or a repository that misbehaves: one clear error, and nothing half."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.errors import CapacityError, HubError
from compiler.hub import download, read_config
from compiler.hub.client import connect
from compiler.hub.refusals import Transient
from compiler.workspace import ModelFolder
from tests.hub.conftest import MODEL, QUICK, SHARDED, TOKEN, WEIGHTS, WHOLE, get, refused
from tests.hub.local_hub import COMMIT, Fault, LocalHub

SIZE = len(WHOLE[WEIGHTS])


@pytest.mark.parametrize(
    ("status", "code", "token", "said"),
    [
        (401, "GatedRepo", "", "is gated; ask for access .* set HF_TOKEN or run `hf auth login`"),
        (403, "GatedRepo", TOKEN, "is gated; ask for access .* wait until it is granted"),
        (401, "", "", "does not exist at 127.0.0.1, or is private .*`hf auth login`"),
        (401, "", TOKEN, "refuses .* to your token"),
        (403, "", TOKEN, "refuses .* to your token"),
        (404, "RepoNotFound", TOKEN, "does not exist at 127.0.0.1, or is private .404.; check the spelling"),
        (404, "RevisionNotFound", "", "has no revision 'main'.*--revision"),
        (410, "", "", "answers 410"),
        (451, "", "", "blocked .* legal"),
        (503, "", "", "does not deliver .* server error 503; try again later"),
        (500, "", "", "server error 500"),
        (429, "", "", "too many requests"),
    ],
)
@pytest.mark.parametrize("where", ["/api/", WEIGHTS])
def test_every_refusal_says_what_to_do(
    hub: LocalHub, folder: ModelFolder, status: int, code: str, token: str, said: str, where: str
) -> None:
    hub.faults.append(Fault(where, status=status, headers={"X-Error-Code": code} if code else {}))
    error = refused(folder, token=token)
    assert isinstance(error, HubError)
    said = said.replace("'main'", "'a+'") if where == WEIGHTS else said
    assert re.search(said, str(error))


def test_a_missing_or_private_repository_is_a_hub_error(hub: LocalHub, prefix: Path, folder: ModelFolder) -> None:
    other = ModelFolder(prefix, "org/missing")
    assert "does not exist at 127.0.0.1, or is private" in str(refused(other))
    hub.private.add(MODEL)
    assert "hf auth login" in str(refused(folder))
    get(folder, token=TOKEN)


def test_a_missing_revision_is_named(hub: LocalHub, folder: ModelFolder) -> None:
    assert "has no revision 'v9'" in str(refused(folder, revision="v9"))
    with pytest.raises(HubError, match="has no revision 'v9'"):
        read_config(MODEL, folder, revision="v9", patience=QUICK)


def test_an_error_beside_files_of_another_download_is_still_an_error(hub: LocalHub, folder: ModelFolder) -> None:
    get(folder)
    for status in (401, 403, 404):
        hub.faults = [Fault("/api/", status=status)]
        with pytest.raises(HubError):
            get(folder)


@pytest.mark.parametrize("status", [503, 502, 500, 429, 408])
@pytest.mark.parametrize("where", ["/api/", WEIGHTS])
def test_a_passing_trouble_is_waited_out(hub: LocalHub, folder: ModelFolder, status: int, where: str) -> None:
    hub.faults.append(Fault(where, status=status, times=2))
    said: list[str] = []
    get(folder, on_message=said.append)
    assert (folder.ckpt / WEIGHTS).read_bytes() == WHOLE[WEIGHTS]
    assert len(said) == 2
    assert all("trying again in" in text for text in said)


def test_a_pause_the_hub_asks_for_is_kept_or_refused(hub: LocalHub, folder: ModelFolder) -> None:
    hub.faults.append(Fault(WEIGHTS, status=429, headers={"Retry-After": "9999"}))
    assert "too many requests" in str(refused(folder))
    assert hub.fetched().count(WEIGHTS) == 1
    hub.faults = [Fault(WEIGHTS, status=429, headers={"Retry-After": "1"}, times=1)]
    said: list[str] = []
    download(MODEL, folder, patience=replace(QUICK, longest_asked_s=2.0), on_message=said.append)
    assert "trying again in 1 s" in said[0]


@pytest.mark.parametrize("kind", ["reset_after", "cut_after"])
@pytest.mark.parametrize("after", [0, 1, SIZE // 2, SIZE - 1])
def test_a_broken_connection_is_resumed_where_it_broke(
    hub: LocalHub, folder: ModelFolder, kind: str, after: int
) -> None:
    hub.faults.append(replace(Fault(WEIGHTS, times=1), **{kind: after}))  # type: ignore[arg-type]
    get(folder)
    assert (folder.ckpt / WEIGHTS).read_bytes() == WHOLE[WEIGHTS]
    ranges = [seen.range for seen in hub.seen if seen.path.endswith(WEIGHTS)]
    if kind == "cut_after":  # what a reset leaves in the receiver's buffer is the kernel's choice
        assert ranges == ["", f"bytes={after}-" if after else ""]


def test_a_later_download_resumes_an_interrupted_one(hub: LocalHub, folder: ModelFolder) -> None:
    hub.faults.append(Fault(WEIGHTS, cut_after=1000))
    error = refused(folder)
    assert "connection closed after" in str(error)
    collected = QUICK.attempts * 1000
    hub.faults.clear()
    hub.seen.clear()
    snapshot = get(folder)
    assert [seen.range for seen in hub.seen if seen.path.endswith(WEIGHTS)] == [f"bytes={collected}-"]
    assert hub.fetched() == [WEIGHTS]
    assert snapshot.fetched_bytes == SIZE - collected
    assert (folder.ckpt / WEIGHTS).read_bytes() == WHOLE[WEIGHTS]
    assert not [path for path in folder.ckpt.iterdir() if path.name.startswith(".")]


def test_an_interrupted_download_never_passes_for_files_placed_by_hand(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add(MODEL, SHARDED)
    hub.faults.append(Fault("00002-of", status=404))
    with pytest.raises(HubError):
        get(folder)
    assert (folder.ckpt / "model-00001-of-00002.safetensors").exists()
    with pytest.raises(HubError, match="not complete"):
        get(folder, offline=True)
    with pytest.raises(HubError, match="not complete"):
        read_config(MODEL, folder, offline=True)


def test_a_hub_that_ignores_ranges_costs_a_restart_only(hub: LocalHub, folder: ModelFolder) -> None:
    hub.faults += [Fault(WEIGHTS, cut_after=1000, times=1), Fault(WEIGHTS, ignore_range=True)]
    get(folder)
    assert (folder.ckpt / WEIGHTS).read_bytes() == WHOLE[WEIGHTS]


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
def test_a_byte_damaged_once_is_fetched_again(hub: LocalHub, folder: ModelFolder, name: str) -> None:
    hub.faults.append(Fault(name, flip=3, times=1))
    said: list[str] = []
    get(folder, on_message=said.append)
    assert "arrived damaged" in said[0]
    assert (folder.ckpt / name).read_bytes() == WHOLE[name]


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json"])
def test_a_byte_damaged_always_is_an_error_and_leaves_no_file(hub: LocalHub, folder: ModelFolder, name: str) -> None:
    hub.faults.append(Fault(name, flip=3))
    assert "arrived damaged twice" in str(refused(folder))
    assert sorted(path.name for path in folder.ckpt.iterdir() if name in path.name) == []


def test_a_damaged_index_is_an_error(hub: LocalHub, folder: ModelFolder) -> None:
    hub.add(MODEL, SHARDED)
    hub.faults.append(Fault("index.json", flip=3))
    assert "its hash is not the listed one" in str(refused(folder))


@pytest.mark.parametrize("extra", [-1, 1, 1 << 40])
def test_a_lying_length_is_an_error(hub: LocalHub, folder: ModelFolder, extra: int) -> None:
    hub.faults.append(Fault(WEIGHTS, extra_length=extra))
    assert "announces" in str(refused(folder))


def test_a_body_longer_than_listed_is_an_error(hub: LocalHub, folder: ModelFolder) -> None:
    hub.faults.append(Fault(WEIGHTS, extra_bytes=b"x" * 100_000))
    assert f"sends more than the {SIZE} bytes" in str(refused(folder))


def test_a_silent_hub_is_given_up(hub: LocalHub, folder: ModelFolder) -> None:
    hasty = replace(QUICK, attempts=2, timeout_s=0.1)
    for where in ("/api/", WEIGHTS):
        hub.faults = [Fault(where, hang=True)]
        with pytest.raises(HubError, match=r"cannot be reached .* no answer in time; check the network"):
            download(MODEL, folder, patience=hasty)


def test_a_hub_that_is_down_is_named(hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert "127.0.0.1 cannot be reached for org/model: Connection refused" in str(refused(folder))
        with pytest.raises(HubError, match="Connection refused"):
            read_config(MODEL, folder, patience=QUICK)


def test_a_hub_that_is_not_there_is_told_after_one_more_attempt(
    hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for endpoint in (f"http://127.0.0.1:{unused.getsockname()[1]}", "http://nobody.invalid"):
            monkeypatch.setenv("HF_ENDPOINT", endpoint)
            refused(folder, on_message=said.append)
            assert len(said) == 1, said
            said.clear()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    hub.faults.append(Fault("/api/", status=503))
    refused(folder, on_message=said.append)
    assert len(said) == QUICK.attempts - 1


def test_a_hub_that_goes_away_in_the_middle_is_waited_for() -> None:
    asked = iter([Transient("reset"), *[Transient("refused", absent=True)] * 9])

    def ask() -> None:
        raise next(asked)

    client = connect("", QUICK, lambda _: None)
    with pytest.raises(HubError):
        client.persist(client.request(MODEL, "main"), ask)
    assert len(list(asked)) == 10 - QUICK.attempts


def test_a_whole_copy_serves_while_the_hub_is_down(
    hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = get(folder)
    hub.faults.append(Fault("/", status=503))
    said: list[str] = []
    assert get(folder, on_message=said.append).files == before.files
    assert f"using the copy of commit {COMMIT[:12]}" in said[-1]
    assert read_config(MODEL, folder, patience=QUICK)["model_type"] == "opt"
    (folder.ckpt / "tokenizer.json").write_bytes(b"changed")
    with pytest.raises(HubError, match="server error 503"):
        get(folder)


def test_a_full_disk_keeps_what_arrived(hub: LocalHub, folder: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, hard))
    try:
        error = refused(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert isinstance(error, CapacityError)
    assert os.strerror(errno.EFBIG) in str(error)
    get(folder)
    assert (folder.ckpt / WEIGHTS).read_bytes() == WHOLE[WEIGHTS]
