"""Training sets and online features over HTTP."""

from __future__ import annotations

import json
from typing import Final

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import JSONResponse

from api.deps import ServiceParameter
from api.models import OnlineRequest, TrainingSetRequest

MAX_LABELS: Final = 10_000
"""Largest number of labels in one request: the caller waits while the training set is made."""

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
def make_training_set(body: TrainingSetRequest, service: ServiceParameter) -> Response:
    """Return the labels with the features as they were at each label's time: one row per label, in the order given.

    If the version of a feature table at `as_of` is gone, the header `penstock-warnings` says so, as a JSON list.
    """
    if len(body.labels) > MAX_LABELS:
        limit = f"a request may have at most {MAX_LABELS} labels, not {len(body.labels)}"
        raise HTTPException(413, f"{limit}; run penstock training-set, or send them in parts")
    made = service.feast().training_set(body)
    headers = {"content-disposition": f'attachment; filename="training-set.{body.format}"'}
    if made.warnings:
        headers["penstock-warnings"] = json.dumps(made.warnings)
    return Response(made.content, media_type=_MEDIA_TYPES[body.format], headers=headers)


@router.post("/get-online-features")
def get_online_features(body: OnlineRequest, service: ServiceParameter) -> JSONResponse:
    """Return the newest features of assets, in Feast's own protocol, so that its remote online store works."""
    return JSONResponse(service.feast().online_features(body))
