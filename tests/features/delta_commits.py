"""Sets the commit times of a Delta table, for tests that cannot wait for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path


def commit_file(table: Path, version: int) -> Path:
    """The path of a commit in the table's log."""
    return table / "_delta_log" / f"{version:020}.json"


def set_commit_times(table: Path, times: Mapping[int, datetime]) -> None:
    """Sets the commit times of versions, in whole milliseconds."""
    for version, at in times.items():
        commit = commit_file(table, version)
        first, *rest = commit.read_text().splitlines(keepends=True)
        about = json.loads(first)
        about["commitInfo"]["timestamp"] = int(at.timestamp() * 1000)
        commit.write_text("".join([json.dumps(about) + "\n", *rest]))
