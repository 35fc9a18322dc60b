"""Entry of `hyperdex` and `python -m compiler`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the result is the process's exit code."""
    from compiler.bus_error import explain_bus_errors
    from compiler.cli.main import main as run_command_line

    explain_bus_errors("hyperdex")
    return run_command_line()


if __name__ == "__main__":
    sys.exit(main())
