"""Feast's monitoring: the same statistics as Feast's calculator, and tables with one row per key."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feast.monitoring.metrics_calculator import MetricsCalculator

from features.feast.offline import monitoring


def test_numbers_are_those_of_feast() -> None:
    """The column has no value for which Feast's calculator fails."""
    column = pl.Series("x", [3.0, 1.0, None, 7.5, 2.0, 2.0])
    expected = MetricsCalculator(4, 2).compute_numeric(column.to_arrow()) | {"feature_name": "x"}
    found = monitoring.numeric_metric("x", column, 4)
    assert found.pop("histogram") == expected.pop("histogram")
    assert found == pytest.approx(expected)


def test_categories_are_those_of_feast() -> None:
    """The most frequent ones are listed, and the number of others."""
    column = pl.Series("x", ["b", "a", "b", None, "c", "b", "a"])
    expected = MetricsCalculator(4, 2).compute_categorical(column.to_arrow()) | {"feature_name": "x"}
    assert monitoring.categorical_metric("x", column, 2) == expected


@pytest.mark.parametrize("values", [[float("nan"), None, float("inf")], []])
def test_nan_and_infinity_are_missing(values: list[float | None]) -> None:
    """Feast's own calculator fails for them."""
    found = monitoring.numeric_metric("x", pl.Series(values, dtype=pl.Float64), 4)
    assert (found["row_count"], found["null_count"], found["mean"]) == (len(values), len(values), None)


def metric(day: int, **columns: Any) -> dict[str, Any]:
    """A row of the table of features."""
    return {
        "project_id": "shop",
        "feature_view_name": "view",
        "feature_name": "rate",
        "metric_date": date(2026, 3, day),
        "granularity": "daily",
        "data_source_type": "batch",
        "computed_at": datetime(2026, 3, day, tzinfo=UTC),
        "is_baseline": True,
        "mean": 1.0,
        "histogram": {"bins": [0, 1], "counts": [1]},
        **columns,
    }


def test_a_row_replaces_the_one_with_its_key(tmp_path: Path) -> None:
    """Rows are read back in order of date, both dates included, as Feast's REST server expects."""
    monitoring.ensure_tables(tmp_path)
    monitoring.save_metrics(tmp_path, "feature", [metric(2), metric(1), metric(2, mean=5.0), metric(3)])
    found = monitoring.query_metrics(tmp_path, "feature", "shop", {}, date(2026, 3, 1), date(2026, 3, 2))
    assert [(row["metric_date"], row["mean"]) for row in found] == [("2026-03-01", 1.0), ("2026-03-02", 5.0)]
    assert found[0]["histogram"] == {"bins": [0, 1], "counts": [1]}
    monitoring.save_metrics(tmp_path, "feature", [{**found[0], "mean": 9.0, "metric_date": date(2026, 3, 1)}])
    again = monitoring.query_metrics(tmp_path, "feature", "shop", {"mean": 9.0}, None, None)
    assert [row["metric_date"] for row in again] == ["2026-03-01"]


def test_a_baseline_is_cleared_for_what_is_named(tmp_path: Path) -> None:
    """Other baselines stay."""
    monitoring.save_metrics(tmp_path, "feature", [metric(1), metric(1, feature_name="other")])
    monitoring.clear_baseline(tmp_path, "shop", {"feature_name": "rate", "feature_view_name": None})
    found = monitoring.query_metrics(tmp_path, "feature", "shop", {}, None, None)
    assert {row["feature_name"]: row["is_baseline"] for row in found} == {"rate": False, "other": True}
