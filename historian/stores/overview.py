"""Extremes and gaps of a long range, computed page by page, for stores without a server that computes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import polars as pl

from historian.samples import SampleBatch
from historian.stores.protocols import EXTREMES, GAPS


def extremes_of(pages: Iterable[SampleBatch], every: timedelta) -> pl.DataFrame:
    """Compute `Overview.extremes` from the pages of `Reader.read`."""
    parts = [_extremes(page.with_columns(low="value", high="value"), every) for page in pages]
    return _extremes(pl.concat([EXTREMES.to_frame(), *parts]), every)  # a page may end inside an interval


def _extremes(rows: pl.DataFrame, every: timedelta) -> pl.DataFrame:
    numbers = rows.drop_nulls("low").with_columns(pl.col("timestamp").dt.truncate(every))
    return numbers.group_by("tag", "timestamp").agg(pl.col("low").min(), pl.col("high").max()).sort("tag", "timestamp")


def gaps_of(
    pages: Iterable[SampleBatch], tags: Sequence[str], start: datetime, end: datetime, longer_than: timedelta
) -> pl.DataFrame:
    """Compute `Overview.gaps` from the pages of `Reader.read`."""
    found = []
    last = _at(tags, start)
    for page in [*pages, _at(tags, end)]:
        rows = pl.concat([last, page.select(last.columns)]).sort("timestamp")
        steps = rows.select("tag", after=pl.col("timestamp").shift().over("tag"), before="timestamp")
        found.append(steps.filter(pl.col("before") - pl.col("after") > longer_than))
        last = rows.group_by("tag").last()
    return pl.concat([GAPS.to_frame(), *found]).sort("tag", "after")


def _at(tags: Sequence[str], instant: datetime) -> pl.DataFrame:
    """Return one end of the range as if each tag had a sample there."""
    return pl.DataFrame(
        {"tag": sorted(set(tags)), "timestamp": instant}, schema={"tag": pl.String(), "timestamp": GAPS["after"]}
    )
