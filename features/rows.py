"""Samples of one asset -> its feature rows, page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs
from numpy.lib.stride_tricks import sliding_window_view

from features.catalogue import QUALITY, SLOW, SPECTRAL, TIME, specs_of
from features.slow import Holds, held_windows, holds, slow_windows
from features.spec import Floats
from features.spectrum import spectra
from features.vibration import Waveforms
from features.windows import Booleans, Integers, Span, Tiling, Windows, burst_windows, epoch_windows, microseconds
from historian.plant import Tag, View
from historian.quality import is_good
from historian.samples import SCHEMA, SampleBatch, empty_batch

Values = Mapping[str, npt.NDArray[Any]]
"""Feature name -> [windows]."""

_NEEDED: Final = ("timestamp", "value", "quality")

_BATCH_BYTES: Final = 512 * 1024
"""Of samples per call of the kernels: larger batches fall out of the caches, in smaller ones the calls cost more."""

_BATCH_WINDOWS: Final = 1024
"""Of slow tags per call of the kernels."""


class Rows(NamedTuple):
    """Feature rows of an asset."""

    frame: pl.DataFrame
    """event_timestamp, then the columns of the points."""
    leftovers: int
    """Ends of bursts too short for a window."""
    after: int
    """These are all rows of the asset with after < event_timestamp <= until; what is later may yet be pending."""
    until: int


def asset_rows(
    pages: Iterator[SampleBatch], tags: Sequence[Tag], view: View, span: Span, ready: Mapping[str, int]
) -> Iterator[Rows]:
    """The feature rows of one asset whose windows end in the span.

    Args:
        pages: the samples these windows can touch; each page covers a stretch of time after the one before.
        tags: those of the asset that fill points of the view.
        view: what to compute.
        span: after < end <= until.
        ready: `Span.ready` of each tag.
    """
    known: dict[str, pl.DataFrame] = {tag.name: empty_batch().select(_NEEDED) for tag in tags}
    for page in chain(pages, [empty_batch()]):
        # Before the last page windows that end within it are complete; after it all are.
        until = min(span.until, _last(page)) if len(page) else span.until
        points = []
        leftovers = 0
        for tag in tags:
            samples = pl.concat([known[tag.name], page.filter(tag=tag.name).select(_NEEDED)])
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows float64 is undefined, see _frame
                windows, frame = point_rows(samples, tag, view, span._replace(until=until, ready=ready[tag.name]))
            known[tag.name] = samples.filter(pl.col("timestamp").to_physical() >= windows.resume)
            points.append(frame)
            leftovers += windows.leftovers
        yield Rows(pl.concat(points, how="align_full"), leftovers, span.after, min(until, max(ready.values())))
        span = span._replace(after=max(span.after, until))


def point_rows(samples: pl.DataFrame, tag: Tag, view: View, span: Span) -> tuple[Windows, pl.DataFrame]:
    """The windows of one tag that end in the span, and their rows: event_timestamp, then the point's columns.

    Args:
        samples: of that tag, timestamp ascending, value and quality; all from `Windows.resume` of the span before.
        tag: whose samples.
        view: what to compute.
        span: which windows.
    """
    times = samples["timestamp"].to_physical().to_numpy()
    values = samples["value"].to_numpy()
    usable = samples.select(is_good(pl.col("quality")) & pl.col("value").is_not_null()).to_series().to_numpy()
    length, hop = microseconds(view.window), microseconds(view.hop)
    features: Values
    if tag.sample_rate is None:
        staleness = microseconds(tag.max_staleness)
        held = holds(times, values, usable, staleness=staleness)
        windows = slow_windows(times, held, length=length, hop=hop, staleness=staleness, span=span)
        features = slow_values(held, windows, length=length)
    else:
        tiling = Tiling(length, hop, tag.sample_rate)
        lay = epoch_windows if view.align == "epoch" else burst_windows
        windows = lay(times, usable, tiling, span)
        features = _spread(waveform_values(values, windows.first[windows.valid], tiling, tag.unit), windows.valid)
    quality = {spec.name: spec.kernel(windows) for spec in QUALITY[view.kind]}
    return windows, _frame(tag.point, windows.end, {**features, **quality})


def waveform_values(values: Floats, first: Integers, tiling: Tiling, unit: str) -> Values:
    """Every vibration feature of the windows that start at the indices `first` of `values`."""
    result = {spec.name: np.empty(len(first)) for spec in specs_of("vibration")}
    if not len(first):
        return result
    batch = max(1, _BATCH_BYTES // (8 * tiling.samples))
    for start in range(0, len(first), batch):
        place = slice(start, start + batch)
        waveforms = Waveforms(_waveforms(values, first[place], tiling.samples), tiling.sample_rate, unit)
        power = spectra(waveforms)
        for time in TIME:
            result[time.name][place] = time.kernel(waveforms)
        for spectral in SPECTRAL:
            result[spectral.name][place] = spectral.kernel(power)
    return result


def slow_values(held: Holds, windows: Windows, *, length: int) -> Values:
    """Every slow feature of the windows; in batches, for windows that overlap use each sample many times."""
    parts: dict[str, list[npt.NDArray[Any]]] = {spec.name: [] for spec in SLOW}
    for start in range(0, max(1, len(windows.end)), _BATCH_WINDOWS):
        place = slice(start, start + _BATCH_WINDOWS)
        batch = held_windows(held, windows.end[place], windows.valid[place], length=length)
        for spec in SLOW:
            parts[spec.name].append(spec.kernel(batch))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _waveforms(values: Floats, first: Integers, size: int) -> Floats:
    """[samples] -> [windows, size]; windows that follow each other without overlap need no copy."""
    if np.all(np.diff(first) == size):
        return values[first[0] : first[-1] + size].reshape(-1, size)
    return sliding_window_view(values, size)[first]


def _spread(values: Values, valid: Booleans) -> Values:
    """[valid windows] -> [windows], NaN elsewhere."""
    spread = {name: np.full(len(valid), np.nan) for name in values}
    for name, value in values.items():
        spread[name][valid] = value
    return spread


def _frame(point: str, end: Integers, values: Values) -> pl.DataFrame:
    """What is undefined in the values, NaN or infinite, is null in the frame."""
    event = pl.Series("event_timestamp", end).cast(SCHEMA["timestamp"])
    frame = pl.DataFrame([event, *(pl.Series(f"{point}_{name}", value) for name, value in values.items())])
    return frame.with_columns(pl.when(cs.float().is_finite()).then(cs.float()))


def _last(page: pl.DataFrame) -> int:
    return int(page.select(pl.col("timestamp").to_physical().max()).item())
