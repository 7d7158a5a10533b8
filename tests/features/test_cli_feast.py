"""The commands apply, materialize, training-set and online, as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from historian.cli import app
from historian.errors import HistorianError
from historian.plant import Plant

RMS = "compressor_vibration:de_h_rms_ac"


@pytest.fixture
def penstock(plant: Plant) -> Callable[..., Any]:
    """Runs a command on the plant; its standard output, as JSON where that was asked for."""

    def run(*arguments: str) -> Any:
        done = CliRunner(env={"PENSTOCK_PLANT": str(plant.root)}).invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


def test_from_registered_features_to_a_training_set_and_a_lookup(
    tmp_path: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """The four commands in the order of a working day; with --json nothing else is on standard output."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.5), ("c101", 10, 11, 2.5))
    assert penstock("apply", "--json")["services"] == ["compressor", "pump"]
    materialized = penstock("materialize", "--end", "2026-03-01T00:00:10Z", "--json")
    assert materialized == {
        "views": ["compressor_vibration"],
        "without_rows": ["compressor_process", "pump_process"],
        "end": "2026-03-01T00:00:10Z",
    }
    labels, out = tmp_path / "labels.csv", tmp_path / "set.parquet"
    labels.write_text("asset,event_timestamp,rul\nc101,2026-03-01T00:00:05Z,3\nc102,2026-03-01T00:00:05Z,4\n")
    made = penstock("training-set", str(labels), "--out", str(out), "--feature", RMS, "--json")
    assert made == {
        "training_rows": 2,
        "features": [RMS],
        "null_rate": 0.5,
        "null_rates": {RMS: 0.5},
        "known_then": False,
        "out": str(out),
    }
    assert pl.read_parquet(out).drop("event_timestamp").rows() == [("c101", 3, 1.5), ("c102", 4, None)]
    assert penstock("online", "c101", "--feature", RMS, "--json") == {
        "asset": "c101",
        "features": {RMS: {"value": 2.5, "status": "PRESENT", "event_timestamp": "2026-03-01T00:00:10Z"}},
    }


def test_answers_can_be_read(tmp_path: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]) -> None:
    """One line a command; one line a feature, with unit and age, or `missing`."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    add_rows("compressor_process", ("c101", 10, 11, 60.0))
    assert penstock("apply").startswith("north_works: registered compressor_vibration, ")
    assert "no rows yet for pump_process: run penstock compute" in penstock("materialize")
    labels, out = tmp_path / "labels.csv", tmp_path / "set.csv"
    labels.write_text("asset,event_timestamp\nc101,2026-03-01T00:00:15Z\n")
    made = penstock("training-set", str(labels), "-o", str(out), "-f", RMS, "--known-then")
    assert made == f"{out}: 1 rows, 1 features, 0.0% of their values missing\n"
    lines = {line.split()[0]: line.split()[1:] for line in penstock("online", "c101").splitlines()}
    assert lines[RMS][:2] == ["2.5", "g"]
    assert (lines[RMS][-2:], lines["compressor_vibration:de_h_crest"][0]) == (["s", "old"], "2.5")
    assert lines["compressor_process:oil_temp_mean"][0] == "missing"
    assert lines["compressor_process:oil_temp_mean"][-1] == "expired"
    assert penstock("online", "c102", "-f", RMS).split() == [RMS, "missing"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["online", "c101"], "run penstock apply"),
        (["online", "c1o1"], "unknown asset 'c1o1'; did you mean c101"),
        (["materialize", "--end", "yesterday"], "'yesterday' is not a time"),
        (["training-set", "labels.csv", "--out", "set.xlsx"], "has no known suffix"),
        (["training-set", "nowhere.csv", "--out", "set.csv"], "there is no label file nowhere.csv"),
    ],
)
def test_mistakes_end_with_advice(penstock: Callable[..., Any], arguments: list[str], told: str) -> None:
    """Before anything has been applied."""
    with pytest.raises(HistorianError) as raised:
        penstock(*arguments)
    assert told in str(raised.value)
