"""The quarantine: nothing that entered it is lost, and nothing enters twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.edge.database import Edge
from bridge.edge.quarantine import KEPT, REASONED, Quarantine, reasoned
from historian.errors import InvalidInput
from historian.samples import SCHEMA

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def refused(*rows: tuple[str | None, int | None, float | None, str | None, str]) -> pl.DataFrame:
    """Rows of (tag, second, value, text, reason)."""
    times = [None if second is None else T0 + timedelta(seconds=second) for _, second, *_ in rows]
    filled = [(tag, at, value, text, 0, why) for (tag, _, value, text, why), at in zip(rows, times, strict=True)]
    return pl.DataFrame(filled, schema=REASONED, orient="row")


HOT = refused(("a", 0, 900.0, None, "too hot"), ("a", 1, 901.0, None, "too hot"), ("b", 5, None, "x", "text"))


def kept(rows: pl.DataFrame, *, source: str = "s", origin: str = "file 1") -> pl.DataFrame:
    """The rows as the quarantine keeps them."""
    constants = {"source": pl.lit(source), "origin": pl.lit(origin), "recorded_at": pl.lit(NOW)}
    return rows.with_columns(**constants).cast(KEPT)


def test_rows_are_kept_with_reason_source_origin_and_time(edge: Edge) -> None:
    """Exactly as they came."""
    Quarantine(edge).add(HOT, source="s", origin="file 1", now=NOW)
    assert_frame_equal(Quarantine(edge).rows(), kept(HOT))


def test_rows_read_again_are_not_kept_twice(edge: Edge) -> None:
    """Whether a repeated backfill cuts its pages in the same way or not, and from whichever file."""
    quarantine = Quarantine(edge)
    quarantine.add(HOT[:1], source="s", origin="file 1", now=NOW)
    quarantine.add(pl.concat([HOT, HOT]), source="s", origin="file 1", now=NOW)
    quarantine.add(HOT[1:], source="s", origin="file 2", now=NOW + timedelta(days=1))
    assert_frame_equal(quarantine.rows(), kept(HOT))


def test_rows_that_differ_in_anything_are_kept(edge: Edge) -> None:
    """Another value, another reason, another source."""
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


def test_counts_say_how_many_why_and_when(edge: Edge) -> None:
    """A row a source and reason, the most frequent first."""
    Quarantine(edge).add(HOT, source="s", origin="file 1", now=NOW)
    second = timedelta(seconds=1)
    rows = [("s", "too hot", 2, T0, T0 + second), ("s", "text", 1, T0 + 5 * second, T0 + 5 * second)]
    assert Quarantine(edge).counts().rows() == rows


def test_an_empty_quarantine_has_no_rows(edge: Edge) -> None:
    """And says so in the same columns."""
    assert_frame_equal(Quarantine(edge).rows(), KEPT.to_frame())
    assert Quarantine(edge).counts().is_empty()


@pytest.mark.parametrize("name", ["kept.parquet", "kept.csv"])
def test_everything_can_be_exported(edge: Edge, tmp_path: Path, name: str) -> None:
    """To Parquet or CSV, for the person who decides."""
    Quarantine(edge).add(HOT, source="s", origin="file 1", now=NOW)
    assert Quarantine(edge).export(tmp_path / name) == 3
    read = pl.read_parquet if name.endswith("parquet") else pl.read_csv
    assert read(tmp_path / name)["reason"].to_list() == ["too hot", "too hot", "text"]


@pytest.mark.parametrize(("name", "message"), [("kept.xlsx", "ends in .parquet or .csv"), ("no/k.csv", "cannot write")])
def test_an_export_that_cannot_be_written_says_why(edge: Edge, tmp_path: Path, name: str, message: str) -> None:
    """The name or the directory is at fault."""
    with pytest.raises(InvalidInput, match=message):
        Quarantine(edge).export(tmp_path / name)


def test_reasoned_adds_one_reason_to_all_rows() -> None:
    """In the columns of the quarantine."""
    rows = HOT.select(SCHEMA.names())
    assert_frame_equal(reasoned(rows, "why"), rows.with_columns(reason=pl.lit("why")))
