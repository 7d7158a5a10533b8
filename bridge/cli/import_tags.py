"""`penstock import-tags`: what a historian knows about its tags, proposed as tag list, assets, events and metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from bridge.run.tag_import.importing import Imported, import_catalogue, visible
from bridge.run.tag_import.naming import parse_rule
from bridge.run.tag_import.visibility import NO_ASSET, Visibility
from historian.cli.console import JsonOption, PlantOption, answer
from historian.errors import ConfigError, StoreError
from historian.logs import configure_logging
from historian.plant.load import load_connection, load_plant
from historian.stores.open import open_store
from historian.times import parse_instant, utc_now

_SHOWN: Final = 20
"""Most lines of what could not be carried on the screen; the file has all of them."""


def import_tags(
    archive: Annotated[str, typer.Argument(help="The archive; its tag list need not exist yet.")],
    rule: Annotated[
        str,
        typer.Option(
            help="Regular expression with the groups asset and point, and perhaps class, for the path of a tag or else "
            "its address: '(?P<asset>[^/]+)/(?P<point>[^/]+)$'."
        ),
    ],
    plant: PlantOption = Path("plant.toml"),
    *,
    catalogue: Annotated[
        Path | None, typer.Option(help="Take the tags from this CSV file, as browse --csv writes it.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the proposal to this directory; only print it if absent.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="Leave out events before this time.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Propose tag list, assets, events table and metadata from what an archive knows; plant.toml is not changed.

    Shows for each asset how many of its tags are catalogued, mapped by a tag list, and delivering samples.
    """
    configure_logging()
    connection, first = (
        load_connection(plant, "archives", archive),
        parse_instant(start, now=utc_now()) if start else None,
    )
    found = asyncio.run(import_catalogue(connection, parse_rule(rule), catalogue=catalogue, start=first))
    seen, problem = _visible(found, plant, archive)
    if write is not None:
        found.write(write)
    record = {
        "tags": len(found.proposal.tags),
        "assets": sorted(found.proposal.assets),
        "events": found.events.height,
        "visibility": {asset: asdict(each) for asset, each in seen.items()},
        "not_carried": [each._asdict() for each in found.not_carried],
        "visibility_problem": problem,
        "written": write,
    }
    answer(record, "\n".join(_lines(found, seen, problem, write)), as_json=as_json)


def _visible(found: Imported, plant: Path, archive: str) -> tuple[Mapping[str, Visibility], str]:
    """Return how much is seen of each asset, and why that is not known; before there is a tag list it is nothing."""
    try:
        loaded = load_plant(plant)
        return visible(found, loaded, archive, open_store(loaded)), ""
    except (ConfigError, StoreError) as error:
        return {}, str(error).splitlines()[0]


def _lines(found: Imported, seen: Mapping[str, Visibility], problem: str, write: Path | None) -> Iterator[str]:
    tags, assets = len(found.proposal.tags), len(found.proposal.assets)
    yield f"{found.catalogue.height:,} tags catalogued"
    yield f"proposed: {tags:,} tags of {assets:,} assets, {found.events.height:,} events"
    for asset, each in seen.items():
        share = 100 * each.delivering // each.catalogued
        name = "without an asset" if asset == NO_ASSET else asset
        counts = f"{each.catalogued} catalogued, {each.mapped} mapped, {each.delivering} delivering"
        yield f"  {name}: {counts}, {share} % visible"
    if problem:
        yield f"  what is mapped and delivering is not known yet: {problem}"
    if found.not_carried:
        yield f"not carried: {len(found.not_carried):,}"
    yield from (f"  {' '.join(each[:2]).strip()}: {each.why}" for each in found.not_carried[:_SHOWN])
    if len(found.not_carried) > _SHOWN:
        yield f"  and {len(found.not_carried) - _SHOWN:,} more; --write lists all of them in not-carried.csv"
    yield f"written to {write}: {', '.join(found.files())}" if write else "nothing was written; --write DIRECTORY does"
