"""`penstock verify-features` prints nothing while everything agrees, and names every difference."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from deltalake import DeltaTable

from features.cli import feast as cli_feast
from features.cli.compute import compute
from features.cli.verify import verify_features
from features.compute.verify import Verdict
from features.compute.verify_views import compare_online
from features.feast.online.feast_bytes import entity_keys
from features.feast.online.materialize import newest_writer
from features.feast.registry.feast_repo import open_feature_store
from features.tables.feature_table import FeatureTable, table_path
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.times import utc_now
from tests.features.stretches import write_plant

START = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NAME = "compressor_vibration"


def write(plant: Plant, tag: str, first: int, last: int, *, seed: int = 0) -> None:
    """Noise from second to second."""
    step = np.arange(first * 1000, last * 1000)
    times = (pl.Series(step, dtype=pl.Int64) * 1000 + int(START.timestamp() * 1e6)).cast(pl.Datetime("us", "UTC"))
    rows = pl.DataFrame({"tag": tag, "timestamp": times, "value": np.sin(step * step + seed)})
    write_plant(plant, rows, now=START)


@pytest.fixture
def served(plant: Plant) -> Plant:
    """Twenty windows of two assets, stored and online."""
    for tag in ("c101.de_h", "c102.de_h"):
        write(plant, tag, 0, 20)
    compute(plant.root, as_json=True)
    cli_feast.apply(plant.root, as_json=True)
    cli_feast.materialize(plant.root, as_json=True)
    return plant


def lose(plant: Plant, *assets: str) -> None:
    """Deletes assets from the online store directly."""
    with sqlite3.connect(open_feature_store(plant).config.online_store.path) as online:
        [(rows,)] = online.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ?", (f"%{NAME}%",)
        ).fetchall()
        for key in entity_keys("asset", assets):
            online.execute(f'DELETE FROM "{rows}" WHERE entity_key = ?', (key,))  # noqa: S608 (our own table's name)
    online.close()


@pytest.fixture
def verdict(capsys: pytest.CaptureFixture[str]) -> Callable[[Plant], tuple[bool, dict[str, Any]]]:
    """Runs the command; whether it succeeded, and its result for the vibration view."""

    def run(plant: Plant) -> tuple[bool, dict[str, Any]]:
        capsys.readouterr()
        content = True
        try:
            verify_features(plant.root, [NAME], rows=200, seed=1, as_json=True)
        except typer.Exit as end:
            content = end.exit_code == 0
        return content, json.loads(capsys.readouterr().out)["views"][NAME]

    return run


def test_what_was_computed_and_materialised_agrees(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]
) -> None:
    """Every row and both online assets are checked."""
    content, found = verdict(served)
    assert content
    assert (found["match"], found["online"], found["differences"]) == (40, 2, [])


def test_a_value_that_was_tampered_with_is_found(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]
) -> None:
    """It is reported with asset, time, column and both values, in the table and, for the newest row, online."""
    DeltaTable(table_path(served, NAME)).update(
        updates={"de_h_mean": "99.0"}, predicate="asset = 'c101' AND event_timestamp = '2026-03-01T00:00:20Z'"
    )
    content, found = verdict(served)
    assert not content
    assert (found["match"], found["mismatch"], found["online"], found["online_mismatch"]) == (39, 1, 1, 1)
    in_table, online = found["differences"]
    where = {"asset": "c101", "event_timestamp": "2026-03-01T00:00:20Z", "column": "de_h_mean"}
    assert in_table == {"where": "table", **where, "found": 99.0, "expected": online["found"]}
    assert online["expected"] == 99.0


def test_rows_that_are_gone_or_came_from_nowhere_are_counted(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]
) -> None:
    """Extra: the samples give it, the table lacks it. Missing: the other way round."""
    table = FeatureTable(served, served.views[NAME])
    row = table.scan().filter(asset="c101").sort("event_timestamp").collect()[:1].drop("created_timestamp")
    table.append(row.with_columns(pl.col("event_timestamp") + SECOND / 2), now=START)
    DeltaTable(table.path).delete("asset = 'c102' AND event_timestamp = '2026-03-01T00:00:07Z'")
    content, found = verdict(served)
    assert not content
    assert (found["match"], found["missing"], found["extra"]) == (39, 1, 1)


def test_windows_that_are_due_are_left_out(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]
) -> None:
    """A correction that compute has not processed yet is no difference."""
    write(served, "c101.de_h", 5, 6, seed=1)
    content, found = verdict(served)
    assert content
    # What lies within a minute is computed together; the window that ends at 5 s might have lost a sample.
    assert (found["left_out"], found["match"]) == (16, 24)


def test_the_last_bits_may_differ(served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]) -> None:
    """Another processor may add in another order; a change in the tenth digit is accepted."""
    at = "asset = 'c101' AND event_timestamp = '2026-03-01T00:00:07Z'"
    DeltaTable(table_path(served, NAME)).update({"de_h_rms_ac": "de_h_rms_ac * (1 + 1e-12)"}, predicate=at)
    assert verdict(served)[0]
    DeltaTable(table_path(served, NAME)).update({"de_h_rms_ac": "de_h_rms_ac * (1 + 1e-8)"}, predicate=at)
    assert not verdict(served)[0]


def test_rows_of_another_machine_are_left_out(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]
) -> None:
    """Rows of a point that has another tag now are stale, not wrong, until `penstock compute --stale` has run."""
    tags = served.root / "tags.csv"
    tags.write_text(tags.read_text(encoding="utf-8").replace("c101.de_h,", "c101.de_x,"), encoding="utf-8")
    write(load_plant(served.root), "c101.de_x", 0, 20, seed=1)
    content, found = verdict(load_plant(served.root))
    assert content
    assert (found["left_out"], found["match"]) == (20, 20)
    compute(served.root, stale=True, as_json=True)
    content, found = verdict(load_plant(served.root))
    assert (found["left_out"], found["match"]) == (0, 40)


def test_an_empty_table_is_right(plant: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]) -> None:
    """There are no rows to differ."""
    content, found = verdict(plant)
    assert (content, found["match"]) == (True, 0)


def test_an_asset_that_is_no_longer_online_is_missing(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is counted and named, as JSON and as text, with what to do; also when every asset is missing."""
    lose(served, "c101")
    content, found = verdict(served)
    assert not content
    assert (found["online"], found["online_missing"], found["online_behind"]) == (1, 1, 0)
    newest = "2026-03-01T00:00:20Z"
    where = {"where": "online", "asset": "c101", "event_timestamp": newest, "column": "event_timestamp"}
    assert found["differences"] == [{**where, "found": None, "expected": newest}]

    lose(served, "c102")
    with pytest.raises(typer.Exit):
        verify_features(served.root, [NAME], seed=1)
    counts, first, second = capsys.readouterr().out.splitlines()
    assert counts.endswith("online 0 match, 0 mismatch, 2 missing, 0 behind: run penstock materialize --full")
    assert first.endswith("event_timestamp: None, stored: 2026-03-01 00:00:20.000000Z")
    assert "c102" in second

    cli_feast.materialize(served.root, full=True, as_json=True)
    assert verdict(served)[0]


def test_an_asset_whose_newest_row_is_not_online_is_behind(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The online value is right for its own time, but it is not the newest."""
    lose(served, "c101")
    old = FeatureTable(served, served.views[NAME]).scan().filter(asset="c101", event_timestamp=START + 7 * SECOND)
    store = open_feature_store(served)
    newest_writer(store, store.get_feature_view(NAME))(old.collect())
    content, found = verdict(served)
    assert not content
    assert (found["online"], found["online_mismatch"], found["online_missing"]) == (1, 0, 0)
    assert found["online_behind"] == 1
    [difference] = found["differences"]
    assert (difference["asset"], difference["found"], difference["expected"]) == (
        "c101",
        "2026-03-01T00:00:07Z",
        "2026-03-01T00:00:20Z",
    )

    with pytest.raises(typer.Exit):
        verify_features(served.root, [NAME], seed=1)
    assert "1 match, 0 mismatch, 0 missing, 1 behind: run penstock materialize --full\n" in capsys.readouterr().out
    cli_feast.materialize(served.root, full=True, as_json=True)
    assert verdict(served)[0]


def test_what_was_computed_after_the_last_materialisation_is_behind(
    served: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]]
) -> None:
    """A materialisation that has stopped is reported until the next one has run."""
    write(served, "c101.de_h", 20, 25)
    compute(served.root, as_json=True)
    content, found = verdict(served)
    assert not content
    assert (found["online"], found["online_behind"]) == (1, 1)
    cli_feast.materialize(served.root, as_json=True)
    content, found = verdict(served)
    assert (content, found["online"]) == (True, 2)


def test_only_rows_that_could_be_served_must_be_online(served: Plant) -> None:
    """Rows within the ttl count, both ends included; rows of the future or made since are left out."""
    table, now = FeatureTable(served, served.views[NAME]), utc_now()
    age = now - (START + 20 * SECOND)

    def missing(ttl: timedelta | None, at: datetime) -> int:
        found = Verdict(materialised=True)
        compare_online(found, table, {"c101": (None, {}), "c102": (None, {}), "c103": (None, {})}, ttl=ttl, now=at)
        return found.online_missing

    assert [missing(ttl, now) for ttl in (None, age, age - SECOND)] == [2, 2, 0]
    assert missing(None, START + 60 * SECOND) == 0


def test_a_plant_that_was_never_materialised_is_reported(
    plant: Plant, verdict: Callable[[Plant], tuple[bool, dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence says so, and JSON has the count: training sets alone need nothing online."""
    write(plant, "c101.de_h", 0, 20)
    compute(plant.root, as_json=True)
    capsys.readouterr()
    verify_features(plant.root, [NAME], seed=1)
    before = capsys.readouterr().out
    cli_feast.apply(plant.root, as_json=True)
    capsys.readouterr()
    verify_features(plant.root, [NAME], seed=1)
    assert capsys.readouterr().out == before
    assert before.endswith("0 left out; nothing is online yet: penstock materialize writes it there\n")
    content, found = verdict(plant)
    assert (content, found["materialised"], found["online_missing"], found["differences"]) == (True, False, 1, [])
