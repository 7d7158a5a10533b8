"""Online/offline consistency: served values compared with the same values recomputed offline, as training sees them.

The measures are Chronon's: for each feature the shares of values that match, differ, are missing online, or exist only
online. In addition, a value that is right for its own event timestamp but had been superseded offline when it was
served is stale: materialisation lags, but the value is not wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
from feast import FeatureStore

from features.feast.feature_refs import column_of, registered_refs, views_of
from features.feast.online.served import SERVED, served_path, served_since
from features.tables.labels import ASSET, EVENT_TIMESTAMP
from historian.errors import NotEnoughData
from historian.plant.plant import Plant

VERDICTS: Final = ("match", "stale", "mismatch", "missing", "extra")
_LOOKUP: Final = ("served_at", "asset")
_SAME: Final = "same"
_EXPECTED: Final = ("expected_value", "expected_text")


@dataclass(frozen=True)
class Consistency:
    """The comparison of served values with values recomputed offline."""

    values: int
    """Number of values served since then, of all features."""
    features: pl.DataFrame
    """Counts per feature, as `consistency` returns them."""
    left_out: tuple[str, ...]
    """Features that were served but are no longer registered."""

    def wrong(self, threshold: float) -> list[str]:
        """Return the features with a larger share of wrong values than the threshold."""
        found: list[str] = self.features.filter(pl.col("wrong") > threshold)["feature"].to_list()
        return found


def consistency_since(store: FeatureStore, plant: Plant, since: datetime) -> Consistency:
    """Compare all values served since an instant; see `consistency`.

    Args:
        store: Feast over the plant's repository.
        plant: The plant whose log of served values is read.
        since: The instant, with a zone.

    Raises:
        NotEnoughData: No values are logged since then.
    """
    served = served_since(served_path(plant), since).collect()
    if served.is_empty():
        raise NotEnoughData(
            f"nothing is logged as served since {since:%Y-%m-%d %H:%M:%S}Z; set log in [online] and restart "
            f"penstock serve"
        )
    left_out = sorted(set(served["feature"]) - registered_refs(store))
    found = consistency(store, served.filter(~pl.col("feature").is_in(left_out)))
    return Consistency(served.height, found, tuple(left_out))


def consistency(store: FeatureStore, served: pl.DataFrame) -> pl.DataFrame:
    """Compare served values with what Feast's historical retrieval gives for the time they were served.

    Only rows created by that time count, as in a training set made with `--created-by-label-time`.

    Args:
        store: Feast over the plant's repository.
        served: columns of `features.feast.online.served.SERVED`.

    Returns:
        One row per feature, sorted by name: feature, values, a count for each of `VERDICTS`, and `wrong`, the share
        of values that mismatch, are missing or extra.
    """
    refs = served["feature"].unique().sort().to_list()
    views = views_of(store, refs)
    parts = [_compared(store, served.filter(feature=ref), ref, str(views[ref].batch_source.path)) for ref in refs]
    counts = [pl.col("verdict").eq(verdict).sum().alias(verdict) for verdict in VERDICTS]
    verdicts = pl.concat([_verdicts(SERVED.to_frame().with_columns(_NOTHING)), *parts])
    counted = verdicts.group_by("feature").agg(pl.len().alias("values"), *counts).sort("feature")
    return counted.with_columns(wrong=pl.sum_horizontal("mismatch", "missing", "extra") / pl.col("values"))


_NOTHING: Final = (
    *(pl.lit(None, SERVED[name.removeprefix("expected_")]).alias(name) for name in _EXPECTED),
    pl.lit(value=False).alias(_SAME),
)


def _compared(store: FeatureStore, served: pl.DataFrame, ref: str, path: str) -> pl.DataFrame:
    expected = _expected(store, served.select(_LOOKUP).unique(), ref)
    compared = served.join(expected, on=_LOOKUP, how="left")
    return _verdicts(compared.with_columns(_same_at_its_time(served, ref, path)))


def _expected(store: FeatureStore, lookups: pl.DataFrame, ref: str) -> pl.DataFrame:
    """Return the values that training would see: `_LOOKUP` and `_EXPECTED`."""
    labels = lookups.select(pl.col("asset").alias(ASSET), pl.col("served_at").alias(EVENT_TIMESTAMP))
    job = store.get_historical_features(
        labels.to_pandas(), [ref], full_feature_names=True, filter_by_created_timestamp=True
    )
    found = pl.DataFrame(job.to_arrow())[column_of(ref)]
    return lookups.with_columns(_value_and_text(found, _EXPECTED))


def _same_at_its_time(served: pl.DataFrame, ref: str, path: str) -> pl.Series:
    """Return whether a row with the served event timestamp, known when it was served, has the served value."""
    numbered = served.with_row_index("number")
    name = ref.partition(":")[2]
    times = served[EVENT_TIMESTAMP]
    near = pl.scan_delta(path).filter(
        pl.col(EVENT_TIMESTAMP).is_between(times.min(), times.max()), pl.col(ASSET).is_in(served["asset"].implode())
    )
    rows = near.select(ASSET, EVENT_TIMESTAMP, "created_timestamp", name).collect()
    versions = rows.drop(name).with_columns(_value_and_text(rows[name], _EXPECTED))
    there = numbered.join(versions, on=[ASSET, EVENT_TIMESTAMP]).filter(
        pl.col("created_timestamp") <= pl.col("served_at")
    )
    same = there.filter(_equal(pl.col("value"), pl.col("text")))["number"]
    return numbered["number"].is_in(same.implode()).alias(_SAME)


def _verdicts(compared: pl.DataFrame) -> pl.DataFrame:
    """Return `feature` and `verdict`; `compared` has the columns of `SERVED`, `_EXPECTED` and `_SAME`."""
    online = pl.any_horizontal(pl.col("value", "text").is_not_null())
    offline = pl.any_horizontal(pl.col(*_EXPECTED).is_not_null())
    verdict = (
        pl.when(_equal(pl.col("value"), pl.col("text")))
        .then(pl.lit("match"))
        .when(_SAME)
        .then(pl.lit("stale"))
        .when(online & offline)
        .then(pl.lit("mismatch"))
        .when(offline)
        .then(pl.lit("missing"))
        .otherwise(pl.lit("extra"))
    )
    return compared.select("feature", verdict.alias("verdict"))


def _equal(value: pl.Expr, text: pl.Expr) -> pl.Expr:
    return value.eq_missing(pl.col(_EXPECTED[0])) & text.eq_missing(pl.col(_EXPECTED[1]))


def _value_and_text(found: pl.Series, names: Sequence[str]) -> list[pl.Series]:
    """Return numbers and flags in the first column, text in the second; NaN is missing, as online."""
    value, text = (
        pl.Series(name, [None] * len(found), SERVED[kind]) for name, kind in zip(names, ("value", "text"), strict=True)
    )
    if found.dtype == pl.String():
        return [value, found.alias(names[1])]
    return [found.cast(pl.Float64()).fill_nan(None).alias(names[0]), text]
