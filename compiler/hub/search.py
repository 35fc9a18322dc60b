"""What the hub has: text-generation models whose name contains a text, with what decides whether to try one.

In: words. Out: `FoundModel`s, most downloaded first. Everything the hub says is
checked or made printable; what it does not say is "" or 0.
"""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from compiler.dtypes import SAFETENSORS_DTYPES
from compiler.errors import HubError, UsageError
from compiler.found_model import FoundModel
from compiler.hub.client import Client, Patience, connect, is_offline, printable_log
from compiler.hub.refusals import explain_client
from compiler.sanitize import one_line
from compiler.workspace import parse_model_id

LIMIT = 50
"""Models in one answer at most."""

_EXPAND = ("config", "downloads", "gated", "lastModified", "private", "safetensors", "tags")
_LONGEST_QUERY = 200
_PROBE_S = 4.0
_PATIENCE = Patience(attempts=2, first_wait_s=0.5, longest_wait_s=1.0, longest_asked_s=5.0, timeout_s=10.0)
_LICENCE_TAG = "license:"


def _silent(_: str) -> None:
    """Drop a message."""


def search_models(
    query: str,
    *,
    limit: int = 20,
    offline: bool = False,
    patience: Patience = _PATIENCE,
    on_message: Callable[[str], None] = _silent,
) -> tuple[FoundModel, ...]:
    """Ask the hub for models.

    Args:
        query: part of a name, as the hub's own search box takes it.
        limit: how many at most, 1 to LIMIT.
        offline: never ask the hub.
        patience: how to put up with a failing network.
        on_message: gets one printable line at a time.

    Raises:
        HubError: the hub refuses, cannot be reached, or may not be asked.
        UsageError: the query is empty or too long, the limit out of range.
    """
    words = " ".join(query.split())
    if not words or len(words) > _LONGEST_QUERY:
        raise UsageError(f"a search needs 1 to {_LONGEST_QUERY} characters, this one has {len(words)}")
    if not 1 <= limit <= LIMIT:
        raise UsageError(f"limit {limit} is not in 1..{LIMIT}")
    if is_offline(offline):
        raise HubError(
            "the hub may not be asked (offline)", "search without --offline, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE"
        )
    client = connect(None, patience, on_message)
    found = [_found(entry) for entry in _ask(client, words, limit)]
    return tuple(sorted((each for each in found if each is not None), key=lambda each: -each.downloads))


def _ask(client: Client, words: str, limit: int) -> list[Any]:
    """The hub's ModelInfo records."""
    from huggingface_hub import HfApi

    request = client.request("the search", "main")
    api = HfApi(endpoint=client.endpoint, token=client.token or False)

    def ask() -> list[Any]:
        try:
            _probe(client)
            with printable_log():
                entries = api.list_models(
                    search=words, filter="text-generation", sort="downloads", limit=limit, expand=list(_EXPAND)
                )
                return list(entries)
        except Exception as error:  # requests', httpx's or the client's own, by version
            raise explain_client(error, request) from None

    return client.persist(request, ask)


def _probe(client: Client) -> None:
    """Find out in seconds that nobody is there: the client itself would try for half a minute.

    Raises:
        OSError: no connection.
    """
    parts = urlsplit(client.endpoint)
    if parts.scheme in urllib.request.getproxies():
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((parts.hostname or "", port), timeout=_PROBE_S).close()


def _found(entry: Any) -> FoundModel | None:
    """A record of ours; None for one whose id is none of ours."""
    from compiler.graph.architectures import SUPPORTED

    try:
        model_id = parse_model_id(str(entry.id))
    except (UsageError, AttributeError):
        return None
    config, tags = getattr(entry, "config", None), getattr(entry, "tags", None)
    parameters, dtype = _size(getattr(entry, "safetensors", None))
    gating = getattr(entry, "gated", None)
    day = getattr(entry, "last_modified", None)
    architecture = _architecture(config)
    return FoundModel(
        model_id,
        architecture,
        parameters,
        dtype,
        _licence(tags),
        gating if gating in ("auto", "manual") else "manual" if gating else "",
        bool(getattr(entry, "private", False)),
        _count(getattr(entry, "downloads", 0)),
        day.strftime("%Y-%m-%d") if day is not None else "",
        any(architecture == each.name for each in SUPPORTED),
    )


def _architecture(config: object) -> str:
    names = config.get("architectures") if isinstance(config, Mapping) else None
    return one_line(str(names[0]), 80) if isinstance(names, list) and names else ""


def _licence(tags: object) -> str:
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, str) and tag.startswith(_LICENCE_TAG):
            return one_line(tag.removeprefix(_LICENCE_TAG), 60)
    return ""


def _size(safetensors: object) -> tuple[int, str]:
    """Number of parameters, and the dtype most of them have."""
    by_dtype = getattr(safetensors, "parameters", None)
    if not isinstance(by_dtype, Mapping):
        return 0, ""
    counts = {str(name): _count(count) for name, count in by_dtype.items()}
    if not counts:
        return 0, ""
    most = max(counts, key=lambda name: counts[name])
    return sum(counts.values()), str(SAFETENSORS_DTYPES.get(most) or one_line(most, 20))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
