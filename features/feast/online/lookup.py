"""Writing the online store, and looking up the newest features of assets in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from feast import FeatureStore, FeatureView
from feast.errors import FeatureNameCollisionError
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse

from features.feast.feature_refs import column_of, meaning_of, views_of
from features.feast.online.expiry import expire
from features.feast.online.materialize import materialize_view
from features.feast.online.served import ServedLog
from features.tables.labels import ASSET
from historian.errors import InvalidInput


@dataclass(frozen=True)
class Reading:
    """One feature of one asset in the online store."""

    feature: str
    """`view:feature`"""
    value: float | int | bool | str | None
    """Value of the feature; None if it is missing, and `status` says why."""
    unit: str
    event_timestamp: datetime | None
    """End of the window it was computed from."""
    status: str
    """`PRESENT`, `NULL_VALUE`, `NOT_FOUND`, or `OUTSIDE_MAX_AGE` if it is older than the view's ttl."""


@dataclass(frozen=True)
class Age:
    """The age of the newest features of an asset in a view."""

    asset: str
    view: str
    event_timestamp: datetime
    """End of the newest window."""
    expired: bool
    """Whether it is older than the view's ttl."""


def materialize(
    store: FeatureStore, *, end: datetime, advance: Callable[[int], None], full: bool = False
) -> dict[str, int | None]:
    """Write the newest row of each asset up to `end` to the online store, view by view; see `materialize_view`.

    This is not `FeatureStore.materialize`, which adds an interval to the registry with every run, takes the view out of
    service meanwhile, and reads its whole table each time.

    Args:
        store: Feast over the plant's repository.
        end: Later rows are left for a later run.
        advance: Called with 1 after each view.
        full: Whether to read whole tables, not only what is new.

    Returns:
        The number of rows written, by view; None if there is no feature table yet.

    Raises:
        FeatureError: a view's table lacks a column; it was made before the plant file had it.
        StoreUnavailable: the online store cannot be used.
    """
    written = {}
    for view in store.list_feature_views():
        written[view.name] = materialize_view(store, view, end=end, full=full)
        advance(1)
    return written


def online_response(
    store: FeatureStore,
    refs: Sequence[str],
    assets: Sequence[str],
    *,
    full_feature_names: bool,
    now: datetime,
    versions: bool = False,
    log: ServedLog | None = None,
) -> GetOnlineFeaturesResponse:
    """Return Feast's response for some assets; values older than the ttl of their view are missing.

    Args:
        store: Feast over the plant's repository.
        refs: `view:feature`
        assets: Names of assets; unknown ones have no values.
        full_feature_names: Whether names in the response are `view__feature`.
        now: The current time, from which the age of a feature is counted.
        versions: Whether the response states the version of each view.
        log: Receives the response, for `penstock consistency`.

    Raises:
        UnknownFeature: a reference is not registered.
        InvalidInput: without full names, two of the features would have the same name.
        StoreUnavailable: the online store cannot be read.
    """
    views = views_of(store, refs)
    names = {column_of(ref) if full_feature_names else ref.partition(":")[2]: ref for ref in views}
    try:
        answer: GetOnlineFeaturesResponse = store.get_online_features(
            list(views),
            {ASSET: list(assets)},
            full_feature_names=full_feature_names,
            include_feature_view_version_metadata=versions,
        ).proto
    except FeatureNameCollisionError:
        raise InvalidInput("two views have a feature of the same name; set full_feature_names") from None
    expire(answer, {name: views[ref].ttl for name, ref in names.items()}, now)
    if log:
        log.add((now, names, answer))
    return answer


def response_by_ttls(
    store: FeatureStore,
    refs: Sequence[str],
    assets: Sequence[str],
    *,
    ttls: Mapping[str, timedelta | None],
    now: datetime,
) -> GetOnlineFeaturesResponse:
    """Return Feast's response for some assets, with names `view__feature`; values older than given limits are missing.

    Args:
        store: Feast over the plant's repository.
        refs: `view:feature`
        assets: Names of assets; unknown ones have no values.
        ttls: Largest age by view, such as a model was trained with; None for any age.
        now: The current time, from which the age of a feature is counted.

    Raises:
        UnknownFeature: a reference is not registered.
        StoreUnavailable: the online store cannot be read.
    """
    views = views_of(store, refs)
    answer: GetOnlineFeaturesResponse = store.get_online_features(
        list(views), {ASSET: list(assets)}, full_feature_names=True
    ).proto
    expire(answer, {column_of(ref): ttls[view.name] for ref, view in views.items()}, now)
    return answer


def ages(store: FeatureStore, assets: Sequence[str], *, now: datetime) -> list[Age]:
    """Return the age of the newest features of each asset, view by view: that of the data, not of the upload.

    An asset is left out of views that have no features of it.

    Args:
        store: Feast over the plant's repository.
        assets: Names of assets.
        now: The current time, with a zone.

    Raises:
        StoreUnavailable: the online store cannot be read.
    """
    views = sorted(store.list_feature_views(allow_cache=True), key=lambda view: str(view.name))
    return [age for view in views for age in _ages_in(view, store, assets, now)]


def _ages_in(view: FeatureView, store: FeatureStore, assets: Sequence[str], now: datetime) -> Iterator[Age]:
    ref = f"{view.name}:{view.features[0].name}"
    answer = online_response(store, [ref], assets, full_feature_names=True, now=now)
    vector = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))[column_of(ref)]
    for asset, instant, status in zip(assets, vector.event_timestamps, vector.statuses, strict=True):
        if status != FieldStatus.NOT_FOUND:
            yield Age(asset, view.name, instant.ToDatetime(UTC), expired=status == FieldStatus.OUTSIDE_MAX_AGE)


def readings(store: FeatureStore, refs: Sequence[str], asset: str, *, now: datetime) -> list[Reading]:
    """Return the features of one asset, in the order of `refs`.

    Args:
        store: Feast over the plant's repository.
        refs: `view:feature`
        asset: Name of the asset.
        now: The current time, with a zone.

    Raises:
        UnknownFeature: a reference is not registered.
        StoreUnavailable: the online store cannot be read.
    """
    answer = online_response(store, refs, [asset], full_feature_names=True, now=now)
    vectors = dict(zip(answer.metadata.feature_names.val, answer.results, strict=True))
    units = {ref: meaning_of(ref, view).get("unit", "") for ref, view in views_of(store, refs).items()}
    return [_reading(ref, vectors[column_of(ref)], units[ref]) for ref in refs]


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
