"""Measures the figures of docs/benchmarks.md and writes them to results.json: `python -m benchmarks [SCRIPT ...]`.

`--list` prints the name of each figure and the script that measures it, and measures nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES, SCRIPTS
from benchmarks.results import Result, measured, read_results, write_results

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> None:
    """List the figures, or run scripts and record what they print."""
    if "--list" in arguments:
        print("\n".join(f"{figure.name}  python -m benchmarks.{figure.script}" for figure in FIGURES))
        return
    if unknown := sorted(set(arguments) - SCRIPTS.keys()):
        sys.exit(f"there is no benchmark {', '.join(unknown)}; known: {', '.join(SCRIPTS)}")
    for script in arguments or SCRIPTS:
        found = {result.name: result for record in lines_of(script) for result in results_in(script, record)}
        write_results({**read_results(), **found})  # after each script: a run takes an hour


def lines_of(script: str) -> Iterator[dict[str, Any]]:
    """Run a script; the JSON lines it prints, as they come."""
    command = [sys.executable, "-m", f"benchmarks.{script}", *SCRIPTS[script]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
            yield json.loads(line)
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command)


def results_in(script: str, record: dict[str, Any]) -> Iterator[Result]:
    """The figures in a line that a script has printed, as measured now at the commit that is checked out."""
    for figure in FIGURES:
        value = figure.value_in(record) if figure.script == script else None
        if value is not None:
            yield measured(figure, value, commit=_commit(), date=f"{datetime.now(UTC):%Y-%m-%d}")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1:])
