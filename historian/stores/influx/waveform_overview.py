"""Extremes and gaps of waveforms in InfluxDB, from the statistics of the stretches.

Only what these cannot answer is decoded: stretches that a border of an interval cuts, and those that overlap another
one, because which of two counts where is a matter of their samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from historian.samples import instants_us
from historian.stores.influx.queries import MICROSECOND
from historian.stores.influx.waveform_lines import HEAD_FIELDS, heads
from historian.stores.influx.waveforms import Page, Waveforms
from historian.stores.overview import MEETING, crosses, exceeding, extremes_of, within_intervals
from historian.stores.protocols import EXTREMES, GAPS
from historian.times import from_micros, micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.timing import Integers, first_index, last_us, offsets_us, overlaps, starts_us

_STRETCHES: Final = 'count("count")'
_RANGES: Final = 20
"""Number of ranges of a page that are read one by one; more are read as one."""
_RUNS: Final = pl.Schema({"tag": pl.String(), "first": pl.Int64(), "last": pl.Int64()})


class WaveformGaps(NamedTuple):
    """Gaps of those tags that have waveforms."""

    tags: list[str]
    gaps: pl.DataFrame
    """Columns of `GAPS`."""


class _Heads(NamedTuple):
    """The stretches of a page without their values."""

    alone: pl.DataFrame
    """Those that overlap no other."""
    meeting: pl.DataFrame


def waveform_extremes(
    waveforms: Waveforms, tags: Sequence[str], start: datetime, end: datetime, *, every: timedelta
) -> pl.DataFrame:
    """See `Overview.extremes`.

    Args:
        waveforms: where the stretches are.
        tags: the tags to read.
        start: first instant of the range.
        end: first instant after the range.
        every: length of the intervals.
    """
    found = [EXTREMES.to_frame()]
    for page in waveforms.pages(tags, start, end, HEAD_FIELDS, _STRETCHES):
        alone, meeting = _heads(page)
        first, last = starts_us(alone), instants_us(alone["last"])
        inside = (first >= micros(page.start)) & (last < micros(page.end))
        is_whole = pl.Series(inside & ~crosses(first, last, every))
        known, others = extremes_of([alone.filter(is_whole)], every), alone.filter(~is_whole)
        others, meeting = (exceeding(rows, known, (page.start, page.end), every) for rows in (others, meeting))
        in_page = (cut(WaveformBatch(rows), page.start, page.end) for rows in waveforms.with_values(others))
        decoded = chain(in_page, _resolved(waveforms, meeting, page))
        found.append(extremes_of(chain([known], (within_intervals(rows, every) for rows in decoded)), every))
    return extremes_of(found, every)


def waveform_gaps(
    waveforms: Waveforms, tags: Sequence[str], start: datetime, end: datetime, *, longer_than: timedelta
) -> WaveformGaps:
    """Return the tags that have waveforms, with their gaps; see `Overview.gaps`.

    Args:
        waveforms: where the stretches are.
        tags: the tags to read.
        start: first instant of the range.
        end: first instant after the range.
        longer_than: shorter gaps are left out.
    """
    names = pl.Series("tag", sorted({tag for some in waveforms.octaves(tags).values() for tag in some}), pl.String)
    limit = longer_than // MICROSECOND
    ends = [names.to_frame().select("tag", first=micros(each), last=micros(each)).cast(_RUNS) for each in (start, end)]
    runs = pl.concat(ends)
    for page in waveforms.pages(tags, start, end, HEAD_FIELDS, _STRETCHES):
        alone, meeting = _heads(page)
        resolved = _resolved(waveforms, meeting, page)
        runs = _joined(pl.concat([runs, *(_runs(rows, page, limit) for rows in (alone, *resolved))]), limit)
    steps = runs.sort("tag", "first").select("tag", after=pl.col("last").shift().over("tag"), before="first")
    gaps = steps.filter(pl.col("before") - pl.col("after") > limit).cast(GAPS)
    return WaveformGaps(names.to_list(), gaps)


def _heads(page: Page) -> _Heads:
    """Divide the stretches of a page that have a sample in it into those that overlap none and the others."""
    rows = heads(page.rows).sort("tag", "timestamp")
    over = overlaps(rows)
    meets = (over | over.shift(-1, fill_value=False)).to_numpy()
    last = last_us(rows)
    rows = rows.with_columns((~over).cum_sum().alias(MEETING), last=pl.Series(last).cast(EXTREMES["timestamp"]))
    touches = (starts_us(rows) < micros(page.end)) & (last >= micros(page.start))
    return _Heads(rows.filter(pl.Series(touches & ~meets)), rows.filter(pl.Series(touches & meets)))


def _resolved(waveforms: Waveforms, meeting: pl.DataFrame, page: Page) -> Iterator[WaveformBatch]:
    """Yield what counts of stretches that overlap, as read from the store."""
    apart = pl.col("timestamp").to_physical() > pl.col("end").cum_max().shift()
    number = apart.fill_null(value=False).cum_sum()
    one_by_one = number.max() < _RANGES
    placed = meeting.sort("timestamp").with_columns(range=pl.when(one_by_one).then(number).otherwise(0))
    ranges = placed.group_by("range", maintain_order=True).agg(
        pl.col("tag").unique().sort(), first=pl.col("timestamp").min(), end=pl.col("end").max()
    )
    for tags, first, end in ranges.select("tag", "first", "end").iter_rows():
        yield from waveforms.read(tags, max(first, page.start), min(from_micros(end), page.end))


def _runs(rows: pl.DataFrame, page: Page, limit: int) -> pl.DataFrame:
    """Return first and last sample of each stretch in the page; where samples are further apart, those of each."""
    start, rate, count = starts_us(rows), rows["sample_rate"].to_numpy(), rows["count"].to_numpy().astype(np.int64)
    first, end = (np.minimum(first_index(micros(each) - start, rate), count) for each in (page.start, page.end))
    size = np.maximum(end - first, 0)
    sparse = offsets_us(np.ones_like(count), rate) >= limit  # a rounded step may be a microsecond longer
    row = np.repeat(np.arange(rows.height), np.where(sparse, size, np.minimum(size, 1)))
    index = first[row] + _position_in_group(row)
    begins = start[row] + offsets_us(index, rate[row])
    last = start[row] + offsets_us(np.where(sparse[row], index, end[row] - 1), rate[row])
    return pl.DataFrame({"tag": rows["tag"].gather(row), "first": begins, "last": last}, schema=_RUNS)


def _position_in_group(group: Integers) -> Integers:
    """Return [rows] how many rows of the same group precede each row of an ascending array."""
    return np.arange(len(group)) - np.searchsorted(group, group)


def _joined(runs: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Join runs of samples that are not further apart than the limit."""
    known = pl.col("last").cum_max().shift().over("tag")
    begins = (pl.col("first") - known > limit).fill_null(value=True)
    numbered = runs.sort("tag", "first").with_columns(run=begins.cum_sum())
    joined = numbered.group_by("run", maintain_order=True).agg(
        pl.col("tag").first(), pl.col("first").first(), pl.col("last").max()
    )
    return joined.select(_RUNS.names())
