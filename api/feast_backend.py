"""The endpoints' access to Feast: training sets, online lookups, and a readiness check.

Importing this module imports Feast; `api.deps.Service` decides when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any

import polars as pl

from api.models import OnlineRequest, TrainingSetRequest
from features.feast.feature_refs import refs_of_assets, service_refs
from features.feast.online.lookup import online_response
from features.feast.online.response_json import response_json
from features.feast.online.served import open_log
from features.feast.registry.feast_repo import open_feature_store
from features.tables.labels import ASSET, checked_labels
from features.training.formats import write
from features.training.plan import resolve
from features.training.training_set import training_set
from historian.errors import InvalidInput
from historian.plant.plant import Plant

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True)
class TrainingSetFile:
    """A training set as a file, with warnings."""

    content: bytes
    warnings: Sequence[str]
    """One warning for each feature table whose version at `as_of` is gone or unknown."""


class FeastBackend:
    """Feast over one plant's repository; methods may be called by several threads."""

    def __init__(self, plant: Plant, clock: Callable[[], datetime]) -> None:
        """Start the log of served values, if the plant file has one.

        Args:
            plant: the plant that has the features.
            clock: returns the current time.
        """
        self._plant = plant
        self._clock = clock
        self._served_log = open_log(plant)

    @cached_property
    def _store(self) -> FeatureStore:
        """Feast, opened at first use. It reads the registry's file each time, so an apply takes effect at once."""
        return open_feature_store(self._plant)

    def training_set(self, request: TrainingSetRequest) -> TrainingSetFile:
        """Join the labels of a request with the features as they were at each label's time.

        Returns:
            One row per label in the order given, in the requested format.

        Raises:
            InvalidInput: labels are invalid; lists every problem with its row.
            UnknownFeature: a feature is not registered.
            NotEnoughData: nothing has been registered or computed yet.
        """
        labels = checked_labels(_frame(request.labels), self._plant.assets, file="labels")
        plan = resolve(
            self._store,
            request.features or refs_of_assets(self._store, self._plant, labels[ASSET].unique().to_list()),
            as_of=request.as_of,
            created_by_label_time=request.created_by_label_time,
        )
        table = training_set(labels, plan)
        body = BytesIO()
        write(table, body, request.format)
        return TrainingSetFile(body.getvalue(), plan.warnings)

    def online_features(self, request: OnlineRequest) -> dict[str, Any]:
        """Look up the newest features of assets.

        Returns:
            The body of the response, the same as from Feast's feature server.

        Raises:
            InvalidInput: the entities are not assets, or no feature is named.
            UnknownFeature: a feature or feature service is not registered.
            NotEnoughData: nothing has been registered yet.
            StoreUnavailable: the online store cannot be read.
        """
        if set(request.entities) != {ASSET}:
            given = ", ".join(request.entities) or "empty"
            raise InvalidInput(f'entities must be {{"{ASSET}": [...]}}, not {given}')
        refs = service_refs(self._store, request.feature_service) if request.feature_service else request.features
        if not refs:
            raise InvalidInput("name features, or a feature_service")
        response = online_response(
            self._store,
            refs,
            request.entities[ASSET],
            full_feature_names=request.full_feature_names,
            versions=request.include_feature_view_version_metadata,
            now=self._clock(),
            log=self._served_log,
        )
        return response_json(response)

    def check(self) -> None:
        """Look up one feature of one asset, if the plant has any. Raises as `online_features` does."""
        asset = next(iter(self._plant.assets))
        for view in self._plant.views.values():
            refs = service_refs(self._store, view.asset_class)
            online_response(self._store, refs[:1], [asset], full_feature_names=False, now=self._clock())

    def close(self) -> None:
        """Write served values that are not on disk yet."""
        if self._served_log:
            self._served_log.close()


def _frame(labels: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame, null where a row lacks a key. A column that mixes text and numbers is an error."""
    names = dict.fromkeys(name for row in labels for name in row)
    columns = {name: [row.get(name) for row in labels] for name in names}
    mixed = [name for name, values in columns.items() if len(_types(values)) > 1]
    if mixed:
        raise InvalidInput(f"labels: column {', '.join(mixed)} holds values of several kinds; send one kind a column")
    return pl.DataFrame(columns, strict=False)


def _types(values: Sequence[Any]) -> set[type]:
    return {float if type(value) is int else type(value) for value in values if value is not None}
