"""`penstock apply`, `materialize`, `training-set` and `online`: the plant's features in Feast."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from features import feast_repo
from features import online as online_store
from features import training_set as training_sets
from features.feature_refs import service_refs
from features.labels import read_labels
from features.online import Reading
from historian.console import JsonOption, PlantOption, answer, progress
from historian.errors import UnknownFeature, near_misses
from historian.plant_load import load_plant
from historian.times import parse_instant, utc_now

FeatureOption = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", help="VIEW:NAME, any number of times; all features of the class if left out."),
]


def apply(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Registers the plant's feature views and services in Feast, and removes those it no longer has."""
    checked = load_plant(plant)
    applied = feast_repo.apply(checked)
    record = {
        "project": applied.project,
        "repo": feast_repo.repo_path(checked),
        "views": applied.views,
        "services": applied.services,
        "removed": applied.removed,
    }
    removed = f"; removed {', '.join(applied.removed)}" if applied.removed else ""
    text = f"{applied.project}: registered {', '.join((*applied.views, *applied.services)) or 'nothing'}{removed}"
    answer(record, text, as_json=as_json)


def materialize(
    plant: PlantOption = Path("plant.toml"),
    *,
    end: Annotated[str, typer.Option(help="Rows after this are left out: 2026-03-01T00:00:00Z, now, now-2h.")] = "now",
    as_json: JsonOption = False,
) -> None:
    """Writes the newest features of every asset to the online store."""
    until = parse_instant(end, now=utc_now())
    store = feast_repo.open_feature_store(load_plant(plant))
    views = [view.name for view in store.list_feature_views()]
    with progress("materialize", unit="views", total=len(views), quiet=as_json) as advance:
        absent = online_store.materialize(store, end=until, advance=advance)
    done = [view for view in views if view not in absent]
    missing = f"; no rows yet for {', '.join(absent)}: run penstock compute" if absent else ""
    text = f"online up to {until:%Y-%m-%d %H:%M:%S}Z: {', '.join(done) or 'nothing'}{missing}"
    answer({"views": done, "without_rows": absent, "end": until}, text, as_json=as_json)


def training_set(
    labels: Annotated[Path, typer.Argument(help="CSV or Parquet with asset, event_timestamp and any other columns.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: .parquet, .arrow or .csv.")],
    feature: FeatureOption = None,
    known_then: Annotated[
        bool, typer.Option("--known-then", help="Only what had been computed by each label's time: no corrections.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Joins labels with the features as they were at each label's time: one row a label, in the file's order."""
    training_sets.format_of(out)
    checked = load_plant(plant)
    rows = read_labels(labels, checked.assets)
    store = feast_repo.open_feature_store(checked)
    refs = feature or training_sets.default_refs(store, checked, rows)
    with progress("training set", unit="labels", total=rows.height, quiet=as_json) as advance:
        table = training_sets.training_set(store, rows, refs, known_then=known_then)
        advance(rows.height)
    training_sets.save(table, out)
    rates = training_sets.null_rates(table, refs)
    missing = sum(rates.values()) / len(rates)
    record = {
        "training_rows": table.num_rows,
        "features": list(rates),
        "null_rate": missing,
        "null_rates": rates,
        "known_then": known_then,
        "out": out,
    }
    text = f"{out}: {table.num_rows} rows, {len(rates)} features, {missing:.1%} of their values missing"
    answer(record, text, as_json=as_json)


def online(
    asset: Annotated[str, typer.Argument(help="The asset to look up.")],
    plant: PlantOption = Path("plant.toml"),
    *,
    feature: FeatureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shows an asset's newest features, as a model in service would get them now."""
    checked = load_plant(plant)
    if asset not in checked.assets:
        raise UnknownFeature(f"unknown asset {asset!r}{near_misses(asset, checked.assets)}")
    store = feast_repo.open_feature_store(checked)
    refs = feature or service_refs(store, checked.assets[asset].asset_class)
    now = utc_now()
    found = online_store.readings(store, refs, asset, now=now)
    features = {
        reading.feature: {"value": reading.value, "status": reading.status, "event_timestamp": reading.event_timestamp}
        for reading in found
    }
    answer({"asset": asset, "features": features}, "\n".join(_line(reading, now) for reading in found), as_json=as_json)


def _line(reading: Reading, now: datetime) -> str:
    """`compressor_vibration:de_h_rms_ac    0.4823 g    2.1 s old`"""
    told = reading.value if isinstance(reading.value, str | None) else f"{reading.value:.6g} {reading.unit}".rstrip()
    value = told or "missing"
    if reading.event_timestamp is None:
        return f"{reading.feature:48} {value:>20}"
    seconds = (now - reading.event_timestamp).total_seconds()
    expired = ", expired" if reading.status == "OUTSIDE_MAX_AGE" else ""
    return f"{reading.feature:48} {value:>20}  {seconds:.0f} s old{expired}"
