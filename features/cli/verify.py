"""`penstock verify-features`: draws stored rows, computes them again, and compares table, samples and online store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features.compute.run import chosen_views
from features.compute.verify import Difference, Verdict, compare_online, verify
from features.feast.registry.feast_repo import open_feature_store
from features.tables.feature_table import FeatureTable
from features.tables.labels import ASSET
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import NotEnoughData
from historian.plant.load import load_plant
from historian.plant.plant import Plant, View
from historian.stores.open import open_store
from historian.times import utc_now

_SHOWN: Final = 10
_EVERY_VIEW: Final[list[str]] = []
_Found = Mapping[str, tuple[datetime | None, Mapping[str, object]]]


def verify_features(
    plant: PlantOption = Path("plant.toml"),
    view: Annotated[
        list[str], typer.Option("--view", help="Only this feature view; several times for more.")
    ] = _EVERY_VIEW,
    *,
    rows: Annotated[int, typer.Option(min=1, help="How many stored rows of each view to draw.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Draws the same rows again; else others each time.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Checks that stored features are what their samples give, and online ones what is stored. Exit code 1 if not."""
    checked = load_plant(plant)
    store, now, views = open_store(checked), utc_now(), chosen_views(checked, view)
    drawn = int(now.timestamp()) if seed is None else seed
    online, verdicts = _registered(checked), dict[str, Verdict]()
    with progress("verify", unit="views", total=len(views), quiet=as_json) as advance:
        for each in views:
            verdicts[each.name] = verify(checked, each, store, now, rows=rows, seed=drawn)
            if online:
                found = _online(online, each, checked.assets_of(each.asset_class))
                verdicts[each.name].materialised = _materialised(online, each, found)
                compare_online(verdicts[each.name], FeatureTable(checked, each), found, ttl=each.ttl, now=now)
            advance(1)
    right = all(verdict.right for verdict in verdicts.values())
    record = {"right": right, "seed": drawn, "views": {name: _record(verdict) for name, verdict in verdicts.items()}}
    answer(record, "\n".join(_text(name, verdict) for name, verdict in verdicts.items()), as_json=as_json)
    if not right:
        raise typer.Exit(1)


def _registered(plant: Plant) -> FeatureStore | None:
    """Feast, if `penstock apply` has ever been run."""
    try:
        return open_feature_store(plant)
    except NotEnoughData:
        return None


def _online(store: FeatureStore, view: View, assets: tuple[str, ...]) -> _Found:
    """Asset -> what the online store holds, of any age."""
    registered = {each.name: each for each in store.list_feature_views()}
    if view.name not in registered:
        return {}
    keys = [EntityKey(join_keys=[ASSET], entity_values=[Value(string_val=asset)]) for asset in assets]
    found = store.provider.online_read(store.config, registered[view.name], keys)
    return {
        asset: (event, {name: _plain(value) for name, value in (values or {}).items()})
        for asset, (event, values) in zip(assets, found, strict=True)
    }


def _materialised(store: FeatureStore, view: View, found: _Found) -> bool:
    """Whether something of the view is online, or `penstock materialize` says that it was."""
    if any(event for event, _ in found.values()):
        return True
    registered = [each for each in store.list_feature_views() if each.name == view.name]
    return any(store.provider.online_store.cursor(store.config, each) is not None for each in registered)


def _plain(value: Any) -> object:
    kind = value.WhichOneof("val")
    return getattr(value, kind) if kind else None


def _record(verdict: Verdict) -> dict[str, object]:
    return {**asdict(verdict), "differences": [asdict(each) for each in verdict.differences[:_SHOWN]]}


def _text(name: str, verdict: Verdict) -> str:
    counts = (
        f"{name}: {verdict.match} rows match, {verdict.mismatch} mismatch, {verdict.missing} missing, "
        f"{verdict.extra} extra, {verdict.left_out} left out; {_online_text(verdict)}"
    )
    return "\n".join([counts, *(f"  {_line(each)}" for each in verdict.differences[:_SHOWN])])


def _online_text(verdict: Verdict) -> str:
    if not verdict.materialised:
        return "nothing is online yet: penstock materialize writes it there"
    counts = (
        f"online {verdict.online} match, {verdict.online_mismatch} mismatch, {verdict.online_missing} missing, "
        f"{verdict.online_behind} behind"
    )
    return f"{counts}: run penstock materialize --full" if verdict.online_missing or verdict.online_behind else counts


def _line(each: Difference) -> str:
    expected = "stored" if each.where == "online" else "computed again"
    return (
        f"{each.where}: {each.asset} {_shown(each.event_timestamp)} {each.column}: "
        f"{_shown(each.found)}, {expected}: {_shown(each.expected)}"
    )


def _shown(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S.%f}Z" if isinstance(value, datetime) else repr(value)
