"""Entry of `hyperdex` and `python -m compiler`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the result is the process's exit code."""
    try:
        from compiler.bus_error import explain_bus_errors
        from compiler.cli.main import main as run_command_line

        explain_bus_errors("hyperdex")
        return run_command_line()
    except KeyboardInterrupt:  # before or after the command line answers it itself
        sys.stderr.write("hyperdex: error: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
