"""The quarantine loses no row and keeps none twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.edge.database import Edge
from bridge.edge.quarantine import KEPT, Quarantine, Selection
from bridge.edge.quarantine_rows import as_rejected, rejected
from historian.errors import InvalidInput
from historian.samples import SCHEMA
from tests.bridge.edge.steps import sqlite_steps

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def refused(*rows: tuple[str | None, int | None, float | None, str | None, str]) -> pl.DataFrame:
    """Rows of (tag, second, value, text, reason)."""
    times = [None if second is None else T0 + timedelta(seconds=second) for _, second, *_ in rows]
    filled = [(tag, at, value, text, 0, why) for (tag, _, value, text, why), at in zip(rows, times, strict=True)]
    return as_rejected(pl.DataFrame(filled, schema={**SCHEMA, "reason": pl.String()}, orient="row"))


HOT = refused(("a", 0, 900.0, None, "too hot"), ("a", 1, 901.0, None, "too hot"), ("b", 5, None, "x", "text"))


def kept(rows: pl.DataFrame, *, source: str = "s", origin: str = "file 1") -> pl.DataFrame:
    """The rows as the quarantine keeps them."""
    constants = {"source": pl.lit(source), "origin": pl.lit(origin), "recorded_at": pl.lit(NOW)}
    return rows.with_columns(**constants).cast(KEPT)


def test_rows_are_kept_with_reason_source_origin_and_time(edge: Edge) -> None:
    """The rows themselves are unchanged."""
    Quarantine(edge).add(HOT, source="s", origin="file 1", now=NOW)
    assert_frame_equal(Quarantine(edge).rows(), kept(HOT))


def test_rows_read_again_are_not_kept_twice(edge: Edge) -> None:
    """This holds for a repeated backfill with other page sizes or other files."""
    quarantine = Quarantine(edge)
    quarantine.add(HOT[:1], source="s", origin="file 1", now=NOW)
    quarantine.add(pl.concat([HOT, HOT]), source="s", origin="file 1", now=NOW)
    quarantine.add(HOT[1:], source="s", origin="file 2", now=NOW + timedelta(days=1))
    assert_frame_equal(quarantine.rows(), kept(HOT))


def test_rows_that_differ_in_anything_are_kept(edge: Edge) -> None:
    """The value, the reason or the source may differ."""
    quarantine = Quarantine(edge)
    other_value = HOT.with_columns(value=pl.lit(1.0))
    other_reason = HOT.with_columns(reason=pl.lit("doubtful"))
    for rows in (HOT, other_value, other_reason):
        quarantine.add(rows, source="s", origin="file 1", now=NOW)
    quarantine.add(HOT, source="t", origin="file 1", now=NOW)
    assert quarantine.rows().height == 4 * HOT.height


def test_a_row_without_tag_or_time_is_kept_once_too(edge: Edge) -> None:
    """Nulls compare like any other content."""
    nameless = refused((None, None, 1.0, None, "no time"), ("a", None, 1.0, None, "no time"))
    for _ in range(2):
        Quarantine(edge).add(nameless, source="s", origin="file 1", now=NOW)
    assert_frame_equal(Quarantine(edge).rows(), kept(nameless))


def test_counts_say_how_many_and_why(edge: Edge) -> None:
    """There is one row per source and reason, the most frequent first."""
    Quarantine(edge).add(HOT, source="s", origin="file 1", now=NOW)
    assert Quarantine(edge).counts().rows() == [("s", "too hot", 2, 0), ("s", "text", 1, 0)]


def test_an_empty_quarantine_has_no_rows(edge: Edge) -> None:
    """The frame has the same columns."""
    assert_frame_equal(Quarantine(edge).rows(), KEPT.to_frame())
    assert Quarantine(edge).counts().is_empty()


@pytest.mark.parametrize("name", ["kept.parquet", "kept.csv"])
def test_everything_can_be_exported(edge: Edge, tmp_path: Path, name: str) -> None:
    """Exports are Parquet or CSV."""
    Quarantine(edge).add(HOT, source="s", origin="file 1", now=NOW)
    assert Quarantine(edge).export(tmp_path / name) == 3
    read = pl.read_parquet if name.endswith("parquet") else pl.read_csv
    assert read(tmp_path / name)["reason"].to_list() == ["too hot", "too hot", "text"]


@pytest.mark.parametrize(("name", "message"), [("kept.xlsx", "ends in .parquet or .csv"), ("no/k.csv", "cannot write")])
def test_an_export_that_cannot_be_written_says_why(edge: Edge, tmp_path: Path, name: str, message: str) -> None:
    """The error says whether the file name or the directory is wrong."""
    with pytest.raises(InvalidInput, match=message):
        Quarantine(edge).export(tmp_path / name)


def test_rejected_adds_one_reason_to_all_rows() -> None:
    """The result has the columns of the quarantine."""
    rows = HOT.select(SCHEMA.names())
    expected = rows.with_columns(reason=pl.lit("why"), detail=pl.lit("row 7"))
    assert_frame_equal(rejected(rows, "why", detail="row 7"), as_rejected(expected))


def out_of_range(first: int, count: int, reason: str = "too hot") -> pl.DataFrame:
    """This many rows of one tag with one reason."""
    return refused(*(("a", number, 900.0, None, reason) for number in range(first, first + count)))


def test_adding_costs_the_same_however_much_is_there(edge: Edge) -> None:
    """The number of SQLite steps per row is constant, so that one tag out of range for days does not stop the edge."""
    quarantine = Quarantine(edge)

    def steps(number: int) -> int:
        return sqlite_steps(edge, lambda: quarantine.add(out_of_range(number, 1), source="s", origin="s", now=NOW))

    steps(0)
    few = steps(1)
    quarantine.add(out_of_range(10, 20_000), source="s", origin="s", now=NOW)
    assert steps(50_000) <= few * 1.5


def test_when_full_the_oldest_rows_of_the_most_frequent_reason_are_deleted(edge: Edge) -> None:
    """Deleted rows are counted, and rows of rare reasons stay."""
    quarantine = Quarantine(edge, max_rows=10)
    quarantine.add(out_of_range(0, 2, "rare"), source="s", origin="s", now=NOW)
    for first in range(100, 120, 5):
        quarantine.add(out_of_range(first, 5), source="s", origin="s", now=NOW)
    quarantine.add(out_of_range(0, 10), source="other", origin="s", now=NOW)
    assert quarantine.counts().rows() == [("other", "too hot", 10, 0), ("s", "too hot", 8, 12), ("s", "rare", 2, 0)]
    hot = quarantine.rows(Selection(source="s", reason="too hot"))["timestamp"].to_list()
    assert hot == [T0 + timedelta(seconds=number) for number in range(112, 120)]


def test_rows_expire(edge: Edge) -> None:
    """Rows older than the retention are deleted."""
    quarantine = Quarantine(edge)
    quarantine.add(out_of_range(0, 3), source="s", origin="s", now=NOW - timedelta(days=40))
    quarantine.add(out_of_range(10, 2), source="s", origin="s", now=NOW - timedelta(days=20))
    assert quarantine.expire(now=NOW, retention=timedelta(days=30)) == 3
    assert quarantine.counts().rows() == [("s", "too hot", 2, 0)]


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(source="s"), 1),
        (Selection(reason="text"), 3),
        (Selection(tag="a"), 2),
        (Selection(before=NOW), 4),
        (Selection(before=NOW + timedelta(seconds=1)), 0),
        (Selection(source="s", tag="b"), 3),
    ],
)
def test_a_selection_is_purged_and_the_rest_stays(edge: Edge, selection: Selection, left: int) -> None:
    """Rows are selected by source, reason, tag and age; the counts agree with the rows."""
    quarantine = Quarantine(edge)
    quarantine.add(HOT, source="s", origin="file 1", now=NOW)
    quarantine.add(HOT[:1].with_columns(reason=pl.lit("too hot"), tag=pl.lit("c")), source="t", origin="f", now=NOW)
    assert quarantine.purge(selection) == 4 - left
    assert quarantine.rows().height == left == quarantine.counts()["rows"].sum()
