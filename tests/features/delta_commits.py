"""The commits of a Delta table with times of our choice, where a test cannot wait for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path


def commit_file(table: Path, version: int) -> Path:
    """What a commit has left in the log."""
    return table / "_delta_log" / f"{version:020}.json"


def set_commit_times(table: Path, times: Mapping[int, datetime]) -> None:
    """Lets versions have been committed at these times, in whole milliseconds."""
    for version, at in times.items():
        commit = commit_file(table, version)
        first, *rest = commit.read_text().splitlines(keepends=True)
        about = json.loads(first)
        about["commitInfo"]["timestamp"] = int(at.timestamp() * 1000)
        commit.write_text("".join([json.dumps(about) + "\n", *rest]))
