"""Ledger rows -> the stretches of time in which windows may have changed.

Live samples, late samples and a backfill of last year are the same case: something was written, so the windows it
touches are computed again. A sample at t touches the windows that end in (t, t + reach].
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from typing import Final

import polars as pl

from historian.plant.connections import Tag
from historian.plant.plant import View

TAG_REACH: Final = pl.Schema(
    {
        "tag": pl.String(),
        "asset": pl.String(),
        "reach": pl.Duration("us"),
        "known": pl.Datetime("us", "UTC"),
        "newest": pl.Datetime("us", "UTC"),
    }
)

SPANS: Final = pl.Schema(
    {"asset": pl.String(), "after": pl.Datetime("us", "UTC"), "until": pl.Datetime("us", "UTC")},
)


def reach(view: View, tag: Tag) -> timedelta:
    """How long after a sample of the tag windows may end that depend on it."""
    if tag.sample_rate is None:
        return view.window + tag.max_staleness
    return view.window + timedelta(microseconds=ceil(1e6 / tag.sample_rate))


def dirty_spans(changes: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """The window ends to compute again, per asset.

    Args:
        changes: columns of `historian.stores.protocols.LEDGER`; rows of other tags are left out.
        tags: columns of `TAG_REACH`, a row a tag; `known` is up to when its windows were known when changes were last
            taken in, or null, and `newest` its newest sample now. Windows that were pending then end in between or
            within reach, and another sample of the asset, or the clock alone, may have made them due.

    Returns:
        Columns asset, after, until: windows with after < end <= until are dirty. Sorted; the spans of an asset neither
        overlap nor touch.
    """
    changed = changes.join(tags, on="tag").select("asset", "first", "last", "reach")
    touched, overdue = pl.col("asset").is_in(changed["asset"].implode()), pl.col("known") < pl.col("newest")
    # What a tag that has nothing new held is known up to the newest sample of its asset: of a dead tag nothing waits.
    begun = pl.when(overdue.fill_null(value=False)).then("known").otherwise(pl.col("known").max().over("asset"))
    waiting = tags.drop_nulls("known").with_columns(first=begun).filter(touched | overdue)
    pending = waiting.select("asset", "first", last=pl.max_horizontal("known", "newest"), reach="reach")
    stretches = pl.concat([changed, pending.filter(pl.col("first") < pl.col("last") + pl.col("reach"))])
    return joined_spans(stretches.select("asset", after="first", until=pl.col("last") + pl.col("reach")))


def joined_spans(spans: pl.DataFrame, *, within: timedelta = timedelta(0)) -> pl.DataFrame:
    """Sorts the spans and joins those of an asset that overlap, touch, or lie no further apart than `within`."""
    reached = (pl.col("until").cum_max().shift() + within).over("asset")
    return (
        spans.sort("asset", "after")
        .with_columns(apart=(pl.col("after") > reached).fill_null(value=True))
        .group_by("asset", pl.col("apart").cum_sum(), maintain_order=True)
        .agg(pl.col("after").min(), pl.col("until").max())
        .select("asset", "after", "until")
    )
