"""Starts the warm process, and makes the programs it runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.warm.server import PROGRAMS

ROOT = Path(__file__).parents[2]


@contextmanager
def warm_programs(directory: Path) -> Iterator[Path]:
    """Makes `penstock`, `feast` and `python` in a directory, each of which starts in a fraction of the CPU time."""
    code = Path(__file__).with_name("client.py").read_text(encoding="utf-8")
    for name in PROGRAMS:
        (directory / name).write_text(f"#!{sys.executable} -IS\n{code}", encoding="utf-8")
        (directory / name).chmod(0o755)
    command = [sys.executable, "-m", "tests.warm.server", str(directory / "socket")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"READY\n"
        yield directory
