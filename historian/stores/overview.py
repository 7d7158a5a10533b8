"""Extremes and gaps of a long range, computed page by page, for stores without a server that computes them.

Stretches are summarised by the statistics they carry. A stretch is decoded only where an interval's border cuts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from historian.samples import instants_us, is_in_order
from historian.stores.protocols import EXTREMES, GAPS
from historian.times import micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.encoding import decode
from historian.waveforms.packing import unpack
from historian.waveforms.timing import (
    SECOND,
    Booleans,
    Floats,
    Integers,
    first_index,
    last_us,
    overlaps,
    starts_us,
)

MEETING: Final = "#meeting"
"""Number of a group of stretches that overlap; which of them counts where is a matter of all their values."""
_FEW: Final = 16
"""Periods in an interval, up to which stretches are decoded as a whole: cutting them would give as many pieces."""


def extremes_of(pages: Iterable[pl.DataFrame], every: timedelta) -> pl.DataFrame:
    """Compute `Overview.extremes` from pages of samples or of summaries.

    Args:
        pages: columns `tag`, `timestamp`, and either `value` or `low` and `high`, each row within one interval.
        every: length of the intervals.
    """
    found = [part for part in (_extremes(_with_extremes(page), every) for page in pages) if not part.is_empty()]
    if len(found) == 1:
        return found[0]
    return _extremes(pl.concat([EXTREMES.to_frame(), *found]), every)  # a page may end inside an interval


def within_intervals(batch: WaveformBatch, every: timedelta) -> pl.DataFrame:
    """Return the lowest and highest value of stretches, of each part that lies in one interval of length `every`.

    Args:
        batch: stretches that do not overlap.
        every: length of the intervals, which are counted from 1970.

    Returns:
        Columns of `EXTREMES`; `timestamp` is that of the part. Parts without a finite value have nulls or are left out.
    """
    crossing = crosses(starts_us(batch), last_us(batch), every)
    whole, cut = batch.filter(pl.Series(~crossing)), batch.filter(pl.Series(crossing))
    fine = cut["sample_rate"] * (every / timedelta(microseconds=SECOND)) < _FEW
    found = [whole]
    if not fine.all():
        found.append(_cut_at_borders(cut.filter(~fine), every))
    if fine.any():
        samples = unpack(cut.filter(fine)).with_columns(low="value", high="value")
        found.append(samples.filter(pl.col("value").is_finite()))
    return pl.concat([each.select(EXTREMES.names()) for each in found])


def crosses(first: Integers, last: Integers, every: timedelta) -> Booleans:
    """Return [stretches] whether a border of an interval cuts each of them.

    Args:
        first: [stretches] time of the first sample in microseconds since the epoch.
        last: [stretches] the same of the last one.
        every: length of the intervals.
    """
    cut: Booleans = _interval(first, every) != _interval(last, every)
    return cut


def divided(heads: pl.DataFrame, is_cut: Booleans) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide stretches into those whose statistics are enough and those whose values may be needed.

    Args:
        heads: stretches sorted by (tag, timestamp), with the column `last`.
        is_cut: [stretches] whether the values of a stretch are needed, even if it overlaps no other.

    Returns:
        The former, and the latter with the column `MEETING`.
    """
    over = overlaps(heads).to_numpy()
    needed = over | np.append(over[1:], [False])[: len(over)] | is_cut
    meeting = pl.Series(MEETING, np.cumsum(~over))
    return heads.filter(pl.Series(~needed)), heads.with_columns(meeting).filter(pl.Series(needed))


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
    start, end = map(micros, span)
    first, last = starts_us(heads), instants_us(heads["last"])
    low, high = heads["low"].to_numpy(), heads["high"].to_numpy()  # NaN where there is no finite value
    intervals = _interval(np.maximum(first, start), every), _interval(np.minimum(last, end - 1), every)
    within = intervals[1] - intervals[0] <= 1  # or it is alone in an interval between these
    for interval in intervals:
        least, most = _known_in(heads["tag"], interval, known, every)
        within &= (low >= least) & (high <= most)
    matters = (first < end) & (last >= start) & ~np.isnan(low) & ~within
    meeting = heads[MEETING].to_numpy()
    return heads.filter(pl.Series(np.isin(meeting, meeting[matters])))


def _known_in(tags: pl.Series, interval: Integers, known: pl.DataFrame, every: timedelta) -> tuple[Floats, Floats]:
    """Return [stretches] the known extremes of the tags in intervals; NaN where none is known."""
    places = known.select("tag", "low", "high", interval=pl.Series(_interval(starts_us(known), every)))
    wanted = pl.DataFrame({"tag": tags, "interval": interval})
    found = wanted.join(places, on=["tag", "interval"], how="left", maintain_order="left")
    return found["low"].to_numpy(), found["high"].to_numpy()


def _cut_at_borders(cut: pl.DataFrame, every: timedelta) -> pl.DataFrame:
    """Return the extremes of the parts into which the borders of intervals cut stretches."""
    step, rate, start = every // timedelta(microseconds=1), cut["sample_rate"].to_numpy(), starts_us(cut)
    values, offsets = decode(cut)
    first = _interval(start, every) * step
    intervals = (last_us(cut) - first) // step + 1
    row = np.repeat(np.arange(cut.height), intervals)
    number = np.arange(len(row)) - np.repeat(np.cumsum(intervals) - intervals, intervals)
    border = first[row] + number * step
    begin = offsets[row] + np.where(number == 0, 0, first_index(border - start[row], rate[row]))
    holds = np.append(begin[1:], [len(values)]) > begin
    lowest, highest = values, values
    if not np.isfinite(values).all():
        lowest, highest = (np.where(np.isfinite(values), values, each) for each in (np.inf, -np.inf))
    low, high = np.minimum.reduceat(lowest, begin[holds]), np.maximum.reduceat(highest, begin[holds])
    found = _summaries(cut["tag"].gather(row[holds]), np.maximum(border, start[row])[holds], low, high)
    return found.filter(pl.col("low") <= pl.col("high"))


def _summaries(tags: pl.Series, instants: Integers, low: Floats, high: Floats) -> pl.DataFrame:
    """Return columns of `EXTREMES`; instants are microseconds since the epoch."""
    times = pl.Series(instants).cast(EXTREMES["timestamp"])
    return pl.DataFrame({"tag": tags, "timestamp": times, "low": low, "high": high})


def _interval(instants: Integers, every: timedelta) -> Integers:
    """Return the number of the interval, counted from 1970, in which each instant lies."""
    return np.floor_divide(instants, every // timedelta(microseconds=1))


def _with_extremes(page: pl.DataFrame) -> pl.DataFrame:
    return page if "low" in page.columns else page.with_columns(low="value", high="value")


def _extremes(rows: pl.DataFrame, every: timedelta) -> pl.DataFrame:
    """Return one row for each tag and interval, sorted: most rows are in order of time, and need no hash."""
    numbers = rows.drop_nulls("low") if rows["low"].null_count() else rows
    if numbers.is_empty():
        return EXTREMES.to_frame()
    interval, tag = _interval(starts_us(numbers), every), numbers["tag"]
    differs = (interval[1:] != interval[:-1]) | (tag[1:] != tag[:-1]).to_numpy()
    begins = np.concatenate(([0], np.flatnonzero(differs) + 1))
    low, high = (
        np.fmin.reduceat(numbers["low"].to_numpy(), begins),
        np.fmax.reduceat(numbers["high"].to_numpy(), begins),
    )
    found = _summaries(tag.gather(begins), interval[begins] * (every // timedelta(microseconds=1)), low, high)
    if is_in_order(found):
        return found
    return found.group_by("tag", "timestamp").agg(pl.col("low").min(), pl.col("high").max()).sort("tag", "timestamp")


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
