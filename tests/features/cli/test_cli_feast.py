"""The commands apply, materialize and online."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from historian.cli.main import app
from historian.errors import HistorianError, StoreUnavailable
from historian.plant.plant import Plant
from historian.times import utc_now

RMS = "compressor_vibration:de_h_rms_ac"


def test_from_registered_features_to_a_lookup(add_rows: Callable[..., None], penstock: Callable[..., Any]) -> None:
    """The commands run in their usual order; with --json standard output has only the result."""
    add_rows("compressor_vibration", ("c101", 0, 1, 1.5), ("c101", 10, 11, 2.5))
    assert penstock("apply", "--json")["services"] == ["compressor", "pump"]
    materialized = penstock("materialize", "--end", "2026-03-01T00:00:10Z", "--json")
    assert materialized == {
        "views": ["compressor_vibration"],
        "rows": 1,
        "without_rows": ["compressor_process", "pump_process"],
        "end": "2026-03-01T00:00:10Z",
    }
    found = penstock("online", "c101", "--feature", RMS, "--json")
    age = (utc_now() - datetime(2026, 3, 1, 0, 0, 10, tzinfo=UTC)).total_seconds()
    assert found["features"][RMS].pop("age_s") == pytest.approx(age, abs=60)
    assert found == {
        "asset": "c101",
        "features": {RMS: {"value": 2.5, "status": "PRESENT", "event_timestamp": "2026-03-01T00:00:10Z"}},
    }


def test_a_vector_in_training_order_is_one_call(
    history: Path, add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """Names, order and missing values are those of the training set; old values are missing, with the reason."""
    command = ("training-set", history / "rule.toml", "--model-columns", "--ages", "--out", history / "rows.parquet")
    penstock(*command)
    names = [name for name in pl.read_parquet_schema(history / "rows.parquet") if "__" in name]
    penstock("materialize")
    found = penstock("online", "c101", "--manifest", history / "rows.parquet", "--json")
    assert (found["columns"], len(found["values"])) == (names, len(names))
    values = dict(zip(names, found["values"], strict=True))
    assert values["compressor_vibration__de_h_rms_ac"] == 238 % 17
    missing = {name for name, value in values.items() if value is None}
    assert missing == {name for name in names if name.startswith("compressor_process__")} == {*found["missing"]}
    assert {*found["missing"].values()} == {"OUTSIDE_MAX_AGE"}
    lines = penstock("online", "c101", "--manifest", history / "rows.parquet").splitlines()
    assert [line.split()[0] for line in lines] == names
    assert sum("missing (OUTSIDE_MAX_AGE)" in line for line in lines) == len(missing)


def test_what_is_to_change_is_shown_even_if_it_fails(plant: Plant, penstock: Callable[..., Any]) -> None:
    """The changes are printed although the online store is down."""
    output = penstock("apply", "--dry-run")
    with (plant.root / "plant.toml").open("a") as file:
        file.write('\n[online]\nurl = "redis://127.0.0.1:1/0"\n')
    failed = CliRunner(env={"PENSTOCK_PLANT": str(plant.root)}).invoke(app, ["apply"])
    assert isinstance(failed.exception, StoreUnavailable)
    assert failed.stdout == output


def test_the_age_of_what_is_online_is_the_age_of_the_data(
    add_rows: Callable[..., None], penstock: Callable[..., Any]
) -> None:
    """It does not depend on how often materialize runs, and covers every asset and view with data."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    add_rows("compressor_process", ("c101", 20, 21, 60.0))
    penstock("apply")
    assert penstock("online") == "nothing is online; run penstock materialize\n"
    penstock("materialize")
    penstock("materialize", "--full")
    ages = penstock("online", "--json")["ages"]
    assert [(age["asset"], age["view"], age["event_timestamp"], age["expired"]) for age in ages] == [
        ("c101", "compressor_process", "2026-03-01T00:00:20Z", True),
        ("c101", "compressor_vibration", "2026-03-01T00:00:10Z", False),
    ]
    assert penstock("online").splitlines()[0].endswith("s old, expired")


def test_apply_shows_what_it_changes(plant: Plant, penstock: Callable[..., Any]) -> None:
    """--dry-run shows the changes without making them; the next apply makes them, and a further one has none."""
    file = plant.root / "plant.toml"
    assert "add feature view compressor_process" in penstock("apply", "--dry-run")
    assert not plant.state.exists()
    penstock("apply")
    assert penstock("apply", "--dry-run") == "nothing changes\n"
    text = (
        file.read_text().replace('ttl = "5m"', 'ttl = "1h"').replace('points = ["flow"]', 'points = ["flow", "head"]')
    )
    file.write_text(text.replace("[classes.pump.features]", 'head = { kind = "process" }\n[classes.pump.features]'))
    output = penstock("apply", "--dry-run")
    assert "change feature view compressor_process\n    ttl: 5m -> 1h\n" in output
    assert "    + feature head_mean\n" in output
    changes = penstock("apply", "--json")["changes"]
    assert [(each["action"], each["kind"], each["name"]) for each in changes] == [
        ("change", "feature view", "compressor_process"),
        ("change", "feature view", "pump_process"),
        ("change", "feature service", "pump"),
    ]


def test_output_is_readable(add_rows: Callable[..., None], penstock: Callable[..., Any]) -> None:
    """Each command prints one line; each feature one line with unit and age, or `missing`."""
    add_rows("compressor_vibration", ("c101", 10, 11, 2.5))
    add_rows("compressor_process", ("c101", 10, 11, 60.0))
    assert "north_works: registered compressor_vibration, " in penstock("apply")
    assert "no rows yet for pump_process: run penstock compute" in penstock("materialize")
    lines = {line.split()[0]: line.split()[1:] for line in penstock("online", "c101").splitlines()}
    assert lines[RMS][:2] == ["2.5", "g"]
    assert (lines[RMS][-2:], lines["compressor_vibration:de_h_crest"][0]) == (["s", "old"], "2.5")
    assert lines["compressor_process:oil_temp_mean"][0] == "missing"
    assert lines["compressor_process:oil_temp_mean"][-1] == "expired"
    assert penstock("online", "c102", "-f", RMS).split() == [RMS, "missing"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["online", "c101"], "run penstock apply"),
        (["online", "c1o1"], "unknown asset 'c1o1'; did you mean c101"),
        (["online", "--manifest", "set"], "name it: penstock online ASSET --manifest"),
        (["online", "c101", "--manifest", "set", "-f", "v:f"], "leave out --feature"),
        (["materialize", "--end", "yesterday"], "'yesterday' is not a time"),
    ],
)
def test_mistakes_end_with_advice(penstock: Callable[..., Any], arguments: list[str], message: str) -> None:
    """The commands are run before any apply."""
    with pytest.raises(HistorianError) as raised:
        penstock(*arguments)
    assert message in str(raised.value)
