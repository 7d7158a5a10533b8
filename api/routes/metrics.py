"""The endpoint for Prometheus: what `penstock status` shows, as metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import ServiceParameter
from historian.metrics import CONTENT_TYPE, openmetrics
from historian.status import StatusFile

router = APIRouter(tags=["metrics"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"application/openmetrics-text": {}}}})
def metrics(service: ServiceParameter) -> Response:
    """Return the state of the bridge, by source, sink and asset, in OpenMetrics' text format."""
    text = openmetrics(service.plant, StatusFile(service.plant.state), now=service.clock())
    return Response(text, media_type=CONTENT_TYPE)
