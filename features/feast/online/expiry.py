"""Expiry of features in Feast's response: no value, and the status `OUTSIDE_MAX_AGE`, once older than the ttl.

Feast itself returns features of any age as present; a model trained with a ttl has never seen such features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from feast import FeatureView, RepoConfig
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse


def expire(answer: GetOnlineFeaturesResponse, ttls: Mapping[str, timedelta | None], now: datetime) -> None:
    """Remove values older than their ttl from a response, in place, and mark nulls as such.

    Args:
        answer: Feast's response.
        ttls: Ttl by name in the response; None or zero for unlimited. Other columns are not changed.
        now: The current time, from which the age of a feature is counted.
    """
    for name, vector in zip(answer.metadata.feature_names.val, answer.results, strict=True):
        if name in ttls:
            _expire(vector, ttls[name], now)


def expire_read(
    config: RepoConfig, grouped: Iterable[tuple[FeatureView, list[str]]], arguments: Sequence[Any], now: datetime
) -> None:
    """Remove expired values from the response that Feast's `_read_features_per_fv` has filled, if the store is to.

    Args:
        config: Its `online_store.expire` says whether to.
        grouped: Views, each with the features that were read.
        arguments: The other arguments of the call; the response, and whether names are `view__feature`, are among them.
        now: The current time, from which the age of a feature is counted.
    """
    *_, answer, full_names, _versions = arguments
    if config.online_store.expire:
        expire(answer, ttls_of(grouped, full_names=full_names), now)


def ttls_of(grouped: Iterable[tuple[FeatureView, list[str]]], *, full_names: bool) -> dict[str, timedelta | None]:
    """Return the ttl of each feature by its name in a response.

    Args:
        grouped: Views, each with the features that Feast is about to read.
        full_names: Whether names are `view__feature`.
    """
    return {
        f"{view.projection.name_to_use()}__{name}" if full_names else name: view.ttl
        for view, names in grouped
        for name in names
    }


def _expire(vector: GetOnlineFeaturesResponse.FeatureVector, ttl: timedelta | None, now: datetime) -> None:
    for row, status in enumerate(vector.statuses):
        if status != FieldStatus.PRESENT:
            continue
        if ttl and now - vector.event_timestamps[row].ToDatetime(UTC) > ttl:
            vector.values[row].Clear()
            vector.statuses[row] = FieldStatus.OUTSIDE_MAX_AGE
        elif vector.values[row].WhichOneof("val") is None:
            vector.statuses[row] = FieldStatus.NULL_VALUE
