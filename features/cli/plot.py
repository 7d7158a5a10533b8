"""`penstock plot …`: pictures of signals, features, spectra, envelopes and waterfalls, as PNG, SVG or HTML."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from features.plots.files import write_figure
from features.plots.pictures import (
    SPECTRA,
    Picture,
    envelope_picture,
    feature_picture,
    signal_picture,
    spectrum_picture,
    waterfall_picture,
)
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.cli.options import parse_duration_option
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.times import parse_instant, utc_now

app = typer.Typer(no_args_is_help=True, help="Pictures: signal, feature, spectrum, envelope, waterfall.")
_PLANT: Final = Path("plant.toml")

OutOption = Annotated[Path, typer.Option("--out", help="A .png, .svg or .html file.")]
StartOption = Annotated[str, typer.Option(help="ISO 8601 with zone, or now-1d.")]
EndOption = Annotated[str, typer.Option(help="ISO 8601 with zone, or now.")]
AtOption = Annotated[str, typer.Option(help="The newest waveform before this time.")]
LengthOption = Annotated[str, typer.Option(help="The longest waveform; the longer, the finer the lines.")]
UntilOption = Annotated[float | None, typer.Option("--until", help="The highest frequency shown, in Hz.")]
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
    """Draw the lowest and highest value of tags over time, and their gaps; the store sends no more than that."""
    checked = load_plant(plant)
    pause = parse_duration_option(gap, "--gap")
    picture = signal_picture(checked, open_store(checked), tags, *_range(start, end), gap=pause)
    _write(picture, out, as_json=as_json)


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
    """Draw features of one view over time, a line for each asset."""
    picture = feature_picture(load_plant(plant), refs, *_range(start, end), assets=asset or [])
    _write(picture, out, as_json=as_json)


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
    """Draw the amplitude spectrum of the newest waveform, the shaft's speed and its bearing's fault frequencies."""
    picture = _of_waveform(spectrum_picture, load_plant(plant), tag, at=at, length=length, until=until)
    _write(picture, out, as_json=as_json)


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
    """Draw the squared-envelope spectrum of the newest waveform, with the lines its bearing's faults would have."""
    picture = _of_waveform(envelope_picture, load_plant(plant), tag, at=at, length=length, until=until)
    _write(picture, out, as_json=as_json)


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
    """Draw spectra over time as colours: how a fault grows, and where the shaft and its bearing's faults are."""
    checked, (first, last) = load_plant(plant), _range(start, end)
    store = open_store(checked)
    with progress("reading", unit="spectra", total=SPECTRA, quiet=as_json) as advance:
        picture = waterfall_picture(checked, store, tag, first, last, until=until, advance=advance)
    _write(picture, out, as_json=as_json)


def _of_waveform(
    draw: Callable[..., Picture], plant: Plant, tag: str, *, at: str, length: str, until: float | None
) -> Picture:
    """Draw the newest waveform before a time with one of the functions of `features.plots.pictures`."""
    before = parse_instant(at, now=utc_now())
    longest = parse_duration_option(length, "--length")
    return draw(plant, open_store(plant), tag, before, longest=longest, until=until)


def _range(start: str, end: str) -> tuple[datetime, datetime]:
    now = utc_now()
    first, last = parse_instant(start, now=now), parse_instant(end, now=now)
    if first >= last:
        raise InvalidInput(f"--start {start} is not before --end {end}")
    return first, last


def _write(picture: Picture, out: Path, *, as_json: bool) -> None:
    write_figure(picture.figure, out)
    answer({"file": out, **picture.record}, f"wrote {out}", as_json=as_json)
