"""`penstock apply`, `materialize` and `online`: the plant's features in Feast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from features.cli.options import FeatureOption
from features.feast.feature_refs import service_refs
from features.feast.online import lookup as online_store
from features.feast.online.lookup import Age, Reading
from features.feast.registry import feast_repo
from features.feast.registry.feast_plan import Change
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import UnknownFeature, near_misses
from historian.plant.load import load_plant
from historian.times import parse_instant, utc_now


def apply(
    plant: PlantOption = Path("plant.toml"),
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the plant's features change in Feast, register views and services, and remove old ones."""
    checked = load_plant(plant)
    repo = feast_repo.repo_path(checked)
    if dry_run:
        planned = feast_repo.plan(checked)
        answer({"repo": repo, "changes": [*map(asdict, planned)]}, _change_lines(planned), as_json=as_json)
        return
    # People see what is meant to change even if it fails then; a machine gets one answer.
    applied = feast_repo.apply(checked, lambda planned: None if as_json else print(_change_lines(planned), flush=True))
    record = {
        "project": applied.project,
        "repo": repo,
        "views": applied.views,
        "services": applied.services,
        "removed": applied.removed,
        "changes": [*map(asdict, applied.changes)],
    }
    registered = f"{applied.project}: registered {', '.join((*applied.views, *applied.services)) or 'nothing'}"
    answer(record, registered, as_json=as_json)


def _change_lines(changes: Sequence[Change]) -> str:
    return "\n".join(map(str, changes)) or "nothing changes"


def materialize(
    plant: PlantOption = Path("plant.toml"),
    *,
    end: Annotated[str, typer.Option(help="Rows after this are left out: 2026-03-01T00:00:00Z, now, now-2h.")] = "now",
    full: Annotated[
        bool, typer.Option("--full", help="Look at all rows, not at what is new only: after Redis has lost some.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the newest features of every asset to the online store, from rows that are new since the last run."""
    until = parse_instant(end, now=utc_now())
    store = feast_repo.open_feature_store(load_plant(plant))
    views = [view.name for view in store.list_feature_views()]
    with progress("materialize", unit="views", total=len(views), quiet=as_json) as advance:
        written = online_store.materialize(store, end=until, advance=advance, full=full)
    record, text = _materialized(written, until)
    answer(record, text, as_json=as_json)


def _materialized(written: Mapping[str, int | None], until: datetime) -> tuple[dict[str, object], str]:
    """Return the answer for the number of rows written of each view; None for a view without rows."""
    done = {view: rows for view, rows in written.items() if rows is not None}
    absent = [view for view in written if view not in done]
    missing = f"; no rows yet for {', '.join(absent)}: run penstock compute" if absent else ""
    counts = ", ".join(f"{view} ({rows} new)" for view, rows in done.items())
    text = f"online up to {until:%Y-%m-%d %H:%M:%S}Z: {counts or 'nothing'}{missing}"
    return {"views": [*done], "rows": sum(done.values()), "without_rows": absent, "end": until}, text


def online(
    asset: Annotated[str | None, typer.Argument(help="The asset to look up; the age of all if left out.")] = None,
    plant: PlantOption = Path("plant.toml"),
    *,
    feature: FeatureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an asset's newest features, as a model in service would get them now, and how old they are.

    Old means how long ago the window ended, not how long ago it was materialised.
    """
    checked, now = load_plant(plant), utc_now()
    if asset is not None and asset not in checked.assets:
        raise UnknownFeature(f"unknown asset {asset!r}{near_misses(asset, checked.assets)}")
    store = feast_repo.open_feature_store(checked)
    if asset is None:
        _answer_ages(online_store.ages(store, sorted(checked.assets), now=now), now, as_json=as_json)
        return
    refs = feature or service_refs(store, checked.assets[asset].asset_class)
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
