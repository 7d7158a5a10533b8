"""A rejected stretch is one row of the quarantine, with its values."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine, Selection
from bridge.edge.quarantine_rows import REJECTED, STRETCH, as_rejected, rejected
from historian.waveforms.batch import WAVEFORM_SCHEMA
from historian.waveforms.encoding import decode
from tests.historian.waveforms.rows import raw, signals, stretch

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def kept_bytes(edge: Edge) -> int:
    """The bytes of values that the totals count; fails if the rows have others."""
    [(counted,)] = edge.rows("SELECT coalesce(sum(bytes), 0) FROM quarantine_totals")
    assert edge.rows('SELECT coalesce(sum(length("values")), 0) FROM quarantine') == [(counted,)]
    return int(counted)


@settings(max_examples=20)
@given(st.lists(signals(longest=20), max_size=4))
def test_stretches_are_kept_beside_samples_as_they_were(
    arrays: list[npt.NDArray[np.float64]],
) -> None:
    """Every bit of their values; a stretch given again is kept once."""
    edge = Edge(Path(":memory:"))
    frames = [stretch(1_000_000 * number, values) for number, values in enumerate(arrays)]
    rows = pl.concat(
        [
            rejected(pl.concat([WAVEFORM_SCHEMA.to_frame(), *frames]), "unknown tag", detail="x"),
            rejected(raw([0, 5], [1.0, 2.0]), "too hot"),
        ]
    )
    for _ in range(2):
        Quarantine(edge).add(rows, source="s", origin="s", now=NOW)
    assert_frame_equal(Quarantine(edge).rows().select(REJECTED.names()), rows, check_exact=True)
    assert kept_bytes(edge) == rows["values"].bin.size().sum()
    edge.close()


def test_stretches_that_differ_in_one_value_are_two(edge: Edge) -> None:
    """Otherwise a contradiction would not be kept."""
    rows = pl.concat([stretch(0, [1.0, 2.0]), stretch(0, [1.0, 3.0])])
    Quarantine(edge).add(rejected(rows, "why"), source="s", origin="s", now=NOW)
    assert Quarantine(edge).counts().rows() == [("s", "why", 2, 0)]


def test_when_full_the_oldest_stretches_of_the_largest_reason_are_deleted(edge: Edge) -> None:
    """The bound is one of bytes; deleted rows are counted, and those of other reasons stay."""
    quarantine = Quarantine(edge, max_bytes=10_000)
    quarantine.add(rejected(stretch(0, np.arange(500)), "rare"), source="s", origin="s", now=NOW)
    for number in range(10):
        rows = rejected(stretch(1_000_000 * number, np.arange(1_000)), "much")
        quarantine.add(rows, source="s", origin="s", now=NOW)
    assert quarantine.counts().rows() == [("s", "much", 4, 6), ("s", "rare", 1, 0)]
    assert kept_bytes(edge) == 4 * 2_000 + 1_000
    much = quarantine.rows(Selection(reason="much"))["timestamp"]
    assert much.dt.second().to_list() == [6, 7, 8, 9]


def test_bytes_are_counted_off_when_rows_leave(edge: Edge) -> None:
    """By a decision on them, a purge, or age."""
    quarantine = Quarantine(edge)
    rows = pl.concat([stretch(1_000_000 * number, np.arange(100)) for number in range(3)])
    quarantine.add(rejected(rows, "why"), source="s", origin="s", now=NOW)
    ids, _ = quarantine.take(Selection(), limit=1)
    quarantine.release(ids)
    assert kept_bytes(edge) == 400
    assert quarantine.purge() == 2
    assert kept_bytes(edge) == 0


def test_a_decision_is_about_a_bounded_number_of_bytes(edge: Edge) -> None:
    """32 MB at a time, whatever the limit of rows."""
    quarantine = Quarantine(edge)
    values = np.random.default_rng(1).normal(size=4_096 * 1_500)
    quarantine.add(rejected(stretch(0, values, rate=100_000.0), "why"), source="s", origin="s", now=NOW)
    ids, rows = quarantine.take(Selection(), limit=50_000)
    assert len(ids) == rows.height == 1_025
    more, _ = quarantine.take(Selection(), limit=50_000, after=ids[-1])
    assert len(more) == 475


def test_an_export_has_the_values_as_numbers(edge: Edge, tmp_path: Path) -> None:
    """A list in Parquet; numbers separated by spaces in CSV."""
    rows = pl.concat([rejected(raw([0], [900.0]), "too hot"), rejected(stretch(0, [1.5, -0.25, 0.1]), "why")])
    Quarantine(edge).add(rows, source="s", origin="s", now=NOW)
    for name in ("kept.parquet", "kept.csv"):
        assert Quarantine(edge).export(tmp_path / name) == 2
    table = pl.read_parquet(tmp_path / "kept.parquet")
    assert table["values"].to_list() == [None, [1.5, -0.25, 0.1]]
    assert table.select("value", "sample_rate", "count").rows() == [(900.0, None, None), (None, 1000.0, 3)]
    assert pl.read_csv(tmp_path / "kept.csv")["values"].to_list() == [None, "1.5 -0.25 0.1"]


def test_samples_have_no_columns_of_stretches() -> None:
    """They are null, and nothing else is added."""
    rows = as_rejected(raw([0], [1.0]))
    assert rows.select(STRETCH.names()).null_count().row(0) == (1,) * len(STRETCH)
    assert decode(rejected(stretch(0, [1.0, 2.0]), "why")).values.tolist() == [1.0, 2.0]
