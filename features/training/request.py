"""What a training set is requested to be, and what the request came to: both are written into the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import AwareDatetime, Field

from features.training.formats import Format
from features.training.splits import SplitSpec
from historian.plant.keys import Model

_LAYOUT: Final = {"format", "partition_by"}
"""Fields of a request that do not affect the rows."""


class Request(Model):
    """What a training set is requested to be."""

    labels: str = Field(description="A table of labels, or a rule (.toml).")
    features: tuple[str, ...] = Field((), description="view:feature; all of the labelled classes if empty.")
    model_columns: bool = Field(default=False, description="Only features that are numbers a model can take.")
    ages: bool = Field(default=False, description="A column view__age_s for the age of each view's row.")
    target: str | None = Field(None, description="The label's column; a rule names its own.")
    created_by_label_time: bool = Field(
        default=False, description="Only feature rows that had been created by each label's time."
    )
    as_of: AwareDatetime | None = Field(
        None, description="Only feature rows created, and events known, by this instant."
    )
    split: SplitSpec | None = None
    horizon: timedelta | None = Field(None, ge=timedelta(0), description="How far the labels of a table look ahead.")
    accept_one_class: bool = Field(
        default=False, description="Whether a train split without a positive label is accepted."
    )
    threshold: float = Field(0.95, gt=0.5, le=1, description="The AUC from which on a column is suspected.")
    format: Format = Field("parquet", description="Format of an artefact's parts.")
    partition_by: Literal["asset"] | None = Field(
        None, description="Partitioning of an artefact's parts, below the split."
    )

    def of_rows(self, refs: Sequence[str]) -> dict[str, Any]:
        """Return what the rows depend on, ready for JSON, with all features named.

        Args:
            refs: `view:feature`, in the order of the columns.
        """
        return {**self.model_dump(mode="json", exclude_none=True, exclude=_LAYOUT), "features": list(refs)}


class Resolved(Model):
    """What a request came to when its training set was made: it is made again from this, whatever has changed since."""

    features: tuple[str, ...] = Field(description="view:feature, in the order of the columns.")
    assets: tuple[str, ...] = Field(description="The assets that could be labelled, sorted.")
    named_assets: tuple[str, ...] = Field(description="All assets that the label files may name, sorted.")
    observed_until: AwareDatetime | None = Field(None, description="The end of observation; None without a rule.")
