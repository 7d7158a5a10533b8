"""Pydantic models of requests and responses, for validation and documentation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

_Value = TypeVar("_Value")


def _storable(value: _Value) -> _Value:
    """Return the value. Raises `ValueError` if a table cannot hold it."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number must fit into 64 bits")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("text must be valid Unicode; this has half of a surrogate pair") from None
    return value


def _name(value: str) -> str:
    """Return the text. Raises `ValueError` if it cannot be the name of a column, an asset or a feature."""
    if "\x00" in _storable(value):
        raise ValueError("a name must not contain the character NUL")
    return value


def _in_utc(value: datetime) -> datetime:
    """Return the time in UTC. Raises `ValueError` if a datetime cannot hold it."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time of the years 1 to 9999 in UTC") from None


Cell = Annotated[str | int | float | bool | None, AfterValidator(_storable)]
"""A value of a label column."""

Name = Annotated[str, AfterValidator(_name)]
"""The name of a column, an asset, a feature or a feature service."""


class TrainingSetRequest(BaseModel):
    """Labels, and the features to join with them."""

    # A misspelt option must not be ignored.
    model_config = ConfigDict(extra="forbid")

    labels: list[dict[Name, Cell]] = Field(
        min_length=1, description="Rows with asset, event_timestamp (ISO 8601 with zone) and any other columns."
    )
    features: list[Name] | None = Field(
        None, min_length=1, description="view:feature; all features of the labelled assets' classes if left out."
    )
    format: Literal["parquet", "arrow", "arrows", "csv"] = "parquet"
    created_by_label_time: bool = Field(
        default=False, description="Only feature rows created by each label's time: no later corrections."
    )
    as_of: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = Field(
        None, description="Only rows that were in the feature tables at this time."
    )


class OnlineRequest(BaseModel):
    """Feast's own request; keys that later versions of Feast add are ignored."""

    entities: dict[Name, Annotated[list[Name], Field(min_length=1, max_length=1_000)]] = Field(
        description='{"asset": ["c101", "c102"]}'
    )
    features: list[Name] = []
    feature_service: Name | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class Latest(BaseModel):
    """A tag's newest sample."""

    timestamp: datetime
    value: float | None
    text: str | None
    quality: str
    """Name of the quality, such as `Good` or `BadTimeout`."""


class TagState(BaseModel):
    """A tag: what it is, which connections bring it, and its newest sample."""

    tag: str
    asset: str
    point: str
    kind: str
    unit: str
    sources: list[str]
    archives: list[str]
    latest: Latest | None


class AssetState(BaseModel):
    """An asset: its class, its owner, which tags fill its points, and its feature views."""

    asset: str
    asset_class: str = Field(serialization_alias="class")
    owner: str
    points: dict[str, str | None]
    views: list[str]


class Health(BaseModel):
    """The response of a server that is up, or ready."""

    status: Literal["ok"] = "ok"
