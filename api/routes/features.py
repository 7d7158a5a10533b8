"""Training sets and online features over HTTP."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any, Final

import polars as pl
from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import JSONResponse
from feast.feature_server_utils import convert_response_to_dict

from api.deps import Served
from api.models import OnlineRequest, TrainingSetRequest
from features.feast.feature_refs import refs_of_assets, service_refs
from features.feast.online.lookup import online_response
from features.tables.labels import ASSET, checked_labels
from features.training.formats import write
from features.training.plan import resolve
from features.training.training_set import training_set
from historian.errors import InvalidInput

MOST_LABELS: Final = 10_000
"""A training set is made while the caller waits; larger ones are for the command."""

_MEDIA_TYPES: Final = {
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.file",
    "arrows": "application/vnd.apache.arrow.stream",
    "csv": "text/csv; charset=utf-8",
}

router = APIRouter(tags=["features"])


@router.post(
    "/v1/training-sets",
    response_class=Response,
    responses={200: {"content": {media: {} for media in _MEDIA_TYPES.values()}}},
)
def make_training_set(wanted: TrainingSetRequest, service: Served) -> Response:
    """The labels with the features as they were at each label's time: one row a label, in the order given.

    Where `as_of` cannot be answered from a table's version of then, the header `penstock-warnings` says so, as JSON.
    """
    if len(wanted.labels) > MOST_LABELS:
        advice = f"at most {MOST_LABELS} labels are answered at once, not {len(wanted.labels)}"
        raise HTTPException(413, f"{advice}; run penstock training-set, or send them in parts")
    labels = checked_labels(_frame(wanted.labels), service.plant.assets, file="labels")
    store = service.feature_store
    plan = resolve(
        store,
        wanted.features or refs_of_assets(store, service.plant, labels[ASSET].unique().to_list()),
        as_of=wanted.as_of,
        created_by_label_time=wanted.created_by_label_time,
    )
    table = training_set(labels, plan)
    body = BytesIO()
    write(table, body, wanted.format)
    headers = {"content-disposition": f'attachment; filename="training-set.{wanted.format}"'}
    if plan.warnings:
        headers["penstock-warnings"] = json.dumps(plan.warnings)
    return Response(body.getvalue(), media_type=_MEDIA_TYPES[wanted.format], headers=headers)


@router.post("/get-online-features")
def get_online_features(wanted: OnlineRequest, service: Served) -> JSONResponse:
    """The newest features of assets, asked and answered in Feast's own words: its remote online store works here."""
    if set(wanted.entities) != {ASSET}:
        raise InvalidInput(f'entities must be {{"{ASSET}": [...]}}, not {", ".join(wanted.entities) or "empty"}')
    store = service.feature_store
    refs = service_refs(store, wanted.feature_service) if wanted.feature_service else wanted.features
    if not refs:
        raise InvalidInput("name features, or a feature_service")
    answer = online_response(
        store,
        refs,
        wanted.entities[ASSET],
        full_feature_names=wanted.full_feature_names,
        versions=wanted.include_feature_view_version_metadata,
        now=service.clock(),
        log=service.served_log,
    )
    return JSONResponse(convert_response_to_dict(answer))


def _frame(labels: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows -> a frame. A key that a row lacks is null there; text and numbers in one column are not guessed at."""
    names = dict.fromkeys(name for row in labels for name in row)
    columns = {name: [row.get(name) for row in labels] for name in names}
    mixed = [name for name, values in columns.items() if len(_kinds(values)) > 1]
    if mixed:
        raise InvalidInput(f"labels: column {', '.join(mixed)} holds values of several kinds; send one kind a column")
    return pl.DataFrame(columns, strict=False)


def _kinds(values: list[Any]) -> set[type]:
    return {float if type(value) is int else type(value) for value in values if value is not None}
