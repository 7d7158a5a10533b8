"""`penstock drift` on the data of a training set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from historian.errors import HistorianError

RMS = "compressor_vibration:de_h_rms_ac"


def test_the_drift_of_an_artefact_is_that_of_its_data(history: Path, penstock: Callable[..., Any]) -> None:
    """Its labels, in the same directory, may be Parquet too."""
    times = pl.Series(["2026-03-01T00:01:00Z"] * 9).str.to_datetime(time_zone="UTC")
    pl.DataFrame({"asset": "c101", "event_timestamp": times}).write_parquet(history / "labels.parquet")
    for as_format in ("parquet", "csv"):
        penstock("training-set", history / "labels.parquet", "--out", history / "set", "-f", RMS, "--format", as_format)
        report = penstock("drift", history / "set", "--since", "2027-01-01T00:00:00Z", "--json")
        assert [each["training"] for each in report["features"]] == [9]


def test_drift_of_a_feature_without_rows_is_reported(history: Path, penstock: Callable[..., Any]) -> None:
    """`apply` has registered the feature and `compute` has not run yet."""
    pl.DataFrame({"compressor_vibration__de_h_rms_ac": [1.0]}).write_parquet(history / "set.parquet")
    (table,) = history.rglob("compressor_vibration/_delta_log")
    rows = pl.read_delta(str(table.parent)).drop("de_h_rms_ac")
    rows.write_delta(table.parent, mode="overwrite", delta_write_options={"schema_mode": "overwrite"})
    with pytest.raises(HistorianError, match="the rows of compressor_vibration have no de_h_rms_ac yet; run penstock"):
        penstock("drift", history / "set.parquet", "--since", "2026-03-01T00:00:00Z")
