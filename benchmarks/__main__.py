"""Runs every benchmark: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).parent
    for script in sorted(
        path.stem for path in here.glob("*.py") if path.stem not in ("__init__", "__main__", "memory", "naive")
    ):
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}"], check=True, cwd=here.parent)
