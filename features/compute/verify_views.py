"""Are the features of a plant what their samples give, and is what is online what is stored?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features.compute.run import chosen_views
from features.compute.verify import Difference, Verdict, verify
from features.feast.registry.feast_repo import open_feature_store
from features.tables.feature_table import FeatureTable
from features.tables.labels import ASSET
from historian.errors import NotEnoughData
from historian.plant.plant import Plant, View
from historian.stores.protocols import Reader

OnlineRows = Mapping[str, tuple[datetime | None, Mapping[str, object]]]
"""Asset -> event timestamp and values of what is online; no timestamp where nothing is."""
_EVENT: Final = pl.col("event_timestamp")
_KEYS: Final = pl.Schema({"asset": pl.String(), "event_timestamp": pl.Datetime("us", "UTC")})


def verify_views(
    plant: Plant,
    store: Reader,
    views: Sequence[str],
    *,
    now: datetime,
    rows: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Verdict]:
    """Compare samples, feature tables and online store of a plant.

    Args:
        plant: the plant.
        store: where the samples are.
        views: names of views; all if empty.
        now: the present time.
        rows: how many stored rows of each view to draw.
        seed: the same seed draws the same rows of the same tables.
        advance: called with 1 after each view.

    Returns:
        View -> what agrees and what does not.

    Raises:
        UnknownFeature: there is no such view.
        StoreUnavailable: a store cannot be read.
    """
    online, verdicts = _registered(plant), dict[str, Verdict]()
    for view in chosen_views(plant, views):
        verdicts[view.name] = verify(plant, view, store, now, rows=rows, seed=seed)
        if online:
            found = _online(online, view, plant.assets_of(view.asset_class))
            verdicts[view.name].materialised = _materialised(online, view, found)
            compare_online(verdicts[view.name], FeatureTable(plant, view), found, ttl=view.ttl, now=now)
        advance(1)
    return verdicts


def compare_online(
    verdict: Verdict,
    table: FeatureTable,
    online: OnlineRows,
    *,
    ttl: timedelta | None,
    now: datetime,
) -> None:
    """Compare each asset's online values with the stored row of the same event timestamp, and that with the newest.

    Only newest rows that can be served and were there at `now` count: neither those past their ttl, nor those that were
    created since, which are still on their way.

    Args:
        verdict: added to; its `materialised` is set already.
        table: the view's, opened after `online` was read.
        online: asset -> event timestamp and values; no timestamp where it is not online.
        ttl: the view's; None for unlimited.
        now: the time before `online` was read.
    """
    newest = _newest(table, ttl, now)
    for asset, (event, values) in online.items():
        expected = newest.get(asset)
        wrong = _wrong(table, asset, event, values) if event else []
        late = expected is not None and (event is None or event < expected)
        verdict.online += event is not None and not (wrong or late)
        verdict.online_mismatch += bool(wrong)
        verdict.online_behind += late and event is not None and not wrong
        verdict.online_missing += late and event is None
        verdict.differences += wrong
        if expected and late and not wrong and verdict.materialised:
            verdict.differences.append(Difference("online", asset, expected, "event_timestamp", event, expected))


def _newest(table: FeatureTable, ttl: timedelta | None, now: datetime) -> dict[str, datetime]:
    """Return asset -> event timestamp of its newest row that counts."""
    rows = table.scan().filter(_EVENT.le(now), pl.col("created_timestamp") <= now)
    if ttl:
        rows = rows.filter(_EVENT.ge(now - ttl))
    return dict(rows.group_by("asset").agg(_EVENT.max()).collect().iter_rows())


def _wrong(table: FeatureTable, asset: str, event: datetime, values: Mapping[str, object]) -> list[Difference]:
    """Return the values that differ from the stored row of the same event timestamp."""
    stored = table.newest(pl.DataFrame({"asset": [asset], "event_timestamp": [event]}, _KEYS))
    row = stored.row(0, named=True) if stored.height else dict.fromkeys(values)
    return [
        Difference("online", asset, event, name, value, row[name])
        for name, value in values.items()
        if value != row[name]
    ]


def _registered(plant: Plant) -> FeatureStore | None:
    """Return the Feast repository, None if `penstock apply` has never been run."""
    try:
        return open_feature_store(plant)
    except NotEnoughData:
        return None


def _online(store: FeatureStore, view: View, assets: tuple[str, ...]) -> OnlineRows:
    """Return what the online store holds of a view, of any age."""
    registered = {each.name: each for each in store.list_feature_views()}
    if view.name not in registered:
        return {}
    keys = [EntityKey(join_keys=[ASSET], entity_values=[Value(string_val=asset)]) for asset in assets]
    found = store.provider.online_read(store.config, registered[view.name], keys)
    return {
        asset: (event, {name: _plain(value) for name, value in (values or {}).items()})
        for asset, (event, values) in zip(assets, found, strict=True)
    }


def _materialised(store: FeatureStore, view: View, found: OnlineRows) -> bool:
    """Return whether something of the view is online, or was once put there by `penstock materialize`."""
    if any(event for event, _ in found.values()):
        return True
    registered = [each for each in store.list_feature_views() if each.name == view.name]
    return any(store.provider.online_store.cursor(store.config, each) is not None for each in registered)


def _plain(value: Any) -> object:
    kind = value.WhichOneof("val")
    return getattr(value, kind) if kind else None
