"""Rows a sample -> stretches, and back, for sources that have vibration as a row a sample.

A run is a sequence of rows whose k-th timestamp lies within half a period of start + k / rate, as
`historian.waveforms.runs` finds them. It ends at another quality, too. Rows whose timestamps fit no rate become
stretches all the same, at the rate at which they came on average, but with the quality UncertainConfigurationError.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.errors import InvalidInput
from historian.quality import BAD_NO_DATA, UNCERTAIN, UNCERTAIN_CONFIGURATION_ERROR, is_bad
from historian.samples import KEY, SCHEMA, SampleBatch, first_of_each, is_in_order, normalise
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch, empty_waveforms, waveform_batch
from historian.waveforms.cutting import parts
from historian.waveforms.encoding import decode, encode
from historian.waveforms.runs import Runs, runs_of_rows
from historian.waveforms.timing import MAX_RATE, SECOND, Integers, offsets_us, runs_of, starts_us


class Packed(NamedTuple):
    """Rows after `pack`: what is a waveform, and what is not. The rest belongs in quarantine."""

    batch: WaveformBatch
    conflicts: pl.DataFrame
    """Rows whose (tag, timestamp) already carries another value, or that lie closer to the row before than the rate
    allows; columns of a sample batch."""
    incomplete: pl.DataFrame
    """Rows without a tag, a timestamp or a quality; columns of a sample batch."""


def pack(rows: pl.DataFrame, rates: Mapping[str, float]) -> Packed:
    """Make stretches of rows that hold one sample each.

    A null value becomes NaN; its quality ends the stretch, and becomes BadNoData unless it is Bad already. NaN and
    infinities stay as they are. Times are kept to within half a period and a microsecond, except in stretches of which
    the timestamps fit no rate; Good ones of these become UncertainConfigurationError.

    Args:
        rows: raw rows in any order, columns of `samples.SCHEMA`; `value` may be Float32. Texts are dropped.
        rates: tag -> nominal sample rate, Hz.

    Raises:
        InvalidInput: a tag has no rate, or one that no stretch can have.
    """
    rows = rows.select(SCHEMA.names()).cast({name: SCHEMA[name] for name in (*KEY, "text", "quality")})
    incomplete = rows.clear()
    if rows.select(pl.any_horizontal(pl.col(*KEY, "quality").null_count() > 0)).item():
        missing = pl.any_horizontal(pl.col(*KEY, "quality").is_null())
        incomplete, rows = rows.filter(missing), rows.filter(~missing)
    runs, conflicts = list(runs_of(rows["tag"])), rows.clear()
    if not _in_order(rows, runs):
        rows, conflicts = first_of_each(rows)
        runs = list(runs_of(rows["tag"]))
    packed = [_packed(rows[first:last], rates) for first, last in runs]
    batch = waveform_batch(pl.concat([empty_waveforms(), *(stretches for stretches, _ in packed)]))
    conflicts = pl.concat([conflicts, *(dropped for _, dropped in packed)])
    return Packed(batch, conflicts.cast(SCHEMA), incomplete.cast(SCHEMA))


def unpack(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the samples of stretches as raw rows, columns of `samples.SCHEMA`; NaN and infinities are kept.

    Args:
        frame: stretches, columns of `WAVEFORM_SCHEMA`.
    """
    values, offsets = decode(frame)
    row = np.repeat(np.arange(frame.height), np.diff(offsets))
    index = np.arange(len(values)) - offsets[row]
    times = starts_us(frame)[row] + offsets_us(index, frame["sample_rate"].to_numpy()[row])
    return (
        frame.select("tag", "quality")[row]
        .select("tag", timestamp=pl.Series(times).cast(SCHEMA["timestamp"]), value=pl.Series(values), quality="quality")
        .select("tag", "timestamp", "value", pl.lit(None, pl.String).alias("text"), "quality")
    )


def newest_samples(frame: pl.DataFrame) -> SampleBatch:
    """Return the last sample of each tag's last stretch. One that is not finite becomes as `samples.normalise` says.

    Args:
        frame: stretches sorted by (tag, timestamp), columns of `WAVEFORM_SCHEMA`.
    """
    last = frame.group_by("tag", maintain_order=True).last().select(WAVEFORM_SCHEMA.names())
    index = last["count"].to_numpy().astype(np.int64) - 1
    return normalise(unpack(parts(last, np.arange(last.height), index, np.ones_like(index)))).batch


def _in_order(rows: pl.DataFrame, runs: list[tuple[int, int]]) -> bool:
    """Return whether (tag, timestamp) ascends, given the runs of rows of one tag."""
    tags = rows["tag"].gather([first for first, _ in runs]).to_list()
    return all(a < b for a, b in pairwise(tags)) and all(is_in_order(rows.select("timestamp")[a:b]) for a, b in runs)


def _packed(rows: pl.DataFrame, rates: Mapping[str, float]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the stretches of one tag, and the rows that are too close to the one before."""
    tag = rows.item(0, "tag")
    rate = _valid_rate(tag, rates)
    runs, dropped = runs_of_rows(starts_us(rows), SECOND / rate), rows.clear()
    if len(runs.dropped):
        out = np.zeros(rows.height, bool)
        out[runs.dropped] = True
        runs = runs._replace(first=runs.first - np.searchsorted(runs.dropped, runs.first))
        dropped, rows = rows.filter(out), rows.filter(~out)
    values, quality = _values_and_quality(rows)
    first, run, start = _cut_at(np.flatnonzero(np.diff(quality)) + 1, runs)
    rates_found = np.where(runs.period == SECOND / rate, rate, SECOND / runs.period)
    marked = np.where(runs.fits[run] | (quality[first] >= UNCERTAIN), quality[first], UNCERTAIN_CONFIGURATION_ERROR)
    counts = np.diff(first, append=rows.height)
    heads = pl.DataFrame(
        {"timestamp": start, "sample_rate": rates_found[run], "count": counts, "quality": marked.astype(np.uint32)}
    )
    named = heads.select(pl.lit(tag).alias("tag"), "timestamp", "sample_rate", "count", "quality")
    return encode(named, values), dropped


def _valid_rate(tag: str, rates: Mapping[str, float]) -> float:
    """Return the rate of a tag; beyond the limits, half a period would be no whole microsecond to shift a run by."""
    if (rate := rates.get(tag)) is None:
        raise InvalidInput(f"the tag {tag!r} has no sample rate; give its point a sample_rate in plant.toml")
    if not 0 < rate <= MAX_RATE:
        raise InvalidInput(
            f"the tag {tag!r} has a sample rate of {rate:g} Hz; it must be above 0 and at most {MAX_RATE:g}"
        )
    return rate


def _values_and_quality(rows: pl.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint32]]:
    """Return [rows] values, NaN where there is none, and qualities, Bad where there is none."""
    if rows["value"].null_count():
        bad = pl.when(pl.col("value").is_null() & ~is_bad(pl.col("quality"))).then(pl.lit(BAD_NO_DATA, pl.UInt32))
        rows = rows.with_columns(pl.col("value").fill_null(float("nan")), quality=bad.otherwise("quality"))
    return rows["value"].to_numpy(), rows["quality"].to_numpy()


def _cut_at(breaks: Integers, runs: Runs) -> tuple[Integers, Integers, Integers]:
    """Cut runs at the indices `breaks`; the pieces join exactly. Return first index, run and start of each piece."""
    every = np.union1d(runs.first, breaks)
    run = np.searchsorted(runs.first, every, side="right") - 1
    passed = (every - runs.first[run]) * runs.period[run]
    return every, run, runs.start[run] + np.rint(passed).astype(np.int64)
