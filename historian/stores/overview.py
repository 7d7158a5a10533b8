"""Extremes and gaps of a long range, computed page by page, for stores without a server that computes them.

Stretches are summarised by the statistics they carry. A stretch is decoded only where an interval's border cuts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from historian.stores.protocols import EXTREMES, GAPS
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import parts
from historian.waveforms.packing import unpack
from historian.waveforms.timing import SECOND, first_index, last_us, overlaps, starts_us

MEETING: Final = "#meeting"
"""Number of a group of stretches that overlap; which of them counts where is a matter of all their values."""
_SIDES: Final = ("first", "final")
"""Names of the intervals in which a stretch begins and ends."""
_FEW: Final = 16
"""Periods in an interval, up to which stretches are decoded as a whole: cutting them would give as many pieces."""


def extremes_of(pages: Iterable[pl.DataFrame], every: timedelta) -> pl.DataFrame:
    """Compute `Overview.extremes` from pages of samples or of summaries.

    Args:
        pages: columns `tag`, `timestamp`, and either `value` or `low` and `high`, each row within one interval.
        every: length of the intervals.
    """
    found = [_extremes(_with_extremes(page), every) for page in pages]
    return _extremes(pl.concat([EXTREMES.to_frame(), *found]), every)  # a page may end inside an interval


def within_intervals(batch: WaveformBatch, every: timedelta) -> pl.DataFrame:
    """Return the lowest and highest value of stretches, of each part that lies in one interval of length `every`.

    Args:
        batch: stretches that do not overlap.
        every: length of the intervals, which are counted from 1970.

    Returns:
        Columns of `EXTREMES`; `timestamp` is that of the part. Parts without a finite value have nulls.
    """
    last = pl.Series(last_us(batch)).cast(EXTREMES["timestamp"])
    crossing = batch.select("timestamp", last=last).select(crosses(every)).to_series()
    whole, cut = batch.filter(~crossing), batch.filter(crossing)
    fine = cut["sample_rate"] * (every / timedelta(microseconds=SECOND)) < _FEW
    found = [whole]
    if not fine.all():
        found.append(_cut_at_borders(cut.filter(~fine), every))
    if fine.any():
        samples = unpack(cut.filter(fine)).with_columns(low="value", high="value")
        found.append(samples.filter(pl.col("value").is_finite()))
    return pl.concat([each.select(EXTREMES.names()) for each in found])


def crosses(every: timedelta) -> pl.Expr:
    """Return an expression for whether a border of an interval cuts a stretch: columns `timestamp` and `last`."""
    begins, ends = (pl.col(name).dt.truncate(every) for name in ("timestamp", "last"))
    return begins != ends


def divided(heads: pl.DataFrame, is_cut: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide stretches into those whose statistics are enough and those whose values may be needed.

    Args:
        heads: stretches sorted by (tag, timestamp), with the column `last`.
        is_cut: whether the values of a stretch are needed, even if it overlaps no other.

    Returns:
        The former, and the latter with the column `MEETING`.
    """
    over = overlaps(heads)
    needed = over | over.shift(-1, fill_value=False) | heads.select(is_cut).to_series()
    return heads.filter(~needed), heads.with_columns((~over).cum_sum().alias(MEETING)).filter(needed)


def exceeding(
    heads: pl.DataFrame, known: pl.DataFrame, span: tuple[datetime, datetime], every: timedelta
) -> pl.DataFrame:
    """Return the stretches of which a part may lie outside the known extremes, with those that they overlap.

    Each part of a stretch lies between the lowest and the highest value of the stretch. So the stretch changes nothing
    if both lie within the extremes of every interval that it touches. Few of those that a border cuts do otherwise.

    Args:
        heads: stretches that a border or another stretch cuts: columns `tag`, `timestamp`, `last`, `low`, `high` and
            `MEETING`; all those of a number.
        known: columns of `EXTREMES`, from stretches that nothing cuts.
        span: first instant, and first instant after the range.
        every: length of the intervals.
    """
    start, end = (pl.lit(each, EXTREMES["timestamp"]) for each in span)
    first = pl.max_horizontal("timestamp", start).dt.truncate(every)
    final = pl.min_horizontal("last", end - timedelta(microseconds=1)).dt.truncate(every)
    rows = heads.with_columns(first=first, final=final)
    for side in _SIDES:
        found = known.rename({"timestamp": side, "low": f"low_{side}", "high": f"high_{side}"})
        rows = rows.join(found, on=["tag", side], how="left", maintain_order="left")
    within = pl.all_horizontal(
        pl.col("final") - pl.col("first") <= every,  # or it is alone in an interval between these
        *(pl.col("low") >= pl.col(f"low_{side}") for side in _SIDES),
        *(pl.col("high") <= pl.col(f"high_{side}") for side in _SIDES),
    )
    touches = (pl.col("timestamp") < end) & (pl.col("last") >= start)
    matters = touches & pl.col("low").is_not_null() & ~within.fill_null(value=False)
    return rows.filter(matters.any().over(MEETING)).select(heads.columns)


def _cut_at_borders(cut: pl.DataFrame, every: timedelta) -> pl.DataFrame:
    """Cut stretches at every border of an interval inside them."""
    step, rate = every // timedelta(microseconds=1), cut["sample_rate"].to_numpy()
    first = cut.select(pl.col("timestamp").dt.truncate(every)).to_series().to_physical().to_numpy()
    intervals = (last_us(cut) - first) // step + 1
    row = np.repeat(np.arange(cut.height), intervals)
    number = np.arange(len(row)) - np.repeat(np.cumsum(intervals) - intervals, intervals)
    border = first[row] + number * step - starts_us(cut)[row]
    begin = np.where(number == 0, 0, first_index(border, rate[row]))
    end = np.minimum(first_index(border + step, rate[row]), cut["count"].to_numpy().astype(np.int64)[row])
    some = end > begin
    return parts(cut, row[some], begin[some], (end - begin)[some])


def _with_extremes(page: pl.DataFrame) -> pl.DataFrame:
    return page if "low" in page.columns else page.with_columns(low="value", high="value")


def _extremes(rows: pl.DataFrame, every: timedelta) -> pl.DataFrame:
    numbers = rows.select("tag", pl.col("timestamp").dt.truncate(every), "low", "high").drop_nulls("low")
    groups = _neighbours(numbers).group_by("tag", "timestamp")
    return groups.agg(pl.col("low").min(), pl.col("high").max()).sort("tag", "timestamp")


def _neighbours(numbers: pl.DataFrame) -> pl.DataFrame:
    """Merge neighbouring rows of one interval: most rows are in order of time, and a hash a row takes longer."""
    if numbers.is_empty():
        return numbers
    differs = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("tag", "timestamp"))
    begins = np.flatnonzero(numbers.select(differs.fill_null(value=True)).to_series().to_numpy())
    low = np.fmin.reduceat(numbers["low"].to_numpy(), begins)
    high = np.fmax.reduceat(numbers["high"].to_numpy(), begins)
    return numbers.select("tag", "timestamp")[begins].with_columns(low=pl.Series(low), high=pl.Series(high))


def gaps_of(
    pages: Iterable[pl.DataFrame], tags: Sequence[str], start: datetime, end: datetime, longer_than: timedelta
) -> pl.DataFrame:
    """Compute `Overview.gaps` from pages of samples or of intervals without gaps.

    Args:
        pages: pages that follow one another in time, columns `tag`, `timestamp` and optionally `last`.
        tags: the tags to report on.
        start: first instant of the range.
        end: first instant after the range.
        longer_than: shorter gaps are left out.
    """
    found = []
    ends = _at(tags, start)
    for page in [*pages, _at(tags, end)]:
        whole = page if "last" in page.columns else page.with_columns(last="timestamp")
        rows = pl.concat([ends, whole.select(ends.columns)]).sort("timestamp")
        steps = rows.select("tag", after=pl.col("last").cum_max().shift().over("tag"), before="timestamp")
        found.append(steps.filter(pl.col("before") - pl.col("after") > longer_than))
        ends = rows.group_by("tag").last()
    return pl.concat([GAPS.to_frame(), *found]).sort("tag", "after")


def without_gaps(batch: WaveformBatch, longer_than: timedelta) -> pl.DataFrame:
    """Return the intervals that stretches cover: the stretches, or their samples if those are so far apart.

    Args:
        batch: stretches that do not overlap.
        longer_than: distance of samples from which there is a gap.

    Returns:
        Columns `tag`, `timestamp` and `last`.
    """
    slow = SECOND / pl.col("sample_rate") > longer_than / timedelta(microseconds=1) - 1
    whole, samples = batch.filter(~slow), unpack(batch.filter(slow))
    covered = whole.select("tag", "timestamp", last=pl.Series(last_us(whole)).cast(GAPS["after"]))
    return pl.concat([covered, samples.select("tag", "timestamp", last="timestamp")])


def _at(tags: Sequence[str], instant: datetime) -> pl.DataFrame:
    """Return one end of the range as if each tag had a sample there."""
    at = {"tag": pl.String(), "timestamp": GAPS["after"], "last": GAPS["after"]}
    return pl.DataFrame({"tag": sorted(set(tags)), "timestamp": instant, "last": instant}, schema=at)
