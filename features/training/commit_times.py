"""Which version of a Delta table was the newest at an instant, by the times its commits state.

Delta's log is read here because deltalake cannot answer this. Its `load_as_version` goes by the times of the log's
files, which change with a copy or a restored backup, and takes the first version for any instant before it. Its
`history` numbers the commits wrongly as soon as another process has added one.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Final

from historian.times import from_micros

_COMMITS: Final = "[0-9]" * 20 + ".json"


def version_at(table: Path, instant: datetime) -> int | None:
    """Return the newest version that was committed at or before the instant; None if the log has none.

    Commits state their time in whole milliseconds, rounded down. One that states none is never found.

    Args:
        table: The table's directory.
        instant: Aware.

    Raises:
        OSError: the log cannot be read.
    """
    for commit in sorted(_log(table).glob(_COMMITS), reverse=True):
        at = _committed(commit)
        if at and at <= instant:
            return int(commit.stem)
    return None


def has_first_commit(table: Path) -> bool:
    """Return whether the log still has the table's first commit: old ones are cleaned up after a month.

    Args:
        table: The table's directory.
    """
    return (_log(table) / f"{0:020}.json").exists()


def _log(table: Path) -> Path:
    return table / "_delta_log"


def _committed(commit: Path) -> datetime | None:
    with commit.open(encoding="utf-8") as lines:
        about = json.loads(next(lines, "{}")).get("commitInfo", {})
    millis = about.get("inCommitTimestamp", about.get("timestamp"))
    return None if millis is None else from_micros(1000 * millis)
