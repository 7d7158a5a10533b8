"""The signature of a training set: the columns a model is trained with, in order, and how they are looked up online.

It is in the manifest, and in the metadata of Parquet and Arrow files under `SIGNATURE_KEY`, so that one file is enough
to serve a model that was trained with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal

import polars as pl
from pydantic import Field

from features.training.plan import Plan
from historian.plant.keys import Model

SIGNATURE_KEY: Final = b"penstock.signature"
Type = Literal["double", "long", "boolean", "string"]
"""Names of column types, as MLflow's model signatures have them."""
_TYPES: Final[Mapping[type[pl.DataType], Type]] = {
    pl.Float64: "double",
    pl.Int64: "long",
    pl.Boolean: "boolean",
    pl.String: "string",
}
DTYPES: Final[Mapping[str, pl.DataType]] = {name: dtype() for dtype, name in _TYPES.items()}
"""Polars type of each type of column."""


class Input(Model):
    """A column that a model takes."""

    name: str = Field(description="The same offline and online: view__feature, or view__age_s.")
    type: Type
    view: str
    feature: str = Field("", description="The view's feature; empty for the age of its row in seconds.")
    version: str = Field("", description="The version of the feature's definition.")
    unit: str = ""


class Signature(Model):
    """What a model takes, what it predicts, and after which time a value counts as missing."""

    inputs: tuple[Input, ...] = Field(description="In the order of the training set's columns.")
    target: str | None = None
    ttl: Mapping[str, timedelta | None] = Field(description="Largest age of a feature by view; null for any age.")


def signature_of(plan: Plan, values: pl.DataFrame, target: str | None) -> Signature:
    """Return the signature of a training set.

    Args:
        plan: Its features and tables.
        values: Its feature columns, for their types.
        target: The column to be predicted, if one is named.
    """
    features = [
        Input(
            name=feature.column,
            type=_TYPES[type(values.schema[feature.column])],
            view=feature.view,
            feature=feature.name,
            version=feature.meaning.get("version", ""),
            unit=feature.meaning.get("unit", ""),
        )
        for feature in plan.features
    ]
    ages = [Input(name=column, type="double", view=view, unit="s") for view, column in plan.age_columns.items()]
    ttl = {view: table.ttl for view, table in plan.feature_tables.items()}
    return Signature(inputs=(*features, *ages), target=target, ttl=ttl)


def to_json(signature: Signature) -> dict[str, Any]:
    """Return a signature ready for JSON.

    Args:
        signature: Any signature.
    """
    return signature.model_dump(mode="json")
