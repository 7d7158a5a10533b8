"""Makes `year_old`: a training set of November 2025, its feature tables, and the plant file as it has become since.

python -m tests.cases.training_sets.make_year_old

The set has the default features, those of two views. Since then one view has been renamed, one removed and one added, a
ttl has changed, and an asset has been scrapped.
"""

from __future__ import annotations

import math
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import write_deltalake

from features.tables.feature_table import FeatureTable, table_path, table_schema
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from tests.commands import record_of
from tests.features.delta_commits import set_commit_times

HERE: Final = Path(__file__).parent / "year_old"
NOON: Final = datetime(2025, 11, 30, 12, tzinfo=UTC)

THEN: Final = """[site]
name = "c"
state = "state"

[classes.m.points]
temp = { kind = "process", unit = "degC", max_staleness = "10m" }
run = { kind = "state", states = { off = 0, on = 1 }, max_staleness = "10m" }

[classes.m.features]
slow = { window = "10m", points = ["temp"], ttl = "1h" }
st = { window = "10m", points = ["run"] }
hot = { window = "10m", points = ["temp"], ttl = "1h" }

[assets.x1]
class = "m"

[assets.x2]
class = "m"

[archives.h]
driver = "files"
path = "h/*.parquet"
layout = "long"
tags = "tags.csv"
"""
NOW: Final = (
    THEN.replace("slow = {", "slower = {")
    .replace('st = { window = "10m", points = ["run"] }\n', 'new = { window = "20m", points = ["temp"] }\n')
    .replace('hot = { window = "10m", points = ["temp"], ttl = "1h" }', 'hot = { window = "10m", points = ["temp"] }')
    .replace('[assets.x2]\nclass = "m"\n\n', "")
)
TAGS: Final = "tag,asset,point,address\nx1.temp,x1,temp,x1.temp\nx1.run,x1,run,x1.run\nx2.temp,x2,temp,x2.temp\n"
RULE: Final = """events = "failures.csv"
target = { kind = "horizon", failures = ["bearing"], horizon = "30m" }
times = { view = "m_slow" }
"""
EVENTS: Final = (
    "asset,kind,happened_at\nx1,bearing,2025-11-30T14:00:00Z\nx2,bearing,2025-11-30T15:00:00Z\n"
    "x2,bearing,2199-01-01T00:00:00Z\n"
)


def main() -> None:
    """Replace the directory."""
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    (HERE / "plant.toml").write_text(THEN)
    (HERE / "tags.csv").write_text(TAGS)
    (HERE / "rule.toml").write_text(RULE)
    (HERE / "failures.csv").write_text(EVENTS)
    plant = load_plant(HERE)
    for view in plant.views:
        _add_rows(plant, view)
    environment = {"PENSTOCK_PLANT": str(HERE)}
    record_of("apply", **environment)
    record_of("training-set", str(HERE / "rule.toml"), "--out", str(HERE / "set"), **environment)
    shutil.rmtree(HERE / "state" / "feast")
    for file in ("state/online.db", "rule.toml", "failures.csv", "set/report.html"):
        (HERE / file).unlink(missing_ok=True)
    (HERE / "plant.toml").write_text(NOW)
    (HERE / "tags.csv").write_text("".join(TAGS.splitlines(keepends=True)[:3]))


def _add_rows(plant: Plant, view: str) -> None:
    """Four hours of both assets, a row every ten minutes, computed a minute after each window's end."""
    FeatureTable(plant, plant.views[view])
    schema = table_schema(plant, plant.views[view])
    rows = [
        {**_values(schema, step), "asset": asset, "event_timestamp": at, "created_timestamp": at + timedelta(minutes=1)}
        for asset in ("x1", "x2")
        for step, at in ((step, NOON + step * timedelta(minutes=10)) for step in range(24))
    ]
    path = table_path(plant, view)
    write_deltalake(path, pl.DataFrame(rows, schema=schema), mode="append")
    set_commit_times(path, {0: NOON, 1: NOON + timedelta(hours=4)})
    for commit in (path / "_delta_log").glob("*.json"):  # delta-rs writes the directory of this machine into it
        commit.write_text(commit.read_text().replace(HERE.as_uri(), "file:///plant"))


def _values(schema: pl.Schema, step: int) -> dict[str, object]:
    """Values that differ from row to row, but for texts and flags."""
    kinds: dict[pl.DataType, object] = {pl.Boolean(): True, pl.Int64(): step, pl.String(): None}
    return {name: kinds.get(dtype, round(math.sin(step / 3), 6)) for name, dtype in schema.items()}


if __name__ == "__main__":
    main()
