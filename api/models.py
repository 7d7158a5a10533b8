"""What the API is asked and what it answers, as pydantic models: they check requests and document the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

_Value = TypeVar("_Value")


def _storable(value: _Value) -> _Value:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number must fit into 64 bits")
    if isinstance(value, str):
        value.encode()  # JSON may carry half a character, which no file can
    return value


Cell = Annotated[str | int | float | bool | None, AfterValidator(_storable)]
"""A value of a label column."""


class TrainingSetRequest(BaseModel):
    """Labels, and which features to put beside them."""

    # A misspelt option must not be ignored.
    model_config = ConfigDict(extra="forbid")

    labels: list[dict[str, Cell]] = Field(
        min_length=1, description="Rows with asset, event_timestamp (ISO 8601 with zone) and any other columns."
    )
    features: list[str] | None = Field(
        None, min_length=1, description="view:feature; all features of the labelled assets' classes if left out."
    )
    format: Literal["parquet", "arrow", "arrows", "csv"] = "parquet"
    created_by_label_time: bool = Field(
        default=False, description="Only feature rows created by each label's time: no later corrections."
    )
    as_of: AwareDatetime | None = Field(None, description="Only what was in the feature tables then.")


class OnlineRequest(BaseModel):
    """Feast's own request; what Feast may add to it later is not looked at."""

    entities: dict[str, Annotated[list[str], Field(min_length=1, max_length=1_000)]] = Field(
        description='{"asset": ["c101", "c102"]}'
    )
    features: list[str] = []
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class Latest(BaseModel):
    """A tag's newest sample."""

    timestamp: datetime
    value: float | None
    text: str | None
    quality: str
    """`Good`, `BadTimeout`, …"""


class TagState(BaseModel):
    """A tag: what it is, where it comes from, and how it stands."""

    tag: str
    asset: str
    point: str
    kind: str
    unit: str
    sources: list[str]
    archives: list[str]
    latest: Latest | None


class AssetState(BaseModel):
    """An asset: its class, who owns it, which tags fill its points, and its feature views."""

    asset: str
    asset_class: str = Field(serialization_alias="class")
    owner: str
    points: dict[str, str | None]
    views: list[str]


class Health(BaseModel):
    """Everything that was asked for is there."""

    status: Literal["ok"] = "ok"
