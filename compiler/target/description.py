"""Reads the description of a device: complete, and free of contradictions.

In: the text of a TOML file. Out: a `Target`. Every number has to be there, of
its type, of a size that can be meant and with its source; numbers that cannot be true together
are refused, in one line that names the first of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from compiler.errors import UsageError
from compiler.memory_map import BURST_BYTES, CHANNELS
from compiler.sanitize import one_line
from compiler.target import Link, Target, Timing
from compiler.target.topology import TOPOLOGIES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_COMPUTE = {"clock_hz": float, "trees": int, "tree_width": int}
_HBM = {"channels": int, "capacity_bytes": int, "bandwidth_bytes_per_s": float, "burst_bytes": int}
_TYPES = {"int": int, "float": float, "str": str}
_ADVICE = "correct the file"
_LEAST, _MOST = 1e-9, 1e18
"""Between these no time or energy of a token overflows, whatever the other numbers are."""


def read_description(text: str, where: str) -> Target:
    """The target that a TOML text describes; `where` names it in errors.

    Raises:
        UsageError: not TOML, or something missing, misspelt, of a wrong type, without source or contradictory.
    """
    try:
        loaded = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one; so is what a number of 5,000 digits raises
        raise UsageError(f"{where} is not valid TOML: {error}", _ADVICE) from None
    table = _Tables(loaded, where)
    compute, hbm = table.numbers("compute", _COMPUTE), table.numbers("hbm", _HBM)
    lmu, power = table.numbers("lmu", {"capacity_bytes": int}), table.numbers("power", {"watts": float})
    timing, link = (table.numbers(name, _field_types(kind)) for name, kind in (("timing", Timing), ("link", Link)))
    target = Target(
        name=table.text("name"),
        title=table.text("title"),
        **compute,
        channels=hbm["channels"],
        hbm_bytes=hbm["capacity_bytes"],
        hbm_bytes_per_s=hbm["bandwidth_bytes_per_s"],
        burst_bytes=hbm["burst_bytes"],
        lmu_bytes=lmu["capacity_bytes"],
        watts=power["watts"],
        timing=Timing(**timing),
        link=Link(**link),
        sources=tuple(table.sources),
    )
    _check_together(target, where)
    return target


class _Tables:
    """The tables of a description; collects the source of every number."""

    def __init__(self, loaded: Mapping[str, Any], where: str) -> None:
        self._loaded, self._where = loaded, where
        self.sources: list[tuple[str, str]] = []
        known = {"name", "title", "compute", "hbm", "lmu", "power", "timing", "link"}
        for name in sorted(loaded.keys() - known):
            raise UsageError(f"{where}: {name} is not a table of a target", _ADVICE)

    def text(self, name: str) -> str:
        """A text at the top."""
        value = self._loaded.get(name)
        if not isinstance(value, str) or not value:
            raise UsageError(f"{self._where}: {name} is {self._shown(value)}, expected text", _ADVICE)
        return value

    def numbers(self, group: str, types: Mapping[str, type]) -> dict[str, Any]:
        """The numbers of a table, which has `source` for all of them or `sources` for each."""
        found = self._loaded.get(group)
        if not isinstance(found, dict):
            raise UsageError(f"{self._where}: table [{group}] is missing", _ADVICE)
        for name in sorted(found.keys() - types.keys() - {"source", "sources"}):
            raise UsageError(f"{self._where}: {group}.{name} is not a number of a target", _ADVICE)
        sources = found.get("sources", found.get("source"))
        self._source(group, sources) if isinstance(sources, str) else None
        values = {}
        for name, kind in types.items():
            values[name] = self._value(f"{group}.{name}", found.get(name), kind)
            if not isinstance(sources, str):
                self._source(f"{group}.{name}", sources.get(name) if isinstance(sources, dict) else None)
        return values

    def _source(self, name: str, source: object) -> None:
        if not isinstance(source, str) or not source.strip():
            raise UsageError(f"{self._where}: {name} has no source", "say where the number comes from")
        self.sources.append((name, source))

    def _value(self, name: str, value: object, kind: type) -> object:
        right = isinstance(value, str) if kind is str else isinstance(value, (int, kind)) and value is not True
        if not right:
            expected = {int: "a whole number", float: "a number", str: "text"}[kind]
            raise UsageError(f"{self._where}: {name} is {self._shown(value)}, expected {expected}", _ADVICE)
        if kind is not str and not _LEAST <= float(str(value)) <= _MOST:
            shown = one_line(str(value), 40)
            raise UsageError(f"{self._where}: {name} is {shown}, expected {_LEAST:g} to {_MOST:g}", _ADVICE)
        return kind(value)

    @staticmethod
    def _shown(value: object) -> str:
        return "missing" if value is None else repr(value)[:60]


def _field_types(kind: type) -> dict[str, type]:
    return {field.name: _TYPES[str(field.type)] for field in fields(kind)}


def _check_together(target: Target, where: str) -> None:
    """Refuse numbers that contradict each other or the machine this compiler knows.

    Raises:
        UsageError: the first contradiction.
    """
    timing, link = target.timing, target.link
    in_flight = int(target.hbm_bytes_per_s / target.clock_hz * timing.hbm_efficiency * timing.hbm_latency_cycles)
    rules = (
        (timing.hbm_efficiency <= 1, f"timing.hbm_efficiency is {timing.hbm_efficiency}, at most 1"),
        (target.channels == CHANNELS, f"hbm.channels is {target.channels}, parameter files are made for {CHANNELS}"),
        (
            target.hbm_bytes >= CHANNELS * BURST_BYTES,
            f"hbm.capacity_bytes is {target.hbm_bytes}, less than one burst of {BURST_BYTES} bytes in each of "
            f"{CHANNELS} channels",
        ),
        (target.burst_bytes == BURST_BYTES, f"hbm.burst_bytes is {target.burst_bytes}, addresses count {BURST_BYTES}"),
        (
            target.channels % target.trees == 0,
            f"compute.trees is {target.trees}, which does not divide hbm.channels {target.channels}",
        ),
        (
            timing.fifo_bytes >= in_flight,
            f"timing.fifo_bytes is {timing.fifo_bytes}, less than the {in_flight} bytes that hbm.bandwidth_bytes_per_s "
            "has under way in timing.hbm_latency_cycles",
        ),
        (link.topology in TOPOLOGIES, f"link.topology is {link.topology!r}, expected {', '.join(TOPOLOGIES)}"),
        (
            link.server_devices % 4 == 0,
            f"link.server_devices is {link.server_devices}, four lines need a multiple of 4",
        ),
        (
            link.header_bytes < link.packet_bytes,
            f"link.header_bytes is {link.header_bytes}, not below link.packet_bytes {link.packet_bytes}",
        ),
    )
    for holds, message in rules:
        if not holds:
            raise UsageError(f"{where}: {message}", _ADVICE)
