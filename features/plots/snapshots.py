"""The newest unbroken run of a waveform before an instant, for a spectrum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    if tag.sample_rate is None:
        raise InvalidInput(f"{tag.name} is no waveform; spectra need a vibration point")
    rows = pl.concat([empty_waveforms(), *store.read_waveforms([tag.name], start, end)])
    rows = rows.filter(is_measured(pl.col("quality"))).with_columns(first=pl.lit(0, pl.Int64))
    if rows.is_empty():
        return None
    values = decode(rows).values
    stretches = Stretches.of(rows, values)
    most = round(longest.total_seconds() * tag.sample_rate)
    for first, stop in _newest_runs(stretches, 1e6 / tag.sample_rate):
        first = max(first, stop - most)
        (begun,) = stretches.times(np.array([first])).tolist()
        return Snapshot(from_micros(begun), values[first:stop], tag.sample_rate)
    return None


def _newest_runs(stretches: Stretches, period: float) -> Iterator[tuple[int, int]]:
    """Yield first and last + 1 of long enough runs of finite samples, the newest first."""
    (starts, _), lost = stretches.runs(period), stretches.not_finite
    edges = np.union1d(starts, np.concatenate((lost, lost + 1)))
    ends = np.append(edges[1:], len(stretches))
    finite = stretches.all_usable(edges, ends) & (ends - edges >= _LEAST)
    yield from zip(edges[finite][::-1].tolist(), ends[finite][::-1].tolist(), strict=True)
