"""`penstock diagnose`: what an analyst would say of an asset's bearings, why, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from features.analysis.diagnose import PointDiagnosis, diagnose_asset
from features.plots.diagnosis import EnvelopePanel, diagnosis_figure
from features.plots.files import write_figure
from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import parse_instant, utc_now


def diagnose(
    asset: Annotated[str, typer.Argument(help="An asset of the plant.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    at: Annotated[
        str, typer.Option(help="Use the newest waveforms before this time: ISO 8601 with zone, or now.")
    ] = "now",
    point: Annotated[
        list[str] | None, typer.Option("--point", help="Only this vibration point; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Draw the evidence: a .png, .svg or .html file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which part of a bearing is damaged, if any, from the newest ten seconds of each vibration point.

    Prints why, what speaks against it, and what would make the verdict surer.
    """
    checked = load_plant(plant)
    before = parse_instant(at, now=utc_now())
    found = diagnose_asset(checked, open_store(checked), asset, before, points=point or ())
    if out:
        write_figure(diagnosis_figure([_panel(each) for each in found], title=f"{asset}: squared envelope"), out)
    record = {"asset": asset, "points": [each.record for each in found], "file": out}
    text = "\n\n".join("\n".join(_lines(asset, each)) for each in found)
    answer(record, f"{text}\n\nwrote {out}" if out else text, as_json=as_json)


def _lines(asset: str, each: PointDiagnosis) -> Iterator[str]:
    said = each.finding
    yield f"{asset} {each.point}: {said.headline}"
    yield f"  why      {said.why}"
    yield from (f"  against  {text}" for text in said.against)
    yield from (f"  surer by {text}" for text in said.surer)
    if each.first and each.last:
        speed = "speed unknown" if each.rpm is None else f"{each.rpm:,.0f} rpm"
        when = f"{each.first:%Y-%m-%d %H:%M:%S} to {each.last:%H:%M:%S} UTC"
        count = f"{each.windows} window{'s' * (each.windows > 1)}"
        yield f"  seen     {count} of {each.seconds:g} s of {each.tag}, {when}, {speed}"
        yield f"  level    {', '.join(f'{name} {value:.3g}' for name, value in each.levels.items())}"
    if each.zone:
        yield f"  zone     {each.zone}"


def _panel(each: PointDiagnosis) -> EnvelopePanel:
    marks = each.known.marks if each.known else []
    resolution = 1 / each.seconds if each.seconds else 1.0
    return EnvelopePanel(f"{each.point}: {each.finding.headline}", each.envelope, resolution, each.unit, marks)
