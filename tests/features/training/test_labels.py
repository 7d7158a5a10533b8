"""Label files: the columns and rows that are kept, and the errors for those that cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.tables.labels import checked_labels, read_labels, with_target
from historian.errors import InvalidInput

ASSETS = ("c101", "c102")


def problems(path: Path) -> str:
    """The error of `read_labels` for a file it cannot use."""
    with pytest.raises(InvalidInput) as raised:
        read_labels(path, ASSETS)
    return str(raised.value)


def csv(directory: Path, *rows: str) -> Path:
    """A label file with these lines."""
    path = directory / "labels.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_other_columns_and_repeated_rows_are_kept(tmp_path: Path) -> None:
    """Every row and column of the file comes back, in order, the time in UTC and the rest as it is written."""
    path = csv(
        tmp_path,
        "event_timestamp,asset,rul,note",
        "2026-03-01T01:00:00+01:00,c102,3.5,",
        "2026-03-01T00:00:00Z,c101,007,seal",
        "2026-03-01T00:00:00Z,c101,7,seal",
    )
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    expected = pl.DataFrame(
        {
            "event_timestamp": [midnight] * 3,
            "asset": ["c102", "c101", "c101"],
            "rul": ["3.5", "007", "7"],
            "note": [None, "seal", "seal"],
        },
        schema_overrides={"event_timestamp": pl.Datetime("us", "UTC")},
    )
    assert_frame_equal(read_labels(path, ASSETS), expected)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-28T23:30:00.000250Z",
        "2026-02-28 23:30:00.00025+00:00",
        "2026-03-01T05:00:00.00025+0530",
        "2026-03-01T00:30:00.000250+01",
    ],
)
def test_times_with_any_offset_mean_the_same_instant(text: str) -> None:
    """The zone of each row is its own, down to the microsecond."""
    frame = pl.DataFrame({"asset": ["c101"], "event_timestamp": [text]})
    checked = checked_labels(frame, ASSETS, file="request")
    assert checked["event_timestamp"].to_list() == [datetime(2026, 2, 28, 23, 30, 0, 250, tzinfo=UTC)]


def test_every_problem_is_reported_at_once_with_its_row(tmp_path: Path) -> None:
    """Unknown assets and naive, unreadable or missing times are all in one message, each with advice."""
    path = csv(
        tmp_path,
        "asset,event_timestamp",
        "c103,2026-03-01T00:00:00Z",
        "c101,2026-03-01T00:00:00",
        "c101,yesterday",
        "c101,",
        ",2026-03-01T00:00:00Z",
    )
    assert problems(path).splitlines() == [
        "labels.csv row 2: unknown asset 'c103'; did you mean c102, c101?",
        "labels.csv row 3: the time '2026-03-01T00:00:00' has no zone; write 2026-03-01T00:00:00Z for UTC, "
        "or an offset such as +01:00",
        "labels.csv row 4: 'yesterday' is not a time; write 2026-03-01T00:00:00Z",
        "labels.csv row 5: event_timestamp is empty",
        "labels.csv row 6: asset is empty",
    ]


def test_a_thousand_bad_rows_do_not_flood_the_terminal(tmp_path: Path) -> None:
    """The first hundred are shown, with the total."""
    message = problems(csv(tmp_path, "asset,event_timestamp", *["c101,never"] * 1000))
    assert "1000 rows have problems; the first 100 of them are shown" in message
    assert len(message.splitlines()) == 101


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    """A file without event_timestamp says what it has instead."""
    assert problems(csv(tmp_path, "asset,time", "c101,2026-03-01T00:00:00Z")) == (
        "labels.csv: has no column 'event_timestamp'; it has asset, time"
    )


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    """A header alone is no label file."""
    assert problems(csv(tmp_path, "asset,event_timestamp")) == "labels.csv: has no labels"


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """It is not clear which of the two is meant."""
    path = csv(tmp_path, "asset,event_timestamp,rul,note,rul,note", "c101,2026-03-01T00:00:00Z,1,2,3,4")
    assert problems(path) == "labels.csv: has several columns called 'rul', 'note'; give each its own name"


def test_columns_of_a_csv_are_numbers_where_all_of_it_is(tmp_path: Path) -> None:
    """A column is numeric if conversion loses nothing; otherwise it stays text, as do names and empty columns."""
    path = csv(
        tmp_path,
        "asset,event_timestamp,count,share,order,long,episode,empty,mixed",
        "c101,2026-03-01T00:00:00Z,7,-0.5,00123,12345678901234567890,1,,1",
        "c102,2026-03-01T00:00:00Z,,1e-3,7,1,2,,seal",
    )
    read = read_labels(path, ASSETS).drop("asset", "event_timestamp")
    assert read.rows() == [
        (7, -0.5, "00123", "12345678901234567890", "1", None, "1"),
        (None, 0.001, "7", "1", "2", None, "seal"),
    ]
    assert [name for name, dtype in read.schema.items() if dtype != pl.String()] == ["count", "share"]


@pytest.mark.parametrize(
    ("cells", "read"),
    [(["7", None, "-1"], [7, None, -1]), (["7", "0.5", None], [7.0, 0.5, None]), (["7", "seal"], ["7", "seal"])],
)
def test_the_target_is_numbers_where_all_of_it_is(cells: list[str | None], read: list[object]) -> None:
    """Other columns stay text."""
    frame = pl.DataFrame({"asset": "c101", "event_timestamp": None, "rul": cells, "order": "007"})
    assert with_target(frame, "rul").select("rul", "order").rows() == [(cell, "007") for cell in read]


def test_a_target_that_is_no_column_is_reported() -> None:
    """The error suggests similar names."""
    with pytest.raises(InvalidInput, match="no column 'rull' to be the target; did you mean rul"):
        with_target(pl.DataFrame({"asset": ["c101"], "event_timestamp": None, "rul": "1"}), "rull")


def test_a_missing_and_an_unreadable_file_have_different_errors(tmp_path: Path) -> None:
    """Neither gives a stack trace."""
    assert problems(tmp_path / "gone.csv") == f"there is no label file {tmp_path / 'gone.csv'}"
    (tmp_path / "labels.parquet").write_bytes(b"not parquet")
    assert problems(tmp_path / "labels.parquet").startswith("labels.parquet: cannot be read as Parquet: ")


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """Timestamps of any zone become UTC microseconds, categories of pandas strings; the rest stays."""
    berlin = pl.Series([datetime(2026, 3, 1, tzinfo=UTC)], dtype=pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame(
        {
            "asset": pl.Series(["c101"], dtype=pl.Categorical()),
            "event_timestamp": berlin.dt.convert_time_zone("Europe/Berlin"),
            "n": pl.Series([None], dtype=pl.Int16()),
        }
    )
    frame.write_parquet(tmp_path / "labels.parquet")
    expected = frame.cast({"asset": pl.String()}).with_columns(
        berlin.cast(pl.Datetime("us", "UTC")).alias("event_timestamp")
    )
    assert_frame_equal(read_labels(tmp_path / "labels.parquet", ASSETS), expected)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            {"asset": ["c101"], "event_timestamp": [datetime(2026, 3, 1)]},  # noqa: DTZ001 - a naive time is the case
            "column event_timestamp holds times without a zone; store them in UTC, with the zone",
        ),
        (
            {"asset": [7], "event_timestamp": ["2026-03-01T00:00:00Z"]},
            "column asset holds Int64, not the names of assets",
        ),
        (
            {"asset": ["c101"], "event_timestamp": [1772323200]},
            "column event_timestamp holds Int64, not times such as 2026-03-01T00:00:00Z",
        ),
    ],
)
def test_columns_of_the_wrong_type_are_refused_as_a_whole(frame: dict[str, list[object]], message: str) -> None:
    """There is one problem per column, not one per row."""
    with pytest.raises(InvalidInput) as raised:
        checked_labels(pl.DataFrame(frame), ASSETS, file="request")
    assert str(raised.value) == f"request: {message}"


@pytest.mark.parametrize("kind", [pl.List(pl.Int64()), pl.Duration("us"), pl.Binary(), pl.Struct({"a": pl.Int64()})])
def test_a_target_is_numbers_flags_or_text(kind: pl.DataType) -> None:
    """Parquet can hold other types, such as a remaining life as a duration."""
    frame = pl.DataFrame(schema={"asset": pl.String(), "event_timestamp": pl.Datetime("us", "UTC"), "rul": kind})
    with pytest.raises(InvalidInput, match=r"the target 'rul' holds .*make it numbers"):
        with_target(frame, "rul")
