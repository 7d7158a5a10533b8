"""Statistics of feature columns, and their storage for Feast's monitoring: Parquet files under the repository.

The numbers are those of Feast's own calculator, except that NaN and infinity, at which it fails, count as missing.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from feast.monitoring.monitoring_utils import (
    MONITORING_DIR,
    empty_categorical_metric,
    empty_numeric_metric,
    monitoring_parquet_meta,
    normalize_monitoring_row,
)

_QUANTILES: Final = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_KINDS: Final = ("feature", "feature_view", "feature_service", "job")
_DTYPES: Final[dict[str, pl.DataType]] = {
    "metric_date": pl.Date(),
    **dict.fromkeys(["computed_at", "max_event_timestamp", "started_at", "completed_at"], pl.Datetime("us", "UTC")),
    "is_baseline": pl.Boolean(),
    **dict.fromkeys(
        ["row_count", "null_count", "total_row_count", "total_features", "features_with_nulls", "total_feature_views"],
        pl.Int64(),
    ),
    **dict.fromkeys(
        ["null_rate", "mean", "stddev", "min_val", "max_val", "avg_null_rate", "max_null_rate", *_QUANTILES],
        pl.Float64(),
    ),
}


def numeric_metric(name: str, column: pl.Series, bins: int) -> dict[str, Any]:
    """Return count, missing share, moments (ddof 1), quantiles (linear), and a histogram of `bins` equal bins."""
    numbers = column.cast(pl.Float64)
    known = numbers.filter(numbers.is_finite()).drop_nulls()
    metric: dict[str, Any] = empty_numeric_metric(name) | _missing(len(column), len(known))
    if not len(known):
        return metric
    counts, edges = np.histogram(known.to_numpy(), bins=bins)
    return metric | {
        "mean": known.mean(),
        "stddev": known.std() if len(known) > 1 else None,
        "min_val": known.min(),
        "max_val": known.max(),
        **{key: known.quantile(share, "linear") for key, share in _QUANTILES.items()},
        "histogram": {"bins": edges.tolist(), "counts": counts.tolist(), "bin_width": float(edges[1] - edges[0])},
    }


def categorical_metric(name: str, column: pl.Series, top: int) -> dict[str, Any]:
    """Return count, missing share and the `top` most frequent values; equally frequent values in ascending order."""
    known = column.drop_nulls()
    metric: dict[str, Any] = empty_categorical_metric(name) | _missing(len(column), len(known))
    if not len(known):
        return metric
    counts = known.alias("value").value_counts().sort(["count", "value"], descending=[True, False])
    histogram = {
        "values": counts.head(top).to_dicts(),
        "other_count": int(counts["count"][top:].sum()),
        "unique_count": counts.height,
    }
    return metric | {"histogram": histogram}


def ensure_tables(repo: Path) -> None:
    """Create the tables that do not exist yet."""
    for kind in _KINDS:
        path = _path(repo, kind)
        with _write_lock(path):
            if not path.exists():
                _replace(path, pl.DataFrame(schema=_schema(kind)))


def save_metrics(repo: Path, kind: str, metrics: Iterable[Mapping[str, Any]]) -> None:
    """Write rows; each replaces the row with the same key.

    Args:
        repo: Feast's repository.
        kind: Table: `feature`, `feature_view`, `feature_service` or `job`.
        metrics: Column -> value for each row; other columns than those of the table are left out.
    """
    rows = [{**row, "histogram": _as_text(row.get("histogram"))} for row in metrics]
    schema = _schema(kind)
    added = pl.DataFrame(
        [{name: _cell(dtype, row.get(name)) for name, dtype in schema.items()} for row in rows], schema
    )
    path, (_, _, key) = _path(repo, kind), monitoring_parquet_meta(kind)
    with _write_lock(path):
        _replace(path, pl.concat([_read(path, kind), added]).unique(key, keep="last", maintain_order=True))


def query_metrics(
    repo: Path, kind: str, project: str, equal: Mapping[str, Any], start: date | None, end: date | None
) -> list[dict[str, Any]]:
    """Return the rows of a project that have these values, start <= metric date <= end, in order of date."""
    tests = [_equal({**equal, "project_id": project or None})]
    tests += [pl.col("metric_date") >= start] if start else []
    tests += [pl.col("metric_date") <= end] if end else []
    found = _read(_path(repo, kind), kind).filter(tests).sort("metric_date", maintain_order=True)
    return [normalize_monitoring_row(row) for row in found.to_dicts()]


def clear_baseline(repo: Path, project: str, equal: Mapping[str, Any]) -> None:
    """Clear the baseline mark of the project's rows that have these values."""
    path = _path(repo, "feature")
    baseline = pl.when(_equal({**equal, "project_id": project})).then(statement=False).otherwise(pl.col("is_baseline"))
    with _write_lock(path):
        _replace(path, _read(path, "feature").with_columns(baseline.alias("is_baseline")))


def _missing(rows: int, known: int) -> dict[str, Any]:
    return {"row_count": rows, "null_count": rows - known, "null_rate": (rows - known) / rows if rows else 0.0}


def _equal(values: Mapping[str, Any]) -> pl.Expr:
    tests = [pl.col(name) == value for name, value in values.items() if value is not None]
    return pl.all_horizontal(*tests) if tests else pl.lit(value=True)


def _path(repo: Path, kind: str) -> Path:
    directory: str = MONITORING_DIR
    return repo / directory / str(monitoring_parquet_meta(kind)[0])


def _schema(kind: str) -> dict[str, pl.DataType]:
    return {name: _DTYPES.get(name, pl.String()) for name in monitoring_parquet_meta(kind)[1]}


def _read(path: Path, kind: str) -> pl.DataFrame:
    """Return the rows of a table, including those written by Feast's other stores."""
    if not path.exists():
        return pl.DataFrame(schema=_schema(kind))
    found = pl.read_parquet(path)
    return found.select(pl.col(name).cast(dtype, strict=False) for name, dtype in _schema(kind).items())


def _replace(path: Path, rows: pl.DataFrame) -> None:
    draft = path.with_name(f".{path.name}.draft")
    rows.write_parquet(draft)
    draft.replace(path)


def _as_text(histogram: Any) -> str | None:
    return histogram if histogram is None or isinstance(histogram, str) else json.dumps(histogram)


def _cell(dtype: pl.DataType, value: Any) -> Any:
    """Convert a value to the column's type; times may be the text that Feast's queries return."""
    if not isinstance(value, str) or not dtype.is_temporal():
        return value
    return date.fromisoformat(value) if dtype == pl.Date() else datetime.fromisoformat(value)


@contextmanager
def _write_lock(path: Path) -> Iterator[None]:
    """Hold the writers' lock. The kernel releases it when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
