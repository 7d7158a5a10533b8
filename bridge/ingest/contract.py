"""The contract: what a tag's samples may be, by the point the tag fills. What breaks it is told apart, with the reason.

Pure. Ranges are in engineering units, so transforms come first. A Bad sample is held to its tag and its time alone: its
value must not be used anyhow, and it may carry the text with which a legacy historian reports an outage.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl

from bridge.edge.quarantine import REASONED
from historian.plant.connections import Tag
from historian.quality import is_bad
from historian.samples import KEY, SCHEMA, SampleBatch

FUTURE: Final = timedelta(days=1)
"""How far ahead of the bridge's clock a device's clock may run."""


class Verdict(NamedTuple):
    """Samples told apart."""

    accepted: SampleBatch
    rejected: pl.DataFrame
    """Columns of `quarantine.REASONED`."""


def contract(tags: Iterable[Tag]) -> pl.DataFrame:
    """What each tag may carry, one row a tag: tag, is_state, low, high, beyond (the reason for a value outside)."""
    rows = [(tag.name, tag.kind == "state", *(tag.range or (None, None)), _beyond(tag)) for tag in tags]
    types = {"tag": pl.String(), "is_state": pl.Boolean(), "low": pl.Float64(), "high": pl.Float64()}
    return pl.DataFrame(rows, schema={**types, "beyond": pl.String()}, orient="row")


def judged(batch: SampleBatch, terms: pl.DataFrame, *, now: datetime) -> Verdict:
    """Splits a batch by the contract `terms`; every row lands on exactly one side."""
    joined = batch.join(terms, on="tag", how="left", maintain_order="left")
    reasons = joined.select(reason=_reason(now))["reason"]
    if reasons.null_count() == batch.height:
        return Verdict(batch, REASONED.to_frame())
    told = batch.with_columns(reasons)
    accepted = told.filter(pl.col("reason").is_null()).drop("reason")
    return Verdict(SampleBatch(accepted), told.filter(pl.col("reason").is_not_null()))


def identified(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Raw rows -> those that say of which tag, time and quality they are, and the others (columns of `REASONED`)."""
    missing = pl.any_horizontal(pl.col(*KEY, "quality").is_null())
    if not rows.select(missing.any()).item():
        return rows, REASONED.to_frame()
    nameless = rows.filter(missing).select(SCHEMA.names()).with_columns(reason=pl.lit("no tag, time or quality"))
    return rows.filter(~missing), nameless.cast(REASONED)


def _beyond(tag: Tag) -> str | None:
    return f"outside its range [{tag.range[0]:g}, {tag.range[1]:g}] {tag.unit}".rstrip() if tag.range else None


def _reason(now: datetime) -> pl.Expr:
    value, text, usable = pl.col("value"), pl.col("text"), ~is_bad(pl.col("quality"))
    horizon = pl.lit(now + FUTURE, SCHEMA["timestamp"])
    return (
        pl.when(pl.col("is_state").is_null())
        .then(pl.lit("unknown tag"))
        .when(pl.col("timestamp") > horizon)
        .then(pl.lit("more than a day in the future"))
        .when(usable & value.is_null() & text.is_null())
        .then(pl.lit("no value, though its quality is not Bad"))
        .when(usable & pl.col("is_state") & value.is_not_null())
        .then(pl.lit("a number for a text tag"))
        .when(usable & ~pl.col("is_state") & text.is_not_null())
        .then(pl.lit("text for a numeric tag"))
        .when(usable & ~value.is_between("low", "high"))
        .then(pl.col("beyond"))
    )
