"""An independent check that no row of a training set holds a value from its future.

Deliberately naive and separate from the point-in-time join: it goes through the label rows one by one and looks at
every feature row, and, for vibration, at the raw samples. It is slow and obviously right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl


@dataclass(frozen=True)
class Claim:
    """Columns of a training set, and the feature rows of one view that they should come from."""

    rows: pl.DataFrame
    """Every row of the feature table: asset, event_timestamp, created_timestamp and the features."""
    columns: Mapping[str, str]
    """Column of the training set -> column of the feature table."""
    ttl: timedelta | None


def leaking_rows(training: pl.DataFrame, claims: Sequence[Claim]) -> set[int]:
    """Return the numbers of the rows that hold a value other than the newest one known at their `event_timestamp`.

    Args:
        training: asset, event_timestamp and the claimed columns.
        claims: One claim for each view.
    """
    wrong = set()
    for number, row in enumerate(training.iter_rows(named=True)):
        expected: dict[str, object] = {}
        for claim in claims:
            newest = _newest_known(claim, row["asset"], row["event_timestamp"])
            expected |= {column: newest.get(feature) for column, feature in claim.columns.items()}
        if any(row[column] != value for column, value in expected.items()):
            wrong.add(number)
    return wrong


def _newest_known(claim: Claim, asset: str, at: datetime) -> dict[str, object]:
    """Return the newest feature row of the asset that is neither later than `at` nor too old."""
    seen = [row for row in claim.rows.iter_rows(named=True) if row["asset"] == asset and row["event_timestamp"] <= at]
    fresh = [row for row in seen if claim.ttl is None or at - row["event_timestamp"] <= claim.ttl]
    return max(fresh, key=lambda row: (row["event_timestamp"], row["created_timestamp"]), default={})


def rms_before(samples: pl.DataFrame, at: datetime, *, window: timedelta, sample_rate: float) -> float | None:
    """Return the mean-free RMS of the last complete burst that lies wholly before `at`; None if there is none.

    Does not use the code of windows: bursts are separated by their pauses, and only samples before `at` are used.

    Args:
        samples: timestamp and value of one tag, any order.
        at: The instant, with a zone.
        window: Length of a burst.
        sample_rate: Sample rate in Hz.
    """
    past = samples.filter(pl.col("timestamp") < at).sort("timestamp")
    pause = pl.col("timestamp").diff() > timedelta(seconds=2 / sample_rate)
    bursts = past.with_columns(burst=pause.fill_null(value=False).cum_sum())
    whole = bursts.group_by("burst").agg(end=pl.col("timestamp").max(), rms=pl.col("value").std(ddof=0), count=pl.len())
    needed = round(window.total_seconds() * sample_rate)
    # The burst's last sample stands for one sample period; the burst is known only when that has passed.
    known = whole.filter(pl.col("count") == needed, pl.col("end") + timedelta(seconds=1 / sample_rate) <= at)
    return known.sort("end")["rms"].to_list()[-1] if known.height else None
