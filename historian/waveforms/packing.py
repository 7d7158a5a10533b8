"""Rows a sample -> stretches, and back, for sources that have vibration as a row a sample.

A run is a sequence of rows whose k-th timestamp lies within half a period of start + k / rate. It ends at a gap, at
another quality, and where the device's clock has drifted by half a period; then the next run begins half a period
away, so that the two still join.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from historian.errors import InvalidInput
from historian.quality import BAD_NO_DATA, is_bad
from historian.samples import KEY, SCHEMA, SampleBatch, first_of_each, is_in_order, normalise
from historian.waveforms.batch import WAVEFORM_SCHEMA, WaveformBatch, empty_waveforms, waveform_batch
from historian.waveforms.cutting import parts
from historian.waveforms.encoding import decode, encode
from historian.waveforms.timing import MAX_RATE, SECOND, Integers, offsets_us, runs_of, starts_us

_SMALL: Final = 64
"""Samples looked at first after a run has ended."""
_LARGE: Final = 2**14
"""Samples looked at a time in a long run; intermediate results stay in the CPU caches."""
_STEPS: Final = np.arange(_LARGE, dtype=np.float64)


class Packed(NamedTuple):
    """Rows after `pack`: what is a waveform, and what is not. The rest belongs in quarantine."""

    batch: WaveformBatch
    conflicts: pl.DataFrame
    """Rows whose (tag, timestamp) already carries another value, or that lie closer to the row before than the rate
    allows; columns of a sample batch."""
    incomplete: pl.DataFrame
    """Rows without a tag, a timestamp or a quality; columns of a sample batch."""


class _Runs(NamedTuple):
    """The runs of one tag."""

    first: list[int]
    """[runs] index of the first row."""
    start: list[int]
    """[runs] microseconds since the epoch."""
    dropped: list[int]
    """Indices of rows that are too close to the one before."""


def pack(rows: pl.DataFrame, rates: Mapping[str, float]) -> Packed:
    """Make stretches of rows that hold one sample each.

    A null value becomes NaN; its quality ends the stretch, and becomes BadNoData unless it is Bad already. NaN and
    infinities stay as they are. Times are kept to within half a period and a microsecond.

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
    runs, dropped = _runs(rows["timestamp"].to_physical().to_numpy(), SECOND / rate), rows.clear()
    first, start = np.array(runs.first), np.array(runs.start)
    if runs.dropped:
        out = np.zeros(rows.height, bool)
        out[runs.dropped] = True
        first -= np.searchsorted(runs.dropped, first)
        dropped, rows = rows.filter(out), rows.filter(~out)
    values, quality = _values_and_quality(rows)
    first, start = _cut_at(np.flatnonzero(np.diff(quality)) + 1, first, start, rate)
    heads = pl.DataFrame({"timestamp": start, "count": np.diff(first, append=rows.height), "quality": quality[first]})
    named = heads.select(
        pl.lit(tag).alias("tag"), "timestamp", pl.lit(rate, pl.Float64).alias("sample_rate"), "count", "quality"
    )
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


def _cut_at(breaks: Integers, first: Integers, start: Integers, rate: float) -> tuple[Integers, Integers]:
    """Cut runs at the indices `breaks`; the pieces join exactly. Return first index and start of each."""
    every = np.union1d(first, breaks)
    run = np.searchsorted(first, every, side="right") - 1
    return every, start[run] + offsets_us(every - first[run], rate)


def _runs(times: Integers, period: float) -> _Runs:
    """Find the runs of one tag; each pass of the loop looks at many samples or ends a run.

    Args:
        times: [rows] microseconds since the epoch, ascending.
        period: microseconds.
    """
    half, steps = period / 2, _STEPS * period
    shift = int(half)
    runs = _Runs([0], [int(times[0])], [])
    position, size = 0, _SMALL
    while position < len(times):
        first, start = runs.first[-1], runs.start[-1]
        block, passed = times[position : position + size], (position - first) * period
        late = (block - start) - steps[: len(block)]  # lacks `passed`, which the limits have instead
        if late.max() <= passed + half and late.min() >= passed - half:
            position, size = position + len(block), min(8 * size, _LARGE)
            continue
        at = int((np.abs(late - passed) > half).argmax())
        expected, error = passed + float(steps[at]), float(late[at]) - passed
        position, size = position + at, _SMALL
        apart = position > first and times[position] - times[position - 1] >= 1.5 * period
        if error > period or (error > half and apart):  # a gap
            _begin(runs, position, int(times[position]))
        elif error < -2 * shift:
            runs.dropped.append(position)
            if position == first:  # the run has no rows yet, and keeps its start
                runs.first[-1] += 1
            else:
                _begin(runs, position + 1, start + round(expected))
            position += 1
        else:
            _begin(runs, position, start + round(expected) + (shift if error > 0 else -shift))
    if runs.first[-1] == len(times):
        runs.first.pop(), runs.start.pop()
    return runs


def _begin(runs: _Runs, first: int, start: int) -> None:
    """Begin a run, in place of one that has no rows yet."""
    if runs.first[-1] == first:
        runs.first.pop(), runs.start.pop()
    runs.first.append(first)
    runs.start.append(start)
