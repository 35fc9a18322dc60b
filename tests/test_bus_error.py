"""A file that is cut short while it is mapped ends the program with one line, not with a signal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
READS = {
    "numpy": "import numpy as np; content = np.memmap(path, np.uint8, 'r')\ndef read(): return int(content.sum())",
    "mmap": "import mmap; file = open(path, 'rb'); content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
    "def read(): return bytes(content[-10:])",
}


@pytest.mark.parametrize("read", list(READS))
def test_a_shortened_file_is_named_in_one_line(tmp_path: Path, read: str) -> None:
    path = tmp_path / "mapped.bin"
    path.write_bytes(bytes(1 << 20))
    program = (
        "import os, threading; from compiler.bus_error import explain_bus_errors\n"
        "explain_bus_errors('test', lambda: os.write(1, b'restored '))\n"
        f"path = {str(path)!r}\n{READS[read]}\n"
        "read(); os.write(1, b'read ')\n"
        "os.truncate(path, 5000)\n"
        "thread = threading.Thread(target=read); thread.start(); thread.join()\n"
        "os.write(1, b'survived')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 6
    assert done.stdout == "read restored "
    assert done.stderr == (
        f"test: error: {path} was cut short or could not be read while it was in use; "
        "compile the model again with --force\n"
    )
