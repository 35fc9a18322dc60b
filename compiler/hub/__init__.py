"""Phase 1: the files of a checkpoint, from the Hugging Face Hub or placed by hand.

In: a model id and a revision. Out: whole, verified files in `ckpt/`. Only what
the compiler reads is fetched, never code. Every byte is checked against the size
and hash in the hub's listing of one commit. The only user of huggingface_hub.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compiler.checkpoint.untrusted_json import parse_object
from compiler.errors import CheckpointError, HubError
from compiler.hub.by_hand import find_config, is_placed, placed_files, read_limited, why_incomplete
from compiler.hub.client import Client, Patience, connect, is_offline
from compiler.hub.listing import Plan, checked_revision, make_plan
from compiler.hub.record import HubFile, Record, find_whole, is_unchanged, read_record, write_record
from compiler.hub.refusals import Unreachable
from compiler.hub.selection import (
    CONFIG_LIMIT_BYTES,
    CONFIG_NAME,
)
from compiler.hub.transfer import fetch, part_name, remove_parts
from compiler.publish import ensure_free_space, make_folder
from compiler.sanitize import one_line
from compiler.workspace import ModelFolder, parse_model_id


def _silent(_: str) -> None:
    """Drop a message."""


def _uncounted(_done: int, _total: int, _file: str) -> None:
    """Drop a progress report."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The checkpoint files in `ckpt/`.

    Attributes:
        model_id: repository.
        revision: commit, or "" for files placed by hand.
        files: name, size in bytes and SHA-256 ("" when placed by hand) of each.
        origin: "hub" or "local".
        fetched_bytes: how much of it was downloaded now; 0 when nothing changed.
    """

    model_id: str
    revision: str
    files: tuple[tuple[str, int, str], ...]
    origin: str
    fetched_bytes: int = 0


def read_config(
    model_id: str,
    folder: ModelFolder,
    *,
    revision: str | None = None,
    token: str | None = None,
    offline: bool = False,
    patience: Patience | None = None,
    on_message: Callable[[str], None] = _silent,
) -> dict[str, object]:
    """Return `config.json`: the one in `ckpt/` when placed by hand or current, else the hub's.

    Nothing is written.

    Raises:
        CheckpointError: it is not strict JSON, not an object or above 16 MB, or not a regular file.
        UnsupportedModelError: the repository has no config.json.
        HubError: the hub refuses or cannot be reached, or offline forbids asking.
    """
    model_id = parse_model_id(model_id)
    local = find_config(folder.ckpt)
    record = read_record(folder.ckpt)
    is_current = record is not None and record.answers(revision)
    if local is not None:
        by_hand, pinned = record is None, record is not None and record.revision == revision
        if by_hand or (is_current and (pinned or is_offline(offline))):
            return _read_local_config(local)
    if is_offline(offline):
        raise _absent(folder, record, revision)
    client = connect(token, patience or Patience(), on_message)
    request = client.request(model_id, checked_revision(revision), CONFIG_NAME)
    try:
        raw = client.read(request, CONFIG_LIMIT_BYTES)
    except Unreachable as error:
        if not is_current or local is None:
            raise
        on_message(one_line(f"{error}; using the copy in {folder.ckpt}"))
        return _read_local_config(local)
    return _parse_config(raw, f"{CONFIG_NAME} of {model_id}")


def download(
    model_id: str,
    folder: ModelFolder,
    *,
    revision: str | None = None,
    token: str | None = None,
    offline: bool = False,
    patience: Patience | None = None,
    on_progress: Callable[[int, int, str], None] = _uncounted,
    on_message: Callable[[str], None] = _silent,
) -> Snapshot:
    """Make `ckpt/` hold the checkpoint, whole and verified.

    The caller holds the lock of `folder`. Files placed by hand (config.json and
    weights, without our record) are taken as they are, without the network. A
    download that is complete and unchanged is not repeated.

    Args:
        model_id: repository.
        folder: where it goes.
        revision: branch, tag or commit; the main branch when None.
        token: hub token; the user's stored one when None.
        offline: never ask the hub.
        patience: how to put up with a failing network.
        on_progress: gets bytes done (monotonic), bytes in all, current file.
        on_message: gets one printable line at a time.

    Raises:
        HubError: the hub refuses, cannot be reached or gives no sizes and hashes.
        CheckpointError: a name leads out of its folder, shards are missing, or files placed by hand are not a whole
            checkpoint.
        UnsupportedModelError: no config.json, or no weights in a known format.
        CapacityError: the disk is too small, or full.
        UsageError: a name is rejected, or the folder cannot be written.
    """
    model_id = parse_model_id(model_id)
    ckpt, record = folder.ckpt, read_record(folder.ckpt)
    if record is None and find_config(ckpt) is not None and is_placed(ckpt):
        return _local_snapshot(model_id, ckpt)
    is_current = record is not None and record.answers(revision)
    if record is not None and is_current and (is_offline(offline) or record.revision == revision):
        snapshot = _recorded_snapshot(record, ckpt)
        if snapshot is not None:
            return snapshot
    if is_offline(offline):
        raise _absent(folder, record, revision)
    client = connect(token, patience or Patience(), on_message)
    try:
        plan = make_plan(client, model_id, revision)
    except Unreachable as error:
        snapshot = _recorded_snapshot(record, ckpt) if record is not None and is_current else None
        if snapshot is None:
            raise
        on_message(f"{error}; using the copy of commit {snapshot.revision[:12]}")
        return snapshot
    return _fetch_all(client, plan, ckpt, record, revision or "main", on_progress)


def _fetch_all(
    client: Client,
    plan: Plan,
    ckpt: Path,
    record: Record | None,
    requested: str,
    on_progress: Callable[[int, int, str], None],
) -> Snapshot:
    before = {file.name: file for file in record.files} if record is not None else {}
    whole = {file.name: found for file in plan.files if (found := find_whole(ckpt, file, before.get(file.name)))}
    missing = [file for file in plan.files if file.name not in whole]
    needed_bytes = sum(file.size - _collected(ckpt, file) for file in missing)
    make_folder(ckpt)
    ensure_free_space(ckpt, needed_bytes)
    if missing:  # a crash from here on must not look like files placed by hand
        kept = tuple(before.values())
        write_record(ckpt, Record(plan.model_id, requested, plan.revision, complete=False, files=kept))
    finished = highest = sum(found.size for found in whole.values())

    def report(file: HubFile, have: int) -> None:
        nonlocal highest
        highest = max(highest, finished + have)
        on_progress(highest, plan.total_bytes, file.name)

    for file in missing:
        request = client.request(plan.model_id, plan.revision, file.name)
        whole[file.name] = fetch(client, request, file, ckpt, partial(report, file))
        finished += file.size
    files = tuple(whole[file.name] for file in plan.files)
    done = Record(plan.model_id, requested, plan.revision, complete=True, files=files)
    if done != record:
        _remove_unneeded(ckpt, before.keys() - whole.keys())
        write_record(ckpt, done)
    return _snapshot(done, needed_bytes)


def _remove_unneeded(ckpt: Path, names: set[str]) -> None:
    """Remove what an earlier commit had and this one has not, and unfinished parts."""
    remove_parts(ckpt)
    for name in names:
        with suppress(OSError):
            (ckpt / name).unlink()


def _collected(ckpt: Path, file: HubFile) -> int:
    with suppress(OSError):
        return min((ckpt / part_name(file)).stat().st_size, file.size)
    return 0


def _local_snapshot(model_id: str, ckpt: Path) -> Snapshot:
    files = tuple((name, size, "") for name, size in placed_files(ckpt))
    return Snapshot(model_id, "", files, origin="local")


def _recorded_snapshot(record: Record, ckpt: Path) -> Snapshot | None:
    return _snapshot(record, 0) if all(is_unchanged(ckpt, file) for file in record.files) else None


def _snapshot(record: Record, fetched_bytes: int) -> Snapshot:
    files = tuple((file.name, file.size, file.sha256) for file in record.files)
    return Snapshot(record.model_id, record.revision, files, origin="hub", fetched_bytes=fetched_bytes)


def _read_local_config(path: Path) -> dict[str, object]:
    return _parse_config(read_limited(path, CONFIG_LIMIT_BYTES), str(path))


def _parse_config(raw: bytes, where: str) -> dict[str, object]:
    if len(raw) > CONFIG_LIMIT_BYTES:
        raise CheckpointError(f"{where} is longer than {CONFIG_LIMIT_BYTES} bytes", "it is no model's config")
    return parse_object(raw, where)


def _absent(folder: ModelFolder, record: Record | None, revision: str | None) -> HubError | CheckpointError:
    """Why the model is not there, when the hub may not be asked."""
    ckpt, lacks = folder.ckpt, "config.json and the weights are missing"
    if record is None:
        incomplete = why_incomplete(ckpt)
        if incomplete is not None:
            return incomplete
    elif not record.complete:
        lacks = "its download was interrupted"
    elif not record.answers(revision):
        lacks = f"it holds commit {record.revision[:12]}, not revision {revision or 'main'}"
    else:
        damaged = [file.name for file in record.files if not is_unchanged(ckpt, file)]
        lacks = f"{', '.join(damaged[:3])}{', ...' if len(damaged) > 3 else ''} changed or missing"
    return HubError(
        f"{folder.model_id} is not complete in {ckpt} ({one_line(lacks, 200)}) and the hub may not be asked (offline)",
        "run once without --offline and HF_HUB_OFFLINE, or place the files there by hand",
    )
