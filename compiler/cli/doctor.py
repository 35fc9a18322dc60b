"""`hyperdex doctor`: what this machine has to offer, and what will not work on it.

Looks and never touches: no file is written and the network is not asked.
"""

from __future__ import annotations

import contextlib
import locale
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from packaging.requirements import Requirement

from compiler import __version__
from compiler.cards import LPU_VENDOR, PCI_DEVICES, find_cards
from compiler.cli.answer import answer, json_option
from compiler.cli.options import examples, prefix_option
from compiler.cli.selection import open_workspace
from compiler.cli.table import table_lines, terminal_width
from compiler.errors import HyperDexError, UsageError
from compiler.sanitize import one_line

_LITTLE_SPACE_BYTES = 10 * 10**9
_PYTHON = (3, 10)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        level: ok, warning (works, but) or problem (something will not work).
        detail: what was found, and what to do about it.
    """

    name: str
    level: str
    detail: str


@click.command(name="doctor", epilog=examples("hyperdex doctor", "hyperdex doctor --prefix /data/models --json"))
@prefix_option
@json_option("One JSON object.")
def command(prefix: Path | None, as_json: bool) -> None:
    """Look at this machine: versions, emulator, prefix, free space, models, LPU cards, hub.

    Nothing is written and the hub is not asked. Exit code 2 when something will not work.
    """
    found = examine(prefix)
    if as_json:
        answer({"findings": [asdict(finding) for finding in found]})
    else:
        rows = [(finding.level, finding.name, finding.detail) for finding in found]
        for line in table_lines(rows, terminal_width()):
            click.echo(line)
    problems = [finding.name for finding in found if finding.level == "problem"]
    if problems:
        raise UsageError(f"this machine has a problem with: {', '.join(problems)}", "see the lines above")


def examine(prefix: Path | None = None, pci: Path = PCI_DEVICES) -> tuple[Finding, ...]:
    """Every finding; none raises.

    Args:
        prefix: as given on the command line.
        pci: where the kernel lists PCI devices.
    """
    return (
        _versions(),
        _packages(),
        _machine(),
        _emulator(),
        _terminal(),
        _prefix(prefix),
        _models(prefix),
        _cards(pci),
        _hub(),
    )


def _versions() -> Finding:
    text = f"hyperdex {__version__}, {platform.python_implementation()} {platform.python_version()}"
    text += f", {platform.system()} {platform.release()}, {platform.machine()}"
    if sys.version_info < _PYTHON:
        return Finding("versions", "problem", f"{text}; Python {_PYTHON[0]}.{_PYTHON[1]} or newer is needed")
    return Finding("versions", "ok", text)


def _packages() -> Finding:
    from importlib import metadata

    try:
        wanted = metadata.requires("hyperdex-tui") or []
    except metadata.PackageNotFoundError:
        return Finding("packages", "warning", "hyperdex-tui runs from a folder and is not installed; make run installs")
    installed = {}
    for text in wanted:
        name = Requirement(text).name
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return judge_packages(wanted, installed)


def judge_packages(wanted: Sequence[str], installed: Mapping[str, str]) -> Finding:
    """Whether what is installed is what is needed.

    Args:
        wanted: requirements as a package's metadata lists them, extras among them.
        installed: version of each that is there.
    """
    found, missing, unfit = [], [], []
    for needed in map(Requirement, wanted):
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        version = installed.get(needed.name)
        if version is None:
            missing.append(needed.name)
            continue
        found.append(f"{needed.name} {version}")
        if not needed.specifier.contains(version, prereleases=True):
            unfit.append(f"{needed.name} {version} is not {needed.specifier}")
    if missing:
        return Finding("packages", "problem", f"missing: {', '.join(missing)}; install hyperdex-tui again")
    if unfit:
        return Finding("packages", "warning", f"{', '.join(unfit)}; install hyperdex-tui again")
    return Finding("packages", "ok", ", ".join(found))


def _machine() -> Finding:
    from compiler.quantity import bytes_text, counted

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        memory = bytes_text(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError):
        memory = "an unknown amount"
    return Finding("machine", "ok", f"{counted(cores, 'core')}, {memory} of memory")


def _emulator() -> Finding:
    from compiler.emulator.kernel import default_kernel

    if default_kernel().native:
        return Finding("emulator", "ok", "its inner loops are compiled for this processor")
    return Finding("emulator", "warning", "llvmlite does not work here: the same bits, but many times slower")


def _terminal() -> Finding:
    encoding = locale.getpreferredencoding(False)
    term = one_line(os.environ.get("TERM", ""), 40)
    text = f"{encoding}, TERM {term or 'unset'}"
    if encoding.lower().replace("-", "") != "utf8":
        return Finding("terminal", "warning", f"{text}; text other than ASCII is escaped, set LC_ALL=C.UTF-8")
    return Finding("terminal", "ok", text)


def _prefix(prefix: Path | None) -> Finding:
    from compiler.publish import free_bytes
    from compiler.quantity import bytes_text

    try:
        chosen = open_workspace(prefix).prefix
    except HyperDexError as error:
        return Finding("prefix", "problem", str(error))
    place = chosen.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    origin = (
        "--prefix" if prefix is not None else "$HYPERDEX_PREFIX" if os.environ.get("HYPERDEX_PREFIX") else "default"
    )
    where = f"{one_line(str(chosen), 200)} ({origin})" + ("" if place == chosen.absolute() else ", not made yet")
    free = free_bytes(chosen)
    text = f"{where}; {bytes_text(free)} free"
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("prefix", "problem", f"{text}; {place} cannot be written, choose another --prefix")
    if free < _LITTLE_SPACE_BYTES:
        return Finding("prefix", "warning", f"{text}; a model of 1.3 billion parameters takes about 8 GB")
    return Finding("prefix", "ok", f"{text}, writable")


def _models(prefix: Path | None) -> Finding:
    """How much lies in the prefix, and what a compile would do again."""
    from compiler.cli.models import inspect_model
    from compiler.quantity import bytes_text, counted

    try:
        states = [inspect_model(folder) for folder in open_workspace(prefix).models()]
    except HyperDexError:
        return Finding("models", "warning", "not looked for: there is no such prefix")
    builds = [build for state in states for build in state.builds]
    total = sum(state.bytes for state in states) + sum(build.bytes for build in builds)
    text = f"{counted(len(states), 'model')} with {counted(len(builds), 'build')}, {bytes_text(total)}"
    if stale := sum(bool(build.stale) for build in builds):
        return Finding("models", "warning", f"{text}; {counted(stale, 'build')} stale, hyperdex models says why")
    return Finding("models", "ok", text)


def _cards(pci: Path) -> Finding:
    cards = find_cards(pci)
    if not cards:
        return Finding("cards", "ok", f"no card of PCI vendor {LPU_VENDOR:04x}; builds run on the emulator")
    shown = ", ".join(f"{card.address} {card.ids} ({card.driver or 'no driver'})" for card in cards[:8])
    more = f" and {len(cards) - 8} more" if len(cards) > 8 else ""
    return Finding("cards", "ok", f"{shown}{more}; not used: builds run on the emulator")


def _hub() -> Finding:
    from urllib.parse import urlsplit

    from compiler.hub.client import Patience, connect, is_offline

    try:
        client = connect(None, Patience(), lambda _text: None)
    except HyperDexError as error:
        return Finding("hub", "problem", str(error))
    parts = urlsplit(client.endpoint)  # an address may carry a password: its host alone is shown
    text = f"{parts.scheme}://{one_line(parts.hostname or '', 100)}, {'a' if client.token else 'no'} token"
    if is_offline(False):
        return Finding("hub", "ok", f"{text}; offline: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
    return Finding("hub", "ok", text)
