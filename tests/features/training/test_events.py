"""Event files: optional columns, and how their times are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.training.events import EVENTS, read_events
from historian.errors import InvalidInput

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def test_missing_times_default_to_the_time_of_the_event(tmp_path: Path) -> None:
    """`known_at` and `end` may be missing as columns or in single rows; other columns are ignored."""
    path = tmp_path / "events.csv"
    path.write_text(
        "kind,asset,happened_at,end,order\n"
        "failure,c101,2026-03-01T00:00:00Z,,007\n"
        "repair,c101,2026-03-01T01:00:00+01:00,2026-03-01T02:00:00Z,008\n"
    )
    expected = pl.DataFrame(
        [("c101", "failure", DAY, DAY, DAY), ("c101", "repair", DAY, DAY, DAY + timedelta(hours=2))],
        schema=EVENTS,
        orient="row",
    )
    assert_frame_equal(read_events(path, ["c101"]), expected)
    expected.drop("known_at").write_parquet(tmp_path / "events.parquet")
    assert_frame_equal(read_events(tmp_path / "events.parquet", ["c101"]), expected)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("asset,kind,known_at", "has no column 'happened_at'; it has asset, kind, known_at"),
        ("asset,kind,happened_at", "has no events"),
        ("asset,kind,kind,happened_at", "has several columns called 'kind'; give each its own name"),
    ],
)
def test_a_file_that_is_no_event_list_is_refused(tmp_path: Path, head: str, message: str) -> None:
    """The error has the file's name."""
    path = tmp_path / "events.csv"
    path.write_text(head + "\n")
    with pytest.raises(InvalidInput) as raised:
        read_events(path, ["c101"])
    assert str(raised.value) == f"events.csv: {message}"
