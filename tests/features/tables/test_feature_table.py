"""Feature tables: rows are appended once and corrected by newer ones, and the cursor moves only with the rows."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from features.tables.feature_table import FeatureTable, table_path, table_schema
from features.tables.progress import Progress
from historian.errors import FeatureError, StoreUnavailable
from historian.plant.model import AssetClass
from historian.plant.plant import Plant, View

SECOND = timedelta(seconds=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
VIEW = View("pump_process", "pump", ("oil_temp",), "process", 60 * SECOND, 60 * SECOND, "epoch", None)


def plant(root: Path, *, unit: str = "degC") -> Plant:
    """One class with one process point."""
    pump = AssetClass.model_validate({"points": {"oil_temp": {"kind": "process", "unit": unit}}})
    return Plant("site", root, root / "state", "", {"pump": pump}, {}, {}, {}, {}, {VIEW.name: VIEW})


def rows(*cells: tuple[str, int, float | None]) -> pl.DataFrame:
    """Rows of (asset, minute, mean) with the columns of the table, without created_timestamp."""
    schema = table_schema(plant(Path()), VIEW)
    events = [{"asset": a, "event_timestamp": START + m * 60 * SECOND, "oil_temp_mean": v} for a, m, v in cells]
    return pl.DataFrame(events, schema).drop("created_timestamp")


def contents(table: FeatureTable) -> list[tuple[str, int, float | None, datetime]]:
    """(asset, minute, mean, created), sorted."""
    stored = table.scan().sort("asset", "event_timestamp", "created_timestamp").collect()
    columns = stored.select("asset", "event_timestamp", "oil_temp_mean", "created_timestamp")
    return [(asset, (event - START) // (60 * SECOND), mean, created) for asset, event, mean, created in columns.rows()]


def test_is_created_empty_with_its_schema(tmp_path: Path) -> None:
    """It can be registered with Feast before any row exists."""
    table = FeatureTable(plant(tmp_path), VIEW)
    assert table.path == table_path(plant(tmp_path), "pump_process") == tmp_path / "state/features/pump_process"
    assert_frame_equal(table.scan().collect(), table_schema(plant(tmp_path), VIEW).to_frame())
    assert table.cursor() is None


def test_can_be_made_by_several_at_the_same_moment(tmp_path: Path) -> None:
    """`apply` and `compute` may start together on a new plant."""
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: FeatureTable(plant(tmp_path), VIEW), range(4)))
    assert {table.cursor() for table in tables} == {None}


def test_appends_rows_created_now(tmp_path: Path) -> None:
    """Every column is stored, including nulls."""
    table = FeatureTable(plant(tmp_path), VIEW)
    assert table.append(rows(("a", 1, 20.5), ("b", 1, None)), now=NOW).height == 2
    assert contents(table) == [("a", 1, 20.5, NOW), ("b", 1, None, NOW)]
    assert FeatureTable(plant(tmp_path), VIEW).scan().collect().schema == table.schema


def test_appending_twice_has_the_effect_of_once(tmp_path: Path) -> None:
    """Rows equal to the newest stored ones are left out, nulls and numbers alike; only what differs is appended."""
    table = FeatureTable(plant(tmp_path), VIEW)
    table.append(rows(("a", 1, 20.5), ("a", 2, None)), now=NOW)
    assert table.append(rows(("a", 1, 20.5), ("a", 2, None), ("a", 3, 1.0)), now=NOW + SECOND).height == 1
    assert table.append(rows(("a", 1, 20.5), ("a", 2, 7.0)), now=NOW + 2 * SECOND).height == 1
    assert contents(table) == [
        ("a", 1, 20.5, NOW),
        ("a", 2, None, NOW),
        ("a", 2, 7.0, NOW + 2 * SECOND),
        ("a", 3, 1.0, NOW + SECOND),
    ]


def test_a_row_that_changes_back_is_appended_again(tmp_path: Path) -> None:
    """A row is compared only with the newest one."""
    table = FeatureTable(plant(tmp_path), VIEW)
    for second, mean in enumerate((1.0, 2.0, 1.0)):
        table.append(rows(("a", 1, mean)), now=NOW + second * SECOND)
    assert [mean for _, _, mean, _ in contents(table)] == [1.0, 2.0, 1.0]


def test_a_correction_is_newer_although_the_clock_was_set_back(tmp_path: Path) -> None:
    """Otherwise the wrong row would be used for ever."""
    table = FeatureTable(plant(tmp_path), VIEW)
    table.append(rows(("a", 1, 1.0), ("a", 2, 1.0)), now=NOW)
    table.append(rows(("a", 1, 2.0), ("a", 3, 1.0)), now=NOW - 60 * SECOND)
    keys = rows(("a", 1, None), ("a", 3, None))
    newest = table.newest(keys).sort("event_timestamp")
    assert newest["oil_temp_mean"].to_list() == [2.0, 1.0]
    assert newest["created_timestamp"].to_list() == [NOW + timedelta(microseconds=1), NOW - 60 * SECOND]


def test_the_progress_is_written_with_the_rows(tmp_path: Path) -> None:
    """It is written even if there are no rows; a table opened later finds it."""
    table = FeatureTable(plant(tmp_path), VIEW)
    table.append(rows(("a", 1, 1.0)), now=NOW)
    assert table.cursor() is None
    table.append(rows(("a", 2, 1.0)), now=NOW, progress=Progress(START, {"a.oil": START + SECOND}))
    assert (table.cursor(), table.newest_samples()) == (START, {"a.oil": START + SECOND})
    table.append(rows(), now=NOW, progress=Progress(START + 5 * SECOND, {}))
    later = FeatureTable(plant(tmp_path), VIEW)
    assert (later.cursor(), later.newest_samples()) == (START + 5 * SECOND, {"a.oil": START + SECOND})
    table.append(rows(("a", 3, 1.0)), now=NOW)  # by the table that has just written nothing but progress
    assert contents(table) == [("a", number, 1.0, NOW) for number in (1, 2, 3)]


def test_two_writers_at_once_do_not_both_append(tmp_path: Path) -> None:
    """The later one gets an error, and nothing of its write is stored."""
    first, second = FeatureTable(plant(tmp_path), VIEW), FeatureTable(plant(tmp_path), VIEW)
    first.append(rows(("a", 1, 1.0)), now=NOW)
    with pytest.raises(StoreUnavailable, match="another penstock compute"):
        second.append(rows(("a", 1, 1.0)), now=NOW, progress=Progress(START, {}))
    assert (contents(first), FeatureTable(plant(tmp_path), VIEW).cursor()) == ([("a", 1, 1.0, NOW)], None)


def minutes(asset: str, after: int, until: int) -> pl.DataFrame:
    """A span that was recomputed."""
    times = {"after": START + after * 60 * SECOND, "until": START + until * 60 * SECOND}
    return pl.DataFrame({"asset": asset, **times}).cast(
        {"after": pl.Datetime("us", "UTC"), "until": pl.Datetime("us", "UTC")}
    )


def test_rows_missing_from_what_was_recomputed_are_withdrawn(tmp_path: Path) -> None:
    """All their versions are, but no row of another asset or outside the span; rows found again stay."""
    table = FeatureTable(plant(tmp_path), VIEW)
    table.append(rows(*(("o'b", minute, 1.0) for minute in range(6)), ("c", 3, 1.0)), now=NOW)
    table.append(rows(("o'b", 3, 2.0)), now=NOW + SECOND)
    before = contents(table)
    table.append(rows(("o'b", 2, 1.0)), now=NOW + SECOND, recomputed=minutes("o'b", 1, 4))
    assert contents(table) == [row for row in before if row[0] == "c" or row[1] not in (3, 4)]
    assert table.append(rows(("o'b", 3, 1.0)), now=NOW, recomputed=minutes("o'b", 2, 4)).height == 1


def test_nothing_is_committed_where_nothing_is_to_be_withdrawn(tmp_path: Path) -> None:
    """A recomputed span with the same rows leaves the table's version unchanged."""
    table = FeatureTable(plant(tmp_path), VIEW)
    table.append(rows(("a", 1, 1.0)), now=NOW)
    version = DeltaTable(table.path).version()
    table.append(rows(("a", 1, 1.0)), now=NOW, recomputed=minutes("a", 0, 4))
    assert DeltaTable(table.path).version() == version


def test_two_writers_at_once_do_not_both_withdraw(tmp_path: Path) -> None:
    """The later one gets an error and has deleted nothing."""
    FeatureTable(plant(tmp_path), VIEW).append(rows(("a", 1, 1.0)), now=NOW)
    first, second = FeatureTable(plant(tmp_path), VIEW), FeatureTable(plant(tmp_path), VIEW)
    first.append(rows(("a", 2, 1.0)), now=NOW)
    with pytest.raises(StoreUnavailable, match="another penstock compute"):
        second.append(rows(), now=NOW, recomputed=minutes("a", 0, 4))
    assert contents(first) == [("a", 1, 1.0, NOW), ("a", 2, 1.0, NOW)]


def test_another_definition_is_refused(tmp_path: Path) -> None:
    """Rows in bar and rows in degC must not mix; the error says how to continue."""
    FeatureTable(plant(tmp_path), VIEW)
    with pytest.raises(FeatureError, match=r"definition of pump_process: oil_temp was degC .* is K .* move or delete"):
        FeatureTable(plant(tmp_path, unit="K"), VIEW)


def test_compaction_keeps_rows_and_progress(tmp_path: Path) -> None:
    """Many small files become one; nothing else changes."""
    table = FeatureTable(plant(tmp_path), VIEW)
    for minute in range(5):
        table.append(rows(("a", minute, 1.0)), now=NOW, progress=Progress(START + minute * SECOND, {}))
    before = contents(table)
    table.compact(files=4)
    again = FeatureTable(plant(tmp_path), VIEW)
    assert again.scan().collect_schema() == table.schema
    assert (contents(again), again.cursor()) == (before, START + 4 * SECOND)
    assert again.append(rows(("a", 9, 1.0)), now=NOW).height == 1


def test_a_table_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """The error names the table and the reason, without a stack trace."""
    table = FeatureTable(plant(tmp_path), VIEW)
    shutil.rmtree(table.path)
    table.path.touch()
    for use in (lambda: table.append(rows(("a", 1, 1.0)), now=NOW), lambda: FeatureTable(plant(tmp_path), VIEW)):
        with pytest.raises(StoreUnavailable, match=r"pump_process cannot be used"):
            use()
