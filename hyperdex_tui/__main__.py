"""`hyperdex-tui [--prefix P] [MODEL_ID]`: the app, or plain lines without a terminal.

Help, version and wrong arguments are answered before the toolkit is loaded.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from compiler import __version__
from compiler.errors import HyperDexError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hyperdex-tui",
        description="Compile Hugging Face models for the LPU, look into programs and memory maps, run them on the "
        "emulator. Without a terminal: compiles and runs the bundled demo model in plain lines.",
    )
    parser.add_argument("model_id", nargs="?", default="", metavar="MODEL_ID", help="model to start on, ORG/NAME")
    parser.add_argument(
        "--prefix",
        type=_folder,
        help="folder of all models (default: $HYPERDEX_PREFIX, /opt/hyperdex/models or the user's data folder)",
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    return parser


def _folder(text: str) -> Path:
    """The folder that `--prefix` names. Empty, as an unset variable leaves it, it would be the current one."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a folder or leave the option out")
    return Path(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the app; the process's exit code."""
    options = _parser().parse_args(argv)
    if options.version:
        print(f"hyperdex-tui {__version__}")
        return 0
    try:
        return _start(options.prefix, options.model_id)
    except HyperDexError as error:
        print(f"hyperdex-tui: error: {error}", file=sys.stderr)
        return error.exit_code


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether it is one; a stream that the caller closed (`<&-`) is None."""
    return stream is not None and stream.isatty()


def _start(prefix: Path | None, model_id: str) -> int:
    from compiler.workspace import default_prefix, expand_home, parse_model_id

    chosen = parse_model_id(model_id) if model_id else ""
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stdout)):
        from compiler.cli.demo import run_demo

        return run_demo(prefix)
    folder = (expand_home(prefix) if prefix is not None else default_prefix()).absolute()
    if not _is_terminal(sys.stderr):  # the toolkit draws on stderr, which the user has sent elsewhere
        sys.__stderr__ = sys.__stdout__  # type: ignore[misc]
    gc.disable()  # until the first screen stands: hardly anything that a start makes is garbage
    from compiler.bus_error import explain_bus_errors
    from hyperdex_tui.app import HyperDexApp
    from hyperdex_tui.crash import terminal_restorer

    explain_bus_errors("hyperdex-tui", terminal_restorer())
    app = HyperDexApp(folder, chosen)
    app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
