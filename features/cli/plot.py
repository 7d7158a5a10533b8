"""`penstock plot …`: pictures of signals, features, spectra, envelopes and waterfalls, as PNG, SVG or HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from html import escape
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import polars as pl
import typer

from features.define.catalogue import view_columns
from features.define.spec import Floats
from features.kernels.diagnosis import LINES, Diagnosis
from features.kernels.spectrum import spectra
from features.kernels.vibration import Waveforms
from features.plots.figures import Mark, signal_figure, spectrum_figure, trend_figure, waterfall_figure
from features.plots.marks import FAULTS, Turning, turning
from features.plots.snapshots import Snapshot, newest_snapshot, snapshot
from features.tables.feature_table import FeatureTable
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import InvalidInput, UnknownFeature, near_misses
from historian.plant.connections import Tag
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.times import parse_duration, parse_instant, utc_now

if TYPE_CHECKING:
    from matplotlib.figure import Figure

app = typer.Typer(no_args_is_help=True, help="Pictures: signal, feature, spectrum, envelope, waterfall.")
_PIXELS: Final = 1_500
_SPECTRA: Final = 60
"""Of a waterfall."""
_LEAST_LINES: Final = 50
"""Of an envelope, however slowly the shaft turns."""
_WATERFALL_LENGTH: Final = timedelta(milliseconds=200)
_VELOCITY: Final = "vel_rms_10_1000"
_PLANT: Final = Path("plant.toml")

OutOption = Annotated[Path, typer.Option("--out", help="A .png, .svg or .html file.")]
StartOption = Annotated[str, typer.Option(help="ISO 8601 with zone, or now-1d.")]
EndOption = Annotated[str, typer.Option(help="ISO 8601 with zone, or now.")]
AtOption = Annotated[str, typer.Option(help="The newest waveform before this time.")]
LengthOption = Annotated[str, typer.Option(help="At most so long a waveform; the longer, the finer the lines.")]
UntilOption = Annotated[float | None, typer.Option("--until", help="Hz to show up to.")]
TagArgument = Annotated[str, typer.Argument(help="A tag of the plant.")]


@app.command()
def signal(
    tags: Annotated[list[str], typer.Argument(help="Tags of the plant, one panel each.")],
    plant: PlantOption = _PLANT,
    *,
    start: StartOption = "now-1d",
    end: EndOption = "now",
    gap: Annotated[str, typer.Option(help="Longer pauses are grey.")] = "10m",
    out: OutOption = Path("signal.png"),
    as_json: JsonOption = False,
) -> None:
    """Draws the lowest and highest value of tags over time, and their gaps; the store sends no more than that."""
    checked, now = load_plant(plant), utc_now()
    first, last = _range(start, end, now)
    units = {tag.name: tag.unit for tag in (_tag(checked, name) for name in tags)}
    store = open_store(checked)
    every = max((last - first) // _PIXELS, timedelta(microseconds=1))
    extremes = store.extremes(tags, first, last, every=every)
    gaps = store.gaps(tags, first, last, longer_than=_duration(gap, "--gap"))
    figure = signal_figure(extremes, gaps, units, title=f"{', '.join(tags)}, {first:%Y-%m-%d %H:%M} on")
    _write(figure, out, {"points": extremes.height, "gaps": gaps.height}, as_json=as_json)


@app.command()
def feature(
    refs: Annotated[list[str], typer.Argument(help="VIEW:COLUMN, such as compressor_vibration:de_h_rms_ac.")],
    plant: PlantOption = _PLANT,
    *,
    asset: Annotated[list[str] | None, typer.Option("--asset", help="Only this asset; may be repeated.")] = None,
    start: StartOption = "now-30d",
    end: EndOption = "now",
    out: OutOption = Path("feature.png"),
    as_json: JsonOption = False,
) -> None:
    """Draws features of one view over time, a line an asset."""
    checked, now = load_plant(plant), utc_now()
    view_name, columns = _columns(checked, refs)
    within = pl.col("event_timestamp").is_between(*_range(start, end, now))
    table = FeatureTable(checked, checked.views[view_name])
    rows = table.scan().filter(within, pl.col("asset").is_in(asset) if asset else True)
    newest = rows.sort("created_timestamp").unique(["asset", "event_timestamp"], keep="last").collect()
    points = checked.classes[checked.views[view_name].asset_class].points
    limits = {f"{name}_{_VELOCITY}": point.zones for name, point in points.items() if point.zones}
    figure = trend_figure(newest, columns, title=view_name, zones=limits)
    _write(figure, out, {"points": newest.height}, as_json=as_json)


@app.command()
def spectrum(
    tag: TagArgument,
    plant: PlantOption = _PLANT,
    *,
    at: AtOption = "now",
    length: LengthOption = "1s",
    until: UntilOption = None,
    out: OutOption = Path("spectrum.png"),
    as_json: JsonOption = False,
) -> None:
    """Draws the amplitude spectrum of the newest waveform, the shaft's speed and its bearing's fault frequencies."""
    checked = load_plant(plant)
    found, known = _looked_at(checked, tag, at, length)
    frequencies, lines = _lines(found, _tag(checked, tag).unit)
    title = _title(f"{tag}: spectrum", found, known)
    unit = f"{_tag(checked, tag).unit} peak"
    figure = spectrum_figure(
        frequencies, lines, title=title, unit=unit, marks=known.marks, until=until or found.sample_rate / 2
    )
    _write(figure, out, {"samples": len(found.values), **_told(known)}, as_json=as_json)


@app.command()
def envelope(
    tag: TagArgument,
    plant: PlantOption = _PLANT,
    *,
    at: AtOption = "now",
    length: LengthOption = "1s",
    until: UntilOption = None,
    out: OutOption = Path("envelope.png"),
    as_json: JsonOption = False,
) -> None:
    """Draws the squared-envelope spectrum of the newest waveform, with the lines its bearing's faults would have."""
    checked = load_plant(plant)
    found, known = _looked_at(checked, tag, at, length)
    diagnosis = _diagnosis(found, known, _tag(checked, tag).unit)
    lines, resolution = diagnosis.envelopes.lines[0], diagnosis.envelopes.resolution
    if len(lines) < 3:
        raise InvalidInput(f"{tag} has no band for an envelope: {found.sample_rate:g} Hz is too low a sample rate")
    frequencies = np.arange(len(lines), dtype=np.float64) * resolution
    marks = [replace(mark, remark=_height(diagnosis, mark)) for mark in known.marks]
    highest = max((4 * mark.frequency for mark in marks), default=500.0)
    until = until or min(max(highest, _LEAST_LINES * resolution), float(frequencies[-1]))
    shown = lines * (frequencies >= resolution * 2)  # what is at DC is the mean
    title, unit = _title(f"{tag}: squared envelope", found, known), f"{_tag(checked, tag).unit}² peak"
    figure = spectrum_figure(frequencies, shown, title=title, unit=unit, marks=marks, until=until)
    _write(figure, out, {"samples": len(found.values), **_told(known)}, as_json=as_json)


@app.command()
def waterfall(
    tag: TagArgument,
    plant: PlantOption = _PLANT,
    *,
    start: StartOption = "now-1d",
    end: EndOption = "now",
    until: UntilOption = None,
    out: OutOption = Path("waterfall.png"),
    as_json: JsonOption = False,
) -> None:
    """Draws spectra over time as colours: how a fault grows, and where the shaft and its bearing's faults are."""
    checked, now = load_plant(plant), utc_now()
    first, last = _range(start, end, now)
    step, snapshots = (last - first) / _SPECTRA, []
    with progress("reading", unit="spectra", total=_SPECTRA, quiet=as_json) as advance:
        for number in range(_SPECTRA):
            snapshots.append(_newest_of(checked, tag, first + (number + 1) * step, step))
            advance(1)
    found = _of_one_length([each for each in snapshots if each])
    if len(found) < 2:
        raise InvalidInput(f"{tag} has fewer than two waveforms of one length from {start} to {end}")
    lines = [_lines(each, _tag(checked, tag).unit) for each in found]
    frequencies = lines[0][0]
    shown = frequencies <= (until or found[0].sample_rate / 2)
    spectra_shown = np.stack([each for _, each in lines])[:, shown]
    instants = [each.start for each in found]
    unit = _tag(checked, tag).unit
    known = [turning(open_store(checked), checked, _tag(checked, tag), each) for each in found]
    lacks = _unmarked(known)
    title = "\n".join([f"{tag}: spectra", *(f"{why} ({count} of {len(found)})" for why, count in lacks.items())])
    marks = [each.marks for each in known]
    figure = waterfall_figure(instants, frequencies[shown], spectra_shown, title=title, unit=unit, marks=marks)
    _write(figure, out, {"spectra": len(found), "unmarked": dict(lacks)}, as_json=as_json)


def _newest_of(plant: Plant, tag: str, end: datetime, step: timedelta) -> Snapshot | None:
    """The newest waveform of the step before `end`; of a long step only the last minute is looked through."""
    start = end - min(step, timedelta(minutes=1))
    return snapshot(open_store(plant), _tag(plant, tag), start, end, longest=_WATERFALL_LENGTH)


def _of_one_length(found: list[Snapshot]) -> list[Snapshot]:
    """Those that are as long as most: spectra of other lengths have other lines."""
    lengths = [len(each.values) for each in found]
    usual = max(set(lengths), key=lengths.count, default=0)
    return [each for each in found if len(each.values) == usual]


def _lines(found: Snapshot, unit: str) -> tuple[Floats, Floats]:
    """Frequencies in Hz, and peak amplitudes of a Hann-windowed spectrum."""
    power = spectra(Waveforms(found.values[None, :], found.sample_rate, unit))
    # From energy-corrected power to the amplitude of a line: Hann spreads its energy over 1.5 lines.
    return power.frequencies, np.sqrt(2 * power.lines[0] / 1.5)


def _range(start: str, end: str, now: datetime) -> tuple[datetime, datetime]:
    first, last = parse_instant(start, now=now), parse_instant(end, now=now)
    if first >= last:
        raise InvalidInput(f"--start {start} is not before --end {end}")
    return first, last


def _duration(text: str, option: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"{option}: {error}") from None


def _looked_at(plant: Plant, name: str, at: str, length: str) -> tuple[Snapshot, Turning]:
    """The waveform, and what is known of the machine in it."""
    tag, before, store = _tag(plant, name), parse_instant(at, now=utc_now()), open_store(plant)
    found = newest_snapshot(store, tag, before, longest=_duration(length, "--length"))
    return found, turning(store, plant, tag, found)


def _title(what: str, found: Snapshot, known: Turning) -> str:
    """With a second line for what is not marked."""
    stretch = f"{len(found.values):,} samples from {found.start:%Y-%m-%d %H:%M:%S} UTC"
    return f"{what} of {stretch}\n{known.lacks}".rstrip()


def _unmarked(known: Sequence[Turning]) -> Counter[str]:
    """Why waveforms have not all their marks, and how many."""
    return Counter(each.lacks for each in known if each.lacks)


def _told(known: Turning) -> dict[str, object]:
    """For machines."""
    shaft = None if np.isnan(known.shaft) else known.shaft
    marks = {mark.name: mark.frequency for mark in known.marks}
    return {"shaft_hz": shaft, "marks_hz": marks, "unmarked": dict(_unmarked([known]))}


def _diagnosis(found: Snapshot, known: Turning, unit: str) -> Diagnosis:
    """Of the waveform as one window."""
    waveforms = Waveforms(found.values[None, :], found.sample_rate, unit)
    return Diagnosis(waveforms, spectra(waveforms), np.array([known.shaft]), known.bearing)


def _height(diagnosis: Diagnosis, mark: Mark) -> str:
    """How far a fault's line stands above its floor, where that is defined."""
    heights = {FAULTS[name]: diagnosis.lines.snr[0, place] for place, name in enumerate(LINES)}
    height = heights.get(mark.name, np.nan)
    return "" if np.isnan(height) else f", {height:.1f} floors high"


def _tag(plant: Plant, name: str) -> Tag:
    if name not in plant.tags:
        raise InvalidInput(f"there is no tag {name!r}{near_misses(name, plant.tags)}")
    return plant.tags[name]


def _columns(plant: Plant, refs: list[str]) -> tuple[str, dict[str, str]]:
    """The one view the references name, and the unit of each column."""
    names = {ref.partition(":")[0] for ref in refs}
    known = {
        f"{view.name}:{column.name}": column.unit
        for view in plant.views.values()
        for column in view_columns(plant, view)
    }
    unknown = [f"unknown feature {ref!r}{near_misses(ref, known)}" for ref in refs if ref not in known]
    if unknown:
        raise UnknownFeature("\n".join(unknown))
    if len(names) > 1:
        raise InvalidInput(f"one picture shows one view, not {', '.join(sorted(names))}")
    return names.pop(), {ref.partition(":")[2]: known[ref] for ref in refs}


def _write(figure: Figure, out: Path, told: dict[str, object], *, as_json: bool) -> None:
    """As what the file's name says it is."""
    suffix = out.suffix.lower()
    if suffix not in (".png", ".svg", ".html"):
        raise InvalidInput(f"{out} is neither .png, .svg nor .html")
    try:
        if suffix == ".html":
            out.write_text(_page(figure, out.stem), encoding="utf-8")
        else:
            figure.savefig(out, dpi=110)
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error}") from None
    answer({"file": out, **told}, f"wrote {out}", as_json=as_json)


def _page(figure: Figure, title: str) -> str:
    """One file that needs nothing else."""
    drawn = StringIO()
    figure.savefig(drawn, format="svg")
    svg = drawn.getvalue()
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    return f"{head}<body>{svg[svg.index('<svg') :]}</body></html>"
