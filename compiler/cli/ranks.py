"""`hyperdex generate` under torchrun: one process per device, and the first one speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from compiler.errors import UsageError
from compiler.sanitize import one_line

if TYPE_CHECKING:
    from compiler.artifacts.reader import Build
    from compiler.emulator.machine import Machine


def open_machine(build: Build) -> Machine:
    """A machine of all devices of a build, or of this process's device when torchrun started several.

    Raises:
        UsageError: another number of processes than devices.
    """
    from compiler.emulator.machine import Machine
    from compiler.emulator.process_link import ProcessLink, leave, world

    if world()[1] == 1:
        return Machine(build)
    import atexit

    link = ProcessLink(build.manifest.num_devices, _say_waiting)
    atexit.register(leave)
    return Machine(build, link=link)


def _say_waiting(address: str) -> None:
    click.echo(f"[Info] Waiting for the other processes at {one_line(address, 100)}", err=True)


def check_agreement(machine: Machine, settings: Mapping[str, object]) -> None:
    """Refuse to run beside processes that were started with another build or other arguments.

    Raises:
        UsageError: naming what differs.
    """
    from compiler.emulator.process_link import ProcessLink

    link, build = machine.state.link, machine.build
    if isinstance(link, ProcessLink):
        fingerprints = (build.param_manifest.fingerprint, build.manifest.fingerprint)
        link.agree({"the build": fingerprints, **settings})


def check_source(reads_stdin: bool) -> None:
    """Refuse a prompt on stdin, which one process alone would read, where torchrun started several.

    Raises:
        UsageError: it is one.
    """
    from compiler.emulator.process_link import world

    if reads_stdin and world()[1] > 1:
        raise UsageError(
            "under torchrun stdin reaches no process but one", "put the prompts into a file: --prompts FILE"
        )


def is_speaker() -> bool:
    """Whether this process prints: the only one, or the first of several."""
    from compiler.emulator.process_link import world

    return world()[0] == 0
