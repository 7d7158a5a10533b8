"""`penstock compute`: from the embedded store to feature tables, with output as text and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from features.cli.compute import compute
from features.cli.options import EngineName
from features.tables.feature_table import FeatureTable
from historian.errors import InvalidInput
from historian.plant.plant import Plant
from tests.features.stretches import write_plant

START = datetime(2026, 3, 1, tzinfo=UTC)


def write_seconds(plant: Plant, tag: str, seconds: int, *, rate: int) -> None:
    """A steady signal from START."""
    step = timedelta(seconds=1) / rate
    times = pl.datetime_range(START, START + seconds * timedelta(seconds=1) - step, step, time_unit="us", eager=True)
    values = (pl.int_range(len(times), eager=True) % 7).cast(pl.Float64)
    rows = pl.DataFrame({"tag": tag, "timestamp": times, "value": values})
    write_plant(plant, rows, now=START)


def test_counts_rows_windows_and_views(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object has totals and the same counts per view; a second run finds nothing to do."""
    write_seconds(plant, "c101.de_h", 3, rate=1000)
    write_seconds(plant, "p201.flow", 3600, rate=1)
    for rows in (3 + 59, 0):
        compute(plant.root, as_json=True)
        found = json.loads(capsys.readouterr().out)
        assert found["feature_rows"] == sum(view["feature_rows"] for view in found["views"].values()) == rows
        assert found["views"].keys() == {"compressor_vibration", "compressor_process", "pump_process"}
    assert FeatureTable(plant, plant.views["compressor_vibration"]).scan().collect()["asset"].to_list() == ["c101"] * 3


def test_computes_only_the_requested_views(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """The text output says what was done."""
    write_seconds(plant, "c101.de_h", 3, rate=1000)
    compute(plant.root, ["compressor_vibration"])
    first, last = capsys.readouterr().out.splitlines()
    assert first == "compressor_vibration: 3 new rows; 3 windows computed, 0 of them not valid"
    assert last.startswith("in ")


def test_a_dry_run_says_what_is_due_and_computes_nothing(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists per view and asset, as JSON and as text."""
    write_seconds(plant, "c101.de_h", 3, rate=1000)
    compute(plant.root, ["compressor_vibration"], dry_run=True, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 3000
    assert found["views"]["compressor_vibration"]["assets"]["c101"] == {
        "partitions": 1,
        "after": "2026-02-28T23:59:59.999499Z",  # a stretch may replace what is half a period before it
        "until": "2026-03-01T00:00:04Z",
        "windows": 4,
        "samples": 3000,
    }
    compute(plant.root, ["compressor_vibration"], dry_run=True)
    assert "c101: about 4 windows and 3000 samples in 1 partitions" in capsys.readouterr().out
    assert FeatureTable(plant, plant.views["compressor_vibration"]).scan().collect().is_empty()
    compute(plant.root, ["compressor_vibration"])
    capsys.readouterr()
    compute(plant.root, ["compressor_vibration"], dry_run=True)
    assert capsys.readouterr().out == "compressor_vibration: nothing is due\n"


def test_an_amount_of_memory_has_a_unit(plant: Plant) -> None:
    """A number without a unit is refused, as 2 could mean bytes."""
    with pytest.raises(InvalidInput, match="'2' is not an amount of memory; write 512MiB or 2GiB"):
        compute(plant.root, memory="2")


def test_on_a_cluster_jobs_are_refused(plant: Plant) -> None:
    """The cluster's nodes decide how much runs at once; an option is never ignored silently."""
    with pytest.raises(InvalidInput, match="leave out --jobs"):
        compute(plant.root, jobs=2, engine=EngineName.ray)


@pytest.mark.parametrize(
    "options",
    [{"jobs": 2}, {"engine": EngineName.ray}, {"stale": True}, {"dry_run": True}],
    ids=lambda options: next(iter(options)),
)
def test_follow_refuses_options_it_does_not_support(plant: Plant, options: dict[str, Any]) -> None:
    """The error says what to do instead, before anything is opened."""
    with pytest.raises(InvalidInput, match=r"--follow .* run penstock compute with them first"):
        compute(plant.root, follow=True, **options)
