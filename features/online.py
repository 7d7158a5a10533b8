"""The online store: written by `materialize`, read by whoever needs an asset's newest features now."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from feast import FeatureStore
from feast.errors import FeatureNameCollisionError
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse

from features.feature_refs import column_of, meaning_of, views_of
from features.labels import ASSET
from historian.errors import InvalidInput, StoreUnavailable
from historian.times import EPOCH


@dataclass(frozen=True)
class Reading:
    """One feature of one asset as the online store has it."""

    feature: str
    """`view:feature`"""
    value: float | int | bool | str | None
    """None where it is missing; `status` says why."""
    unit: str
    event_timestamp: datetime | None
    """The end of the window it was computed from."""
    status: str
    """`PRESENT`, `NULL_VALUE`, `NOT_FOUND`, or `OUTSIDE_MAX_AGE` where it is older than the view's ttl."""


def materialize(store: FeatureStore, *, end: datetime, advance: Callable[[int], None]) -> list[str]:
    """Writes the newest row of each asset up to `end` to the online store, view by view.

    The whole table is looked at each time: late rows may belong to an asset, or a time, that an earlier run has passed
    by already. What is in the online store is never replaced by anything older.

    Returns:
        The views for which there is no feature table yet.

    Raises:
        FeatureError: a view's table lacks a column; it was made before the plant file had it.
    """
    absent = []
    for view in store.list_feature_views():
        try:
            # Not `FeatureStore.materialize`: that adds an interval to the registry with every run, without bound, and
            # takes the view out of service meanwhile.
            store.provider.materialize_single_feature_view(
                config=store.config,
                feature_view=view,
                start_date=EPOCH,
                end_date=end,
                registry=store.registry,
                project=store.project,
                tqdm_builder=lambda _: None,
            )
        except FileNotFoundError:
            absent.append(view.name)
        advance(1)
    return absent


def online_response(
    store: FeatureStore,
    refs: Sequence[str],
    assets: Sequence[str],
    *,
    full_feature_names: bool,
    now: datetime,
    versions: bool = False,
) -> GetOnlineFeaturesResponse:
    """Feast's answer for these assets, with what is older than its view's ttl blanked out.

    Feast returns a feature of any age as present; a model trained with a ttl has never seen such a one.

    Raises:
        UnknownFeature: a reference is not registered.
        InvalidInput: without full names, two of the features would be called the same.
        StoreUnavailable: the online store cannot be read.
    """
    views = views_of(store, refs)
    ttls = {column_of(ref) if full_feature_names else ref.partition(":")[2]: view.ttl for ref, view in views.items()}
    try:
        answer: GetOnlineFeaturesResponse = store.get_online_features(
            list(views),
            {ASSET: list(assets)},
            full_feature_names=full_feature_names,
            include_feature_view_version_metadata=versions,
        ).proto
    except FeatureNameCollisionError:
        raise InvalidInput("two views have a feature of one name; ask for full_feature_names") from None
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the online store cannot be read ({error}); run penstock apply") from None
    for name, vector in zip(answer.metadata.feature_names.val, answer.results, strict=True):
        if name in ttls:
            _blank_missing(vector, ttls[name], now)
    return answer


def readings(store: FeatureStore, refs: Sequence[str], asset: str, *, now: datetime) -> list[Reading]:
    """The features of one asset, in the order of `refs`. Raises as `online_response` does."""
    answer = online_response(store, refs, [asset], full_feature_names=True, now=now)
    vectors = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
    units = {ref: meaning_of(ref, view).get("unit", "") for ref, view in views_of(store, refs).items()}
    return [_reading(ref, vectors[column_of(ref)], units[ref]) for ref in refs]


def _blank_missing(vector: GetOnlineFeaturesResponse.FeatureVector, ttl: timedelta | None, now: datetime) -> None:
    for row, status in enumerate(vector.statuses):
        if status != FieldStatus.PRESENT:
            continue
        if ttl and now - vector.event_timestamps[row].ToDatetime(UTC) > ttl:
            vector.values[row].Clear()
            vector.statuses[row] = FieldStatus.OUTSIDE_MAX_AGE
        elif vector.values[row].WhichOneof("val") is None:
            vector.statuses[row] = FieldStatus.NULL_VALUE


def _reading(ref: str, vector: GetOnlineFeaturesResponse.FeatureVector, unit: str) -> Reading:
    status = FieldStatus.Name(vector.statuses[0])
    kind = vector.values[0].WhichOneof("val")
    return Reading(
        feature=ref,
        value=getattr(vector.values[0], kind) if kind else None,
        unit=unit,
        event_timestamp=None if status == "NOT_FOUND" else vector.event_timestamps[0].ToDatetime(UTC),
        status=status,
    )
