"""The newest unbroken run of a waveform before an instant, for a spectrum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import numpy as np
import polars as pl

from features.define.spec import Floats
from features.windows.stretches import Stretches
from historian.errors import InvalidInput
from historian.plant.connections import Tag
from historian.quality import is_measured
from historian.stores.protocols import Reader
from historian.times import from_micros
from historian.waveforms.batch import empty_waveforms
from historian.waveforms.encoding import decode

_LOOK_BACK: Final = [timedelta(seconds=10), timedelta(minutes=2), timedelta(hours=1), timedelta(days=1)]
_LEAST: Final = 64
"""Samples of a run that is shown."""


@dataclass(frozen=True)
class Snapshot:
    """A part of one waveform without a gap."""

    start: datetime
    values: Floats
    """[samples], in the tag's unit."""
    sample_rate: float
    """Hz."""

    @property
    def end(self) -> datetime:
        """Where the next sample would be."""
        return self.start + timedelta(seconds=len(self.values) / self.sample_rate)


def newest_snapshot(store: Reader, tag: Tag, before: datetime, *, longest: timedelta) -> Snapshot:
    """Return the last samples of the newest unbroken, Good run that ends before the instant.

    Raises:
        InvalidInput: the tag is no waveform, or the day before the instant holds none of it.
    """
    for look in _LOOK_BACK:
        if found := snapshot(store, tag, before - look, before, longest=longest):
            return found
    raise InvalidInput(f"{tag.name} has no Good samples in the day before {before:%Y-%m-%d %H:%M:%S} UTC")


def snapshot(store: Reader, tag: Tag, start: datetime, end: datetime, *, longest: timedelta) -> Snapshot | None:
    """Return the last samples of the newest unbroken, Good run in the range; None if none has 64 samples."""
    return next(_snapshots(store, tag, start, end, longest=longest), None)


def recent_snapshots(
    store: Reader, tag: Tag, before: datetime, *, longest: timedelta, most: int
) -> tuple[Snapshot, ...]:
    """Return the newest unbroken, Good pieces of a waveform that end before the instant, in the order of time.

    Runs are cut into pieces from their end; all pieces are as long as most of them are.

    Args:
        store: where the samples are.
        tag: a vibration tag.
        before: only samples before this instant.
        longest: the length of a piece, unless runs are shorter.
        most: the number of pieces at most.

    Raises:
        InvalidInput: the tag is no waveform.
    """
    found: list[Snapshot] = []
    for look in _LOOK_BACK:
        found = list(islice(_snapshots(store, tag, before - look, before, longest=longest), 2 * most))
        if len(found) >= most:
            break
    lengths = [len(each.values) for each in found]
    usual = max(set(lengths), key=lambda length: (lengths.count(length), length), default=0)
    return tuple([each for each in found if len(each.values) == usual][:most][::-1])


def _snapshots(store: Reader, tag: Tag, start: datetime, end: datetime, *, longest: timedelta) -> Iterator[Snapshot]:
    """Yield the pieces of the unbroken, Good runs in the range, the newest first."""
    if tag.sample_rate is None:
        raise InvalidInput(f"{tag.name} is no waveform; spectra need a vibration point")
    rows = pl.concat([empty_waveforms(), *store.read_waveforms([tag.name], start, end)])
    rows = rows.filter(is_measured(pl.col("quality"))).with_columns(first=pl.lit(0, pl.Int64))
    if rows.is_empty():
        return
    values = decode(rows).values
    stretches = Stretches.of(rows, values)
    most = round(longest.total_seconds() * tag.sample_rate)
    for first, stop in _newest_runs(stretches, 1e6 / tag.sample_rate):
        for last in range(stop, first, -most):
            begin = max(first, last - most)
            if last == stop or last - begin >= _LEAST:
                (begun,) = stretches.times(np.array([begin])).tolist()
                yield Snapshot(from_micros(begun), values[begin:last], tag.sample_rate)


def _newest_runs(stretches: Stretches, period: float) -> Iterator[tuple[int, int]]:
    """Yield first and last + 1 of long enough runs of finite samples, the newest first."""
    (starts, _), lost = stretches.runs(period), stretches.not_finite
    edges = np.union1d(starts, np.concatenate((lost, lost + 1)))
    ends = np.append(edges[1:], len(stretches))
    finite = stretches.all_usable(edges, ends) & (ends - edges >= _LEAST)
    yield from zip(edges[finite][::-1].tolist(), ends[finite][::-1].tolist(), strict=True)
