"""Derives from ledger rows the intervals of time in which windows may have changed.

Live samples, late samples and a backfill of last year are treated alike: the windows that use what was written are
computed again. A sample at t is used by windows that end in (t, t + lookback], where the lookback is how far
before its end a window needs samples of the tag. A stretch that begins at t may also replace samples of an older one up
to half a period before t, and the windows that end in between had them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from historian.intervals import join_touching

TAG_LOOKBACK: Final = pl.Schema(
    {
        "tag": pl.String(),
        "asset": pl.String(),
        "lookback": pl.Duration("us"),
        "replaces": pl.Duration("us"),
        "known": pl.Datetime("us", "UTC"),
        "newest": pl.Datetime("us", "UTC"),
    }
)

INTERVALS: Final = pl.Schema(
    {"asset": pl.String(), "after": pl.Datetime("us", "UTC"), "until": pl.Datetime("us", "UTC")},
)
"""Columns of an interval of window ends of an asset: after < end <= until."""


def dirty_intervals(changes: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """Return the intervals of window ends to compute again, per asset.

    Args:
        changes: columns of `historian.stores.protocols.LEDGER`; rows of other tags are left out.
        tags: columns of `TAG_LOOKBACK`, one row per tag. `replaces` is how far before its first sample a write of the
            tag may have replaced others. `known` is the instant up to which the tag's windows were
            known when changes were last processed, or null; `newest` is the time of its newest sample now. Windows
            that were pending then end between the two or within the lookback after; another sample of the asset, or
            time passing, may have made them due.

    Returns:
        Columns of `INTERVALS`, sorted; the intervals of an asset neither overlap nor touch.
    """
    of_tags = tags.lazy()
    changed = (
        changes.lazy()
        .join(of_tags, on="tag")
        .select("asset", first=pl.col("first") - pl.col("replaces"), last="last", lookback="lookback")
    )
    assets = changes.lazy().join(of_tags, on="tag").select(pl.col("asset").unique(), touched=True)
    touched, overdue = pl.col("touched").fill_null(value=False), pl.col("known") < pl.col("newest")
    # A tag without new samples counts as known up to the newest sample of its asset: a dead tag leaves nothing pending.
    begun = pl.when(overdue.fill_null(value=False)).then("known").otherwise(pl.col("known").max().over("asset"))
    known = of_tags.drop_nulls("known").join(assets, on="asset", how="left").with_columns(first=begun)
    pending = known.filter(touched | overdue).select(
        "asset", "first", last=pl.max_horizontal("known", "newest"), lookback="lookback"
    )
    used = pl.concat([changed, pending.filter(pl.col("first") < pl.col("last") + pl.col("lookback"))])
    found = used.select("asset", after="first", until=pl.col("last") + pl.col("lookback"))
    return join_intervals(found.collect())


def intervals_of(rows: Sequence[tuple[str, int, int]]) -> pl.DataFrame:
    """Return intervals as a frame, columns of `INTERVALS`, from (asset, after, until) in microseconds."""
    names, after, until = zip(*rows, strict=True) if rows else ((), (), ())
    physical = {"asset": pl.Series(names, dtype=pl.String), "after": np.array(after, np.int64)}
    return pl.DataFrame({**physical, "until": np.array(until, np.int64)}).cast(INTERVALS)


def join_intervals(intervals: pl.DataFrame, *, within: timedelta = timedelta(0)) -> pl.DataFrame:
    """Join the intervals of each asset that overlap, touch, or lie no further apart than `within`.

    Args:
        intervals: columns of `INTERVALS`, in any order.
        within: the widest gap that is closed.

    Returns:
        Columns of `INTERVALS`, sorted by asset and start.
    """
    assets = intervals["asset"]
    if (assets[1:] > assets[:-1]).all():  # as in a live second: each has one, in order
        return intervals.select(INTERVALS.names())
    return join_touching(intervals, by="asset", start="after", end="until", within=within)


def in_intervals(rows: pl.LazyFrame, intervals: pl.DataFrame) -> pl.LazyFrame:
    """Return the rows whose event timestamp lies in an interval of their asset, sorted by it.

    Args:
        rows: with columns asset and event_timestamp.
        intervals: columns of `INTERVALS`; those of an asset do not overlap.
    """
    begun = rows.sort("event_timestamp").join_asof(
        intervals.lazy().sort("after"),
        left_on="event_timestamp",
        right_on="after",
        by="asset",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return begun.filter(pl.col("event_timestamp") <= pl.col("until")).drop("after", "until")
