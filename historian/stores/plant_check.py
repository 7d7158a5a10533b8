"""Checks a plant file, its tag lists and the settings of its store without connecting, for `penstock check`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from historian.errors import ConfigError, Problem
from historian.plant.document import read_toml
from historian.plant.fact_notes import fact_notes
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.influx.address import clean_secret, parse_address
from historian.stores.urls import is_influx, lake_path


@dataclass(frozen=True)
class PlantSummary:
    """The contents of a valid plant file, in numbers."""

    site: str
    assets: int
    tags: int
    kinds: Mapping[str, int]
    """Number of tags of each kind."""
    sources: Sequence[str]
    archives: Sequence[str]
    views: Sequence[str]
    notes: Sequence[str]
    """Remarks on dated facts, see `historian.plant.fact_notes`."""


def check_plant(path: Path) -> PlantSummary:
    """Check a plant file and everything it refers to.

    Args:
        path: the plant file, or its directory.

    Raises:
        ConfigError: with every problem found, each with file and row.
    """
    plant = load_plant(path, every_variable=True)
    problems = list(_store_problems(plant, path / "plant.toml" if path.is_dir() else path))
    if problems:
        raise ConfigError(problems)
    return PlantSummary(
        site=plant.site,
        assets=len(plant.assets),
        tags=len(plant.tags),
        kinds=dict(Counter(tag.kind for tag in plant.tags.values())),
        sources=sorted(plant.sources),
        archives=sorted(plant.archives),
        views=sorted(plant.views),
        notes=fact_notes(plant),
    )


def _store_problems(plant: Plant, file: Path) -> Iterator[Problem]:
    """Yield the problems of the store's settings that can be found without connecting to it."""
    try:
        if not is_influx(plant.store_url):
            lake_path(plant)
            return
        address = parse_address(plant.store_url)
        token = clean_secret(plant.store_token, address)
    except ConfigError as error:
        yield from (_placed(problem.text, file) for problem in error.problems)
        return
    if address.org and not token:
        yield _placed(
            'historian.url is an InfluxDB 2.x, which answers no request without a token: write token = "${NAME}" under '
            "[historian], or set the variable PENSTOCK_HISTORIAN_TOKEN",
            file,
        )


def _placed(text: str, file: Path) -> Problem:
    if "PENSTOCK_HISTORIAN" in os.environ:
        return Problem("PENSTOCK_HISTORIAN", "", text)
    return read_toml(file).problem(text, "historian", "url")
