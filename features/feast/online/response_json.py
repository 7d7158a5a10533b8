"""Feast's response as JSON, in the shape that Feast's own feature server sends and its remote online store reads."""

from __future__ import annotations

from typing import Any

from feast.feature_server_utils import convert_response_to_dict
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse


def response_json(response: GetOnlineFeaturesResponse) -> dict[str, Any]:
    """Convert a response to what `json.dumps` takes.

    Args:
        response: The result of `features.feast.online.lookup.online_response`.
    """
    body: dict[str, Any] = convert_response_to_dict(response)
    return body
