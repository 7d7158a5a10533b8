"""Runs Python in a process of its own, to measure the memory it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def took(script: str, directory: Path) -> list[list[str]]:
    """The rest of each printed line that starts with `took`. Two threads: each reads ahead by itself."""
    run = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=directory,
        env={**os.environ, "POLARS_MAX_THREADS": "2"},
    )
    return [line.split()[1:] for line in run.stdout.splitlines() if line.startswith("took ")]
