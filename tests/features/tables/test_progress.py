"""The progress of all tags, read from the table's log at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake

from features.tables.progress import Progress, newest_samples

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_newest_number_of_each_tag_counts(tmp_path: Path) -> None:
    """Whether it is in a checkpoint, in a commit after it, or in both."""
    rows, path = pl.DataFrame({"x": [1]}), tmp_path / "table"
    progress = [{"a": START, "b": START}, {"b": START + HOUR, "c": START}, {"c": START + 2 * HOUR, "d": START}]
    for number, newest in enumerate(progress):
        commit = CommitProperties(app_transactions=Progress(START, newest).transactions())
        write_deltalake(path, rows, mode="append", commit_properties=commit)
        if number == 1:
            DeltaTable(path).create_checkpoint()
    expected = {"a": START, "b": START + HOUR, "c": START + 2 * HOUR, "d": START}
    assert newest_samples(path, 2) == expected
    assert newest_samples(path, 1) == {"a": START, "b": START + HOUR, "c": START}
    (path / "_delta_log" / "_last_checkpoint").unlink()
    assert newest_samples(path, 2) == expected
