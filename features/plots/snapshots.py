"""The newest unbroken stretch of a waveform before an instant, for a spectrum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from features.define.spec import Floats
from features.windows.tiling import Integers, runs
from historian.errors import InvalidInput
from historian.plant.connections import Tag
from historian.quality import is_good
from historian.stores.protocols import Reader
from historian.times import from_micros

_LOOK_BACK: Final = [timedelta(seconds=10), timedelta(minutes=2), timedelta(hours=1), timedelta(days=1)]


@dataclass(frozen=True)
class Snapshot:
    """A stretch of one waveform without a gap."""

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
    """Return the last samples of the newest unbroken, Good stretch that ends before the instant.

    Raises:
        InvalidInput: the tag is no waveform, or the day before the instant holds none of it.
    """
    for look in _LOOK_BACK:
        if found := snapshot(store, tag, before - look, before, longest=longest):
            return found
    raise InvalidInput(f"{tag.name} has no Good samples in the day before {before:%Y-%m-%d %H:%M:%S} UTC")


def snapshot(store: Reader, tag: Tag, start: datetime, end: datetime, *, longest: timedelta) -> Snapshot | None:
    """Return the last samples of the newest unbroken, Good stretch in the range; None if none has 64 samples."""
    if tag.sample_rate is None:
        raise InvalidInput(f"{tag.name} is no waveform; spectra need a vibration point")
    pages = list(store.read([tag.name], start, end))
    if not pages:
        return None
    good = pl.concat(pages).filter(is_good(pl.col("quality")) & pl.col("value").is_not_null())
    times, values = good["timestamp"].to_physical().to_numpy(), good["value"].to_numpy()
    most = round(longest.total_seconds() * tag.sample_rate)
    for first, stop in _newest_runs(times, 1e6 / tag.sample_rate):
        first = max(first, stop - most)
        return Snapshot(from_micros(int(times[first])), values[first:stop], tag.sample_rate)
    return None


def _newest_runs(times: Integers, period: float) -> Iterator[tuple[int, int]]:
    starts, stops = runs(times, period)
    for first, stop in zip(starts[::-1].tolist(), stops[::-1].tolist(), strict=True):
        if stop - first >= 64:
            yield first, stop
