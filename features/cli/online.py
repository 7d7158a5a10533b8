"""`penstock online`: an asset's newest features, as a model in service gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from feast import FeatureStore

from features.cli.options import FeatureOption
from features.feast.feature_refs import service_refs
from features.feast.online import lookup as online_store
from features.feast.online.lookup import Age, Reading
from features.feast.registry.feast_repo import open_feature_store
from features.training.model_input import ModelInput, model_input, read_signature
from historian.cli.console import JsonOption, PlantOption, answer
from historian.errors import InvalidInput, UnknownFeature, near_misses
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.times import utc_now

ManifestOption = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        help="A training set (its directory, manifest, or a Parquet or Arrow file): its columns in its order, as a "
        "model trained with it takes them.",
    ),
]


def online(
    asset: Annotated[str | None, typer.Argument(help="The asset to look up; the age of all if left out.")] = None,
    plant: PlantOption = Path("plant.toml"),
    *,
    feature: FeatureOption = None,
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an asset's newest features, as a model in service would get them now, and how old they are.

    Old means how long ago the window ended, not how long ago it was materialised.
    """
    checked, now = load_plant(plant), utc_now()
    _check(checked, asset, feature, manifest)
    store = open_feature_store(checked)
    if asset is None:
        _answer_ages(online_store.ages(store, sorted(checked.assets), now=now), now, as_json=as_json)
    elif manifest:
        found = model_input(store, read_signature(manifest), [asset], now=now)
        answer(_vector_record(found), _vector_text(found), as_json=as_json)
    else:
        refs = feature or service_refs(store, checked.assets[asset].asset_class)
        _answer_features(store, refs, asset, now, as_json=as_json)


def _check(plant: Plant, asset: str | None, feature: list[str] | None, manifest: Path | None) -> None:
    if asset is not None and asset not in plant.assets:
        raise UnknownFeature(f"unknown asset {asset!r}{near_misses(asset, plant.assets)}")
    if manifest and asset is None:
        raise InvalidInput("--manifest shows the columns of one asset; name it: penstock online ASSET --manifest …")
    if manifest and feature:
        raise InvalidInput("--manifest names the features; leave out --feature")


def _vector_record(found: ModelInput) -> dict[str, Any]:
    """The columns in order, once as a list for a model, and once with names and statuses."""
    columns, statuses = found.frame.row(0), found.status.row(0)
    return {
        "asset": found.assets[0],
        "columns": found.frame.columns,
        "values": list(columns),
        "missing": {
            name: status for name, status in zip(found.frame.columns, statuses, strict=True) if status != "PRESENT"
        },
    }


def _vector_text(found: ModelInput) -> str:
    rows = zip(found.frame.columns, found.frame.row(0), found.status.row(0), strict=True)
    return "\n".join(f"{name:64} {_cell(value, status)}" for name, value, status in rows)


def _cell(value: object, status: str) -> str:
    if value is None:
        return f"missing ({status})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _answer_features(store: FeatureStore, refs: Sequence[str], asset: str, now: datetime, *, as_json: bool) -> None:
    found = online_store.readings(store, refs, asset, now=now)
    features = {
        reading.feature: {
            "value": reading.value,
            "status": reading.status,
            "event_timestamp": reading.event_timestamp,
            "age_s": _seconds(reading.event_timestamp, now),
        }
        for reading in found
    }
    answer({"asset": asset, "features": features}, "\n".join(_line(reading, now) for reading in found), as_json=as_json)


def _answer_ages(ages: Sequence[Age], now: datetime, *, as_json: bool) -> None:
    record = [{**asdict(age), "age_s": _seconds(age.event_timestamp, now)} for age in ages]
    lines = [
        f"{each['asset']:24} {each['view']:32} {each['age_s']:>12.0f} s old{', expired' if each['expired'] else ''}"
        for each in record
    ]
    answer({"ages": record}, "\n".join(lines) or "nothing is online; run penstock materialize", as_json=as_json)


def _seconds(event: datetime | None, now: datetime) -> float | None:
    return (now - event).total_seconds() if event else None


def _line(reading: Reading, now: datetime) -> str:
    """`compressor_vibration:de_h_rms_ac    0.4823 g    2.1 s old`"""
    text = reading.value if isinstance(reading.value, str | None) else f"{reading.value:.6g} {reading.unit}".rstrip()
    value = text or "missing"
    if reading.event_timestamp is None:
        return f"{reading.feature:48} {value:>20}"
    expired = ", expired" if reading.status == "OUTSIDE_MAX_AGE" else ""
    return f"{reading.feature:48} {value:>20}  {_seconds(reading.event_timestamp, now):.0f} s old{expired}"
