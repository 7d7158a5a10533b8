"""The pictures of `penstock plot`: from stores and feature tables to a figure and a record of what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from features.define.spec import Floats
from features.define.view_plan import view_plan
from features.kernels.diagnosis import LINES, Diagnosis
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms
from features.plots.figures import Mark, signal_figure, spectrum_figure, trend_figure, waterfall_figure
from features.plots.marks import FAULTS, Turning, turning
from features.plots.snapshots import Snapshot, newest_snapshot, snapshot
from features.tables.feature_table import FeatureTable
from historian.errors import InvalidInput, UnknownFeature, near_misses
from historian.plant.connections import Tag
from historian.plant.plant import Plant
from historian.stores.protocols import Store

_PIXELS: Final = 1_500
SPECTRA: Final = 60
"""Spectra of a waterfall."""
_LEAST_LINES: Final = 50
"""Lines of an envelope that are shown, however slowly the shaft turns."""
_WATERFALL_LENGTH: Final = timedelta(milliseconds=200)
_VELOCITY: Final = "vel_rms_10_1000"


@dataclass(frozen=True)
class Picture:
    """A figure, and what it shows."""

    figure: Figure
    record: dict[str, object]


def signal_picture(
    plant: Plant, store: Store, tags: Sequence[str], start: datetime, end: datetime, *, gap: timedelta
) -> Picture:
    """Draw the lowest and highest values of tags over time; pauses longer than `gap` are grey.

    Raises:
        InvalidInput: a tag is unknown.
        StoreUnavailable: the store cannot be read.
    """
    units = {tag.name: tag.unit for tag in (_tag(plant, name) for name in tags)}
    every = max((end - start) // _PIXELS, timedelta(microseconds=1))
    extremes = store.extremes(tags, start, end, every=every)
    gaps = store.gaps(tags, start, end, longer_than=gap)
    figure = signal_figure(extremes, gaps, units, title=f"{', '.join(tags)}, {start:%Y-%m-%d %H:%M} on")
    return Picture(figure, {"points": extremes.height, "gaps": gaps.height})


def feature_picture(
    plant: Plant, refs: Sequence[str], start: datetime, end: datetime, *, assets: Sequence[str] = ()
) -> Picture:
    """Draw features of one view over time, a line for each asset.

    Args:
        plant: the plant.
        refs: VIEW:COLUMN, all of one view.
        start: the first event timestamp.
        end: the last event timestamp.
        assets: only these; all if empty.

    Raises:
        UnknownFeature: a column is unknown.
        InvalidInput: the columns are of several views.
    """
    view_name, columns = _columns(plant, refs)
    within = pl.col("event_timestamp").is_between(start, end)
    table = FeatureTable(plant, plant.views[view_name])
    rows = table.scan().filter(within, pl.col("asset").is_in(assets) if assets else True)
    newest = rows.sort("created_timestamp").unique(["asset", "event_timestamp"], keep="last").collect()
    limits = {f"{each.name}_{_VELOCITY}": each.point.zones for each in table.plan.points if each.point.zones}
    return Picture(trend_figure(newest, columns, title=view_name, zones=limits), {"points": newest.height})


def spectrum_picture(
    plant: Plant, store: Store, tag_name: str, before: datetime, *, longest: timedelta, until: float | None
) -> Picture:
    """Draw the amplitude spectrum of the newest waveform, with shaft and bearing fault frequencies.

    Args:
        plant: the plant.
        store: where the samples are.
        tag_name: a vibration tag.
        before: the newest waveform before this time is drawn.
        longest: at most so much of it.
        until: the highest frequency shown, in Hz; half the sample rate if None.

    Raises:
        InvalidInput: the tag is unknown, no waveform, or has no samples in the day before.
    """
    tag = _tag(plant, tag_name)
    found = newest_snapshot(store, tag, before, longest=longest)
    known = turning(store, plant, tag, found)
    frequencies, lines = _lines(found, tag.unit)
    figure = spectrum_figure(
        frequencies,
        lines,
        title=_title(f"{tag.name}: spectrum", found, known),
        unit=f"{tag.unit} peak",
        marks=known.marks,
        until=until or found.sample_rate / 2,
    )
    return Picture(figure, {"samples": len(found.values), **_marked(known)})


def envelope_picture(
    plant: Plant, store: Store, tag_name: str, before: datetime, *, longest: timedelta, until: float | None
) -> Picture:
    """Draw the squared-envelope spectrum of the newest waveform, with the lines of bearing faults.

    Arguments and errors are those of `spectrum_picture`; `until` is chosen to show the faults if None.

    Raises:
        InvalidInput: also if the sample rate is too low for an envelope.
    """
    tag = _tag(plant, tag_name)
    found = newest_snapshot(store, tag, before, longest=longest)
    known = turning(store, plant, tag, found)
    diagnosis = _diagnosis(found, known, tag.unit)
    lines, resolution = diagnosis.envelopes.lines[0], diagnosis.envelopes.resolution
    if len(lines) < 3:
        raise InvalidInput(f"{tag.name} has no band for an envelope: {found.sample_rate:g} Hz is too low a sample rate")
    frequencies = np.arange(len(lines), dtype=np.float64) * resolution
    marks = [replace(mark, remark=_height(diagnosis, mark)) for mark in known.marks]
    highest = max((4 * mark.frequency for mark in marks), default=500.0)
    until = until or min(max(highest, _LEAST_LINES * resolution), float(frequencies[-1]))
    shown = lines * (frequencies >= resolution * 2)  # what is at DC is the mean
    title, unit = _title(f"{tag.name}: squared envelope", found, known), f"{tag.unit}² peak"
    figure = spectrum_figure(frequencies, shown, title=title, unit=unit, marks=marks, until=until)
    return Picture(figure, {"samples": len(found.values), **_marked(known)})


def waterfall_picture(
    plant: Plant,
    store: Store,
    tag_name: str,
    start: datetime,
    end: datetime,
    *,
    until: float | None,
    advance: Callable[[int], None],
) -> Picture:
    """Draw spectra over time as colours, with the courses of shaft and bearing fault frequencies.

    Args:
        plant: the plant.
        store: where the samples are.
        tag_name: a vibration tag.
        start: the beginning of the range.
        end: its end.
        until: the highest frequency shown, in Hz; half the sample rate if None.
        advance: called with 1 for each of the `SPECTRA` waveforms looked for.

    Raises:
        InvalidInput: the tag is unknown or no waveform, or the range has fewer than two waveforms of one length.
    """
    tag, found = _tag(plant, tag_name), []
    for end_of_step in [start + (number + 1) * (end - start) / SPECTRA for number in range(SPECTRA)]:
        found.append(_newest_of(store, tag, end_of_step, (end - start) / SPECTRA))
        advance(1)
    shown = _of_one_length([each for each in found if each])
    if len(shown) < 2:
        raise InvalidInput(
            f"{tag.name} has fewer than two waveforms of one length from {start:%Y-%m-%d %H:%M:%S} UTC "
            f"to {end:%Y-%m-%d %H:%M:%S} UTC"
        )
    return _waterfall(tag, shown, [turning(store, plant, tag, each) for each in shown], until)


def _waterfall(tag: Tag, found: Sequence[Snapshot], known: Sequence[Turning], until: float | None) -> Picture:
    lines = [_lines(each, tag.unit) for each in found]
    frequencies = lines[0][0]
    shown = frequencies <= (until or found[0].sample_rate / 2)
    lacks = _unmarked(known)
    figure = waterfall_figure(
        [each.start for each in found],
        frequencies[shown],
        np.stack([each for _, each in lines])[:, shown],
        title="\n".join([f"{tag.name}: spectra", *(f"{why} ({n} of {len(found)})" for why, n in lacks.items())]),
        unit=tag.unit,
        marks=[each.marks for each in known],
    )
    return Picture(figure, {"spectra": len(found), "unmarked": dict(lacks)})


def _newest_of(store: Store, tag: Tag, end: datetime, step: timedelta) -> Snapshot | None:
    """Return the newest waveform of the step before `end`; of a long step only the last minute is searched."""
    return snapshot(store, tag, end - min(step, timedelta(minutes=1)), end, longest=_WATERFALL_LENGTH)


def _of_one_length(found: Sequence[Snapshot]) -> list[Snapshot]:
    """Return those that are as long as most: spectra of other lengths have other lines."""
    lengths = [len(each.values) for each in found]
    usual = max(set(lengths), key=lengths.count, default=0)
    return [each for each in found if len(each.values) == usual]


def _lines(found: Snapshot, unit: str) -> tuple[Floats, Floats]:
    """Return frequencies in Hz, and peak amplitudes of a Hann-windowed spectrum."""
    power = spectra(Waveforms(found.values[None, :], found.sample_rate, unit))
    # From energy-corrected power to the amplitude of a line: Hann spreads its energy over 1.5 lines.
    return power.frequencies, np.sqrt(2 * power.lines[0] / 1.5)


def _title(what: str, found: Snapshot, known: Turning) -> str:
    """Return a title with a second line for what is not marked."""
    stretch = f"{len(found.values):,} samples from {found.start:%Y-%m-%d %H:%M:%S} UTC"
    return f"{what} of {stretch}\n{known.lacks}".rstrip()


def _unmarked(known: Sequence[Turning]) -> Counter[str]:
    """Count why waveforms lack marks."""
    return Counter(each.lacks for each in known if each.lacks)


def _marked(known: Turning) -> dict[str, object]:
    """Return the marks, for machines."""
    shaft = None if np.isnan(known.shaft) else known.shaft
    marks = {mark.name: mark.frequency for mark in known.marks}
    return {"shaft_hz": shaft, "marks_hz": marks, "unmarked": dict(_unmarked([known]))}


def _diagnosis(found: Snapshot, known: Turning, unit: str) -> Diagnosis:
    """Return the diagnosis of the waveform as one window."""
    waveforms = Waveforms(found.values[None, :], found.sample_rate, unit)
    return Diagnosis(waveforms, spectra(waveforms), np.array([known.shaft]), known.bearing)


def _height(diagnosis: Diagnosis, mark: Mark) -> str:
    """Return how far a fault's line stands above its floor, in words; empty where that is undefined."""
    heights = {FAULTS[name]: diagnosis.lines.snr[0, place] for place, name in enumerate(LINES)}
    height = heights.get(mark.name, np.nan)
    return "" if np.isnan(height) else f", {height:.1f} floors high"


def _tag(plant: Plant, name: str) -> Tag:
    if name not in plant.tags:
        raise InvalidInput(f"there is no tag {name!r}{near_misses(name, plant.tags)}")
    return plant.tags[name]


def _columns(plant: Plant, refs: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the one view the references name, and the unit of each column."""
    names = {ref.partition(":")[0] for ref in refs}
    known = {
        f"{view.name}:{column.name}": column.unit
        for view in plant.views.values()
        for column in view_plan(plant, view).columns
    }
    unknown = [f"unknown feature {ref!r}{near_misses(ref, known)}" for ref in refs if ref not in known]
    if unknown:
        raise UnknownFeature("\n".join(unknown))
    if len(names) > 1:
        raise InvalidInput(f"one picture shows one view, not {', '.join(sorted(names))}")
    return names.pop(), {ref.partition(":")[2]: known[ref] for ref in refs}
