"""The hub's listing of a repository turned into a plan: which files, how large, which hashes.

In: a client, a model id, a revision. Out: a `Plan` pinned to one commit. The
listing is not trusted: sizes, hashes and names are checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from compiler.checkpoint.model_card import CARD_NAME
from compiler.checkpoint.small_files import SMALL_NAMES
from compiler.errors import HubError, UnsupportedModelError, UsageError
from compiler.hub.client import Client
from compiler.hub.record import Digest, HubFile
from compiler.hub.refusals import Request, malformed
from compiler.hub.selection import (
    CONFIG_NAME,
    INDEX_LIMIT_BYTES,
    check_names,
    is_index,
    shards_of,
    weights_entry,
)
from compiler.sanitize import one_line

_COMMIT = re.compile(r"[0-9A-Za-z]{4,64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_FILE_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What a checkpoint consists of at one commit; weights come last."""

    model_id: str
    revision: str
    files: tuple[HubFile, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def make_plan(client: Client, model_id: str, revision: str | None) -> Plan:
    """Ask for the listing, and for the index of sharded weights.

    Raises:
        HubError: the hub refuses, cannot be reached or gives no sizes and hashes.
        CheckpointError: a name leads out of its folder, or shards are missing.
        UnsupportedModelError: no config.json, or no weights in a known format.
        UsageError: the revision is not one.
    """
    requested = checked_revision(revision)
    listing = client.model_info(model_id, revision)
    request = client.request(model_id, requested)
    try:
        commit = str(listing.sha)
        siblings = {str(sibling.rfilename): sibling for sibling in listing.siblings or ()}
    except (AttributeError, TypeError):
        raise malformed(request) from None
    if not _COMMIT.fullmatch(commit):
        raise malformed(request)
    pinned = client.request(model_id, commit)
    check_names(siblings, model_id)
    if CONFIG_NAME not in siblings:
        raise UnsupportedModelError(f"{model_id} has no {CONFIG_NAME}", "choose a repository of a transformers model")
    entry = weights_entry(siblings, model_id)
    names = [name for name in (*SMALL_NAMES, CARD_NAME) if name in siblings] + [entry]
    if is_index(entry):
        index = _hub_file(client, siblings[entry], pinned)
        raw = client.read(client.request(model_id, commit, entry), INDEX_LIMIT_BYTES)
        digest = Digest(len(raw))
        digest.update(raw)
        if not digest.matches(index):
            raise HubError(f"{model_id}/{entry} arrived damaged: its hash is not the listed one", "try again")
        names += shards_of(raw, entry, siblings)
    return Plan(model_id, commit, tuple(_hub_file(client, siblings[name], pinned) for name in names))


def _hub_file(client: Client, sibling: object, request: Request) -> HubFile:
    """Size and hash of one file: from the listing, else from the headers of the file's own address.

    Mirrors list names only; their etag is the same hash that the listing would give.
    """
    name, size = str(getattr(sibling, "rfilename", "")), getattr(sibling, "size", None)
    large = getattr(sibling, "lfs", None)
    sha256 = str(getattr(large, "sha256", "") or "")
    blob_id = "" if large is not None else str(getattr(sibling, "blob_id", "") or "")
    if not _is_known(size, sha256, blob_id) and large is None:
        metadata = client.file_metadata(client.request(request.model_id, request.revision, name))
        size, etag = metadata.size, str(metadata.etag or "")
        sha256, blob_id = (etag, "") if _SHA256.fullmatch(etag) else ("", etag)
    if not _is_known(size, sha256, blob_id):
        raise HubError(
            f"{request.host} gives no usable size and hash for {request.model_id}/{name}",
            "check HF_ENDPOINT, or place the files in ckpt/ by hand",
        )
    return HubFile(name, int(size or 0), sha256, blob_id)


def _is_known(size: object, sha256: str, blob_id: str) -> bool:
    whole = isinstance(size, int) and 0 <= size <= _LARGEST_FILE_BYTES
    return whole and bool(_SHA256.fullmatch(sha256) if sha256 else _SHA1.fullmatch(blob_id))


def checked_revision(revision: str | None) -> str:
    """Return the revision to ask for, "main" for None.

    Raises:
        UsageError: it cannot be one.
    """
    chosen = "main" if revision is None else revision
    if not chosen or not chosen.isprintable() or ".." in chosen:
        raise UsageError(f"revision {one_line(chosen, 80)!r} is not a branch, tag or commit")
    return chosen
