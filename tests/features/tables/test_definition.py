"""Versions of features: a table takes newer ones, reports stale rows, and recomputes them with --stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable

from features.compute.engines.processes import in_process
from features.compute.run import ViewJob, ViewReport
from features.compute.splitting import budget
from features.define.view_plan import view_plan
from features.tables.definition import Provenance, definition_of, from_json
from features.tables.feature_table import FeatureTable, table_path, table_schema
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.waveforms.packing import unpack
from tests.features.stretches import write_plant

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=1)
SECOND = timedelta(seconds=1)
NAME = "compressor_vibration"


def write(plant: Plant, first: int, last: int) -> None:
    """Noise of c101 from second to second, always the same."""
    step = np.arange(first * 1000, last * 1000)
    times = (pl.Series(step, dtype=pl.Int64) * 1000 + int(START.timestamp() * 1e6)).cast(pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"tag": "c101.de_h", "timestamp": times, "value": np.sin(step * step)})
    write_plant(plant, rows, now=START)


def run(plant: Plant, now: datetime, *, stale: bool = False) -> ViewReport:
    """Runs the job once at that time."""
    job = ViewJob(plant, plant.views[NAME], open_store(plant), lambda: now)
    limits, engine = budget(2**30, 1), in_process(open_store(plant))
    report = job.run(job.plan(limits), engine)
    return job.run(job.plan_recompute(limits), engine).plus(report) if stale else report


def computed_by_older_versions(plant: Plant, *columns: str) -> None:
    """Rewrite the table's definition, as if these columns had been version 0 until now."""
    path = table_path(plant, NAME)
    definition = from_json(DeltaTable(path).metadata().description)
    older = Provenance(0, {**definition.features, **dict.fromkeys(columns, 0)}, definition.provenance[-1].assets)
    DeltaTable(path).alter.set_table_description(replace(definition, provenance=(older,)).to_json())


def rows(plant: Plant) -> list[tuple[int, datetime]]:
    """(second, created) of every row."""
    stored = FeatureTable(plant, plant.views[NAME]).scan().sort("event_timestamp", "created_timestamp").collect()
    return [((event - START) // SECOND, made) for event, made in stored.select(pl.nth(1), pl.nth(2)).iter_rows()]


def test_another_version_leaves_the_table_usable(plant: Plant) -> None:
    """New rows are appended, old ones stay, and stale rows are reported until they are recomputed."""
    write(plant, 0, 3)
    assert run(plant, NOW).stale_columns == []
    computed_by_older_versions(plant, "de_h_rms_ac", "de_h_crest")
    write(plant, 3, 5)
    report = run(plant, NOW + SECOND)
    # Two new ones, and the last one of before, which was looked at again.
    assert (report.feature_rows, report.stale_columns) == (3, ["de_h_crest", "de_h_rms_ac"])
    assert run(plant, NOW + 2 * SECOND).stale_columns == ["de_h_crest", "de_h_rms_ac"]


def test_stale_rows_are_recomputed_once(plant: Plant) -> None:
    """Only rows of older versions are recomputed, even if their values stay the same; then nothing is stale."""
    write(plant, 0, 3)
    run(plant, NOW)
    computed_by_older_versions(plant, "de_h_rms_ac")
    write(plant, 3, 5)
    run(plant, NOW + SECOND)
    report = run(plant, NOW + 2 * SECOND, stale=True)
    assert (report.feature_rows, report.stale_columns) == (2, [])
    first, second, third = NOW, NOW + SECOND, NOW + 2 * SECOND
    made = {1: [first, third], 2: [first, third], 3: [first, second], 4: [second], 5: [second]}
    assert rows(plant) == [(end, instant) for end, instants in made.items() for instant in instants]
    assert run(plant, NOW + 3 * SECOND, stale=True).feature_rows == 0


def test_an_interrupted_refresh_continues(plant: Plant) -> None:
    """Rows that were recomputed before are not recomputed again."""
    write(plant, 0, 4)
    run(plant, NOW)
    computed_by_older_versions(plant, "de_h_rms_ac")
    job = ViewJob(plant, plant.views[NAME], open_store(plant), lambda: NOW + SECOND)
    table = job.table
    job.plan_recompute(budget(2**30, 1))
    stored = table.scan().sort("event_timestamp").collect().drop("created_timestamp")
    table.append(stored[:2], now=NOW + SECOND)
    assert run(plant, NOW + 2 * SECOND, stale=True).feature_rows == 2


def test_rows_whose_samples_are_gone_stay(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> None:
    """They cannot be recomputed and remain stale: a retention of samples must not delete features."""
    write(plant, 0, 3)
    run(plant, NOW)
    computed_by_older_versions(plant, "de_h_rms_ac")
    emptied = replace(plant, store_url=tmp_path_factory.mktemp("other").as_uri())
    report = run(emptied, NOW + SECOND, stale=True)
    assert (report.feature_rows, report.stale_columns) == (0, ["de_h_rms_ac"])
    assert len(rows(plant)) == 3


def test_a_new_column_is_null_in_old_rows(plant: Plant) -> None:
    """The table has it once it is opened, and old rows are stale."""
    view = plant.views[NAME]
    definition = definition_of(plant, view_plan(plant, view))
    schema = table_schema(plant, view)
    del schema["de_h_kurtosis"]
    features = {name: version for name, version in definition.features.items() if name != "de_h_kurtosis"}
    older = replace(definition, provenance=(Provenance(0, features, {}),))
    arrow = schema.to_frame().to_arrow().schema
    DeltaTable.create(table_path(plant, NAME), schema=arrow, description=older.to_json())
    row = {"asset": "c101", "event_timestamp": START + SECOND, "created_timestamp": NOW}
    pl.DataFrame([row], schema).write_delta(table_path(plant, NAME), mode="append")
    assert FeatureTable(plant, view).scan().collect()["de_h_kurtosis"].to_list() == [None]
    write(plant, 0, 3)
    assert run(plant, NOW + SECOND).feature_rows == 3
    assert FeatureTable(plant, view).stale_columns == ["de_h_kurtosis"]


def test_a_column_that_is_gone_is_no_obstacle(plant: Plant) -> None:
    """The table keeps it; it is null in new rows, and readers do not see it."""
    write(plant, 0, 3)
    run(plant, NOW)
    computed_by_older_versions(plant)
    table = DeltaTable(table_path(plant, NAME))
    pl.DataFrame({"asset": ["c102"], "old": [1.0]}).write_delta(
        table_path(plant, NAME), mode="append", delta_write_options={"schema_mode": "merge"}
    )
    assert "old" not in table.schema().to_json()
    write(plant, 3, 4)
    assert run(plant, NOW + SECOND).feature_rows == 1
    assert "old" not in FeatureTable(plant, plant.views[NAME]).scan().collect().columns


def test_an_asset_with_another_tag_is_recomputed(plant: Plant) -> None:
    """If the tag list names another tag for a point, --stale recomputes rows from its samples."""
    write(plant, 0, 3)
    run(plant, NOW)
    tags = {**plant.tags, "c101.de_h": replace(plant.tags["c101.de_h"], name="c101.new")}
    moved = replace(plant, tags={tag.name: tag for tag in tags.values()})
    samples = unpack(pl.concat(open_store(plant).read_waveforms(["c101.de_h"], START, NOW)))
    write_plant(moved, samples.with_columns(pl.col("value") * 2, tag=pl.lit("c101.new")), now=START)
    unmoved = run(replace(moved, tags=plant.tags), NOW + SECOND)
    assert unmoved.stale_assets == []
    assert FeatureTable(moved, moved.views[NAME]).stale_assets == ["c101"]
    report = run(moved, NOW + 2 * SECOND, stale=True)
    assert report.stale_assets == []
    newest = FeatureTable(moved, moved.views[NAME]).scan().sort("created_timestamp").collect()
    peaks = newest.unique(["asset", "event_timestamp"], keep="last")["de_h_p2p"].to_list()
    assert min(peaks) > 2 * 1.9


def test_rows_of_an_asset_that_is_gone_stay(plant: Plant) -> None:
    """An asset removed from the plant file cannot be recomputed; the rows of others can."""
    write(plant, 0, 3)
    run(plant, NOW)
    computed_by_older_versions(plant, "de_h_rms_ac")
    others = {name: asset for name, asset in plant.assets.items() if name != "c101"}
    tags = {name: tag for name, tag in plant.tags.items() if tag.asset != "c101"}
    report = run(replace(plant, assets=others, tags=tags), NOW + SECOND, stale=True)
    assert (report.feature_rows, report.stale_columns) == (0, ["de_h_rms_ac"])
    assert len(rows(plant)) == 3
