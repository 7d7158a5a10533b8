"""`penstock size`: what a plant will need, before it is connected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bridge.run.sizing import CHANNEL_HZ, AssetSize, PlantSize, SourceSize, size_of
from historian.cli.console import JsonOption, PlantOption, answer
from historian.cli.options import parse_duration_option
from historian.plant.load import load_plant


class Bits(Enum):
    """Bits of a sample of vibration, as the device gives it."""

    counts = "16"
    float32 = "32"


def size(
    plant: PlantOption = Path("plant.toml"),
    *,
    duty: Annotated[
        float, typer.Option(min=1e-6, max=1, help="Part of the time in which vibration is measured; 0.01 for bursts.")
    ] = 1.0,
    bits: Annotated[Bits, typer.Option(help="Bits of a sample of vibration, as the device gives it.")] = Bits.float32,
    process_every: Annotated[
        str, typer.Option(help="Time between samples of other tags, where the driver does not determine it.")
    ] = "1s",
    as_json: JsonOption = False,
) -> None:
    """Estimate samples, bytes, spool hours and cores from the plant file. Connects to nothing."""
    every = parse_duration_option(process_every, "--process-every")
    found = size_of(load_plant(plant), duty=duty, bits=int(bits.value), process_every=every)
    answer(_record(found), "\n".join(_lines(found)), as_json=as_json)


def _record(found: PlantSize) -> dict[str, object]:
    return {
        "assets": [_asset(each) for each in found.assets],
        "sources": [_source(each) for each in found.sources],
        "cores": found.cores,
        "costs": asdict(found.costs),
    }


def _asset(size: AssetSize) -> dict[str, object]:
    return {**asdict(size), "gb_per_day": size.gb_per_day, "gb_per_year": size.gb_per_year}


def _source(size: SourceSize) -> dict[str, object]:
    figures = {"spool_bytes_per_s": size.spool_bytes_per_s, "hours_until_full": size.hours_until_full}
    return {"source": size.source, **figures}


def _lines(found: PlantSize) -> Iterator[str]:
    width = max(len("asset"), *(len(each.asset) for each in found.assets))
    yield f"{'asset':{width}}  channels  other tags  samples/s    kB/s   GB/day    GB/year"
    for each in found.assets:
        yield (
            f"{each.asset:{width}}  {each.channels:>8}  {each.tags:>10}  {each.samples_per_s:>9,.0f}  "
            f"{each.store_bytes_per_s / 1e3:>6,.0f}  {each.gb_per_day:>7,.2f}  {each.gb_per_year:>9,.1f}"
        )
    total = sum(each.gb_per_day for each in found.assets)
    yield f"store: {total:,.1f} GB a day, {365 * total:,.0f} GB a year"
    for source in found.sources:
        yield f"spool of {source.source}: full after {source.hours_until_full:,.1f} h without the store"
    carried = found.costs.channels_per_core
    yield f"computing: {found.cores:.2f} cores, if one core carries {carried:g} channels of {CHANNEL_HZ / 1000:g} kHz"
