"""`hyperdex asm`: a listing becomes a program file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from compiler.cli.options import examples
from compiler.cli.output import OutputFile, write_output
from compiler.errors import AssemblyError, UsageError


@click.command(
    name="asm",
    epilog=examples(
        "hyperdex asm program.s -o program.bin", "hyperdex disasm hyperdex/demo | hyperdex asm - -o program.bin"
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "-o", "--output", type=OutputFile(), metavar="FILE", help="File to write the program to.  [default: stdout]"
)
def command(file: Path, output: Path | None) -> None:
    """Assemble FILE ("-": stdin) to a program: header and 32-byte instruction words."""
    from compiler.header import Payload, write_header
    from compiler.isa.encode import encode_program
    from compiler.isa.spec import ISA_VERSION
    from compiler.isa.text import parse_program

    if output is None and sys.stdout.isatty():
        raise UsageError("a program is binary and stdout is a terminal", "add -o FILE or redirect stdout")
    if output is not None and output.exists() and str(file) != "-" and file.exists() and output.samefile(file):
        raise UsageError(f"{output} is the listing itself", "name another file for the program")
    name, text = _read(file)
    program = write_header(Payload.PROGRAM, ISA_VERSION) + encode_program(parse_program(text, name))
    if output is None:
        sys.stdout.buffer.write(program)
        sys.stdout.buffer.flush()
        return
    write_output(output, program)


def _read(file: Path) -> tuple[str, str]:
    """Name for messages and text of a listing."""
    name = "<stdin>" if str(file) == "-" else str(file)
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return name, data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AssemblyError(f"{name}:{line}: not UTF-8 text (byte {error.start})") from None
