"""The audit computes independently what every value should be, and finds every value that differs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from feast import FeatureStore
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.training.audit import ViewAudit, audit_view, known_rows
from features.training.join import feature_values
from features.training.plan import Plan, resolve

START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")
RMS = "compressor_vibration:de_h_rms_ac"
OIL = "compressor_process:oil_temp_mean"
MINUTES = st.integers(0, 12)


def frame(columns: list[str], rows: list[tuple[object, ...]]) -> pl.DataFrame:
    """An asset, then minutes after START."""
    data = [(asset, *(START + timedelta(minutes=int(str(minute))) for minute in rest)) for asset, *rest in rows]
    return pl.DataFrame(data, schema={"asset": pl.String(), **dict.fromkeys(columns, INSTANT)}, orient="row")


@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), MINUTES, MINUTES), max_size=12, unique=True),
    labels=st.lists(st.tuples(st.sampled_from("abc"), MINUTES), max_size=8),
    then=st.booleans(),
)
def test_the_row_found_is_the_newest_that_was_known(
    *, rows: list[tuple[str, int, int]], labels: list[tuple[str, int]], then: bool
) -> None:
    """It is compared with a search through all rows; of one event timestamp the row created last counts."""
    keys = frame(["event_timestamp", "created_timestamp"], [*rows])
    found = known_rows(frame(["event_timestamp"], [*labels]), keys, created_by_label_time=then)
    for (asset, at), place in zip(labels, found, strict=True):
        seen = [row for row in rows if row[0] == asset and row[1] <= at and (not then or row[2] <= at)]
        expected = max(seen, key=lambda row: row[1:], default=None)
        assert (rows[place] if place >= 0 else None) == expected


def test_a_long_backfill_is_skipped() -> None:
    """Thousands of rows computed years later lie between the label and the row that was known."""
    minutes = np.arange(3000)
    made = [START + timedelta(minutes=int(minute)) for minute in minutes]
    late = [at if number % 1400 == 7 else at + timedelta(days=900) for number, at in enumerate(made)]
    keys = pl.DataFrame({"asset": "a", "event_timestamp": made, "created_timestamp": late})
    labels = pl.DataFrame({"asset": "a", "event_timestamp": [made[at] for at in (6, 7, 1406, 1407, 2999)]})
    assert known_rows(labels, keys, created_by_label_time=True).tolist() == [-1, 7, 7, 1407, 2807]


def labelled(*rows: tuple[str, float]) -> pl.DataFrame:
    """(asset, seconds after START)."""
    data = [(asset, START + timedelta(seconds=seconds)) for asset, seconds in rows]
    return pl.DataFrame(data, schema={"asset": pl.String(), "event_timestamp": INSTANT}, orient="row")


def audited(labels: pl.DataFrame, values: pl.DataFrame, plan: Plan, **limits: int) -> ViewAudit:
    """The audit of a plan's only view."""
    [(view, table)] = plan.tables.items()
    return audit_view(labels, values, table, plan.columns(view), created_by_label_time=False, **limits)


def looked_up(labels: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The values that the join returns."""
    return feature_values(labels, plan, advance=lambda _: None)


def test_a_value_from_the_future_and_an_outdated_one_are_counted(
    store: FeatureStore, add_rows: Callable[..., None]
) -> None:
    """They are counted by column; the values of the join have none."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.0), ("c101", 10, 11, 2.0), ("c101", 10, 60, None))
    plan, labels = resolve(store, [RMS]), labelled(("c101", 5), ("c102", 5), ("c101", 15))
    labels = labels.with_columns(split=pl.Series(["train", "test", "test"]))
    right = looked_up(labels, plan)
    wrong = pl.DataFrame({right.columns[0]: [2.0, 2.0, None]})
    audits = [audited(labels, values, plan) for values in (right, wrong)]
    assert [audit.wrong for audit in audits] == [{}, {"compressor_vibration__de_h_rms_ac": 2}]
    assert audits[0].age_s.to_list() == [5.0, None, 5.0]
    apart = audited(labels, wrong, plan, memory_limit=1)  # an asset at a time
    assert_frame_equal(apart.used, audits[1].used)
    assert (apart.wrong, apart.expired.to_list()) == (audits[1].wrong, audits[1].expired.to_list())
    assert audits[0].shared == 0


def test_expired_values_are_distinguished_from_missing_ones(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """The time to live is five minutes, to the microsecond."""
    add_rows("compressor_process", ("c101", 0, 1, 60.0))
    plan, labels = resolve(store, [OIL]), labelled(("c101", 300), ("c101", 300.000001), ("c102", 0), ("c101", -1))
    values = looked_up(labels, plan)
    audit = audited(labels, values, plan)
    assert (audit.wrong, audit.expired.to_list()) == ({}, [False, True, False, False])
    assert values.to_series().to_list() == [60.0, None, None, None]


def test_rows_of_one_feature_row_in_two_splits_are_counted(store: FeatureStore, add_rows: Callable[..., None]) -> None:
    """A split by row does that; rows excluded for their quality are counted too, with the reason if there is one."""
    add_rows("compressor_vibration", ("c101", 0, 1, None))
    labels = labelled(("c101", 5), ("c101", 6)).with_columns(split=pl.Series(["train", "test"]))
    plan = resolve(store, [RMS])
    audit = audited(labels, looked_up(labels, plan), plan)
    assert audit.shared == 2
