"""A feature table as it was at an instant: by its versions, or by created timestamps where these are gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, Schema, write_deltalake
from feast import FeatureStore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.feast.offline.join_executor import LOCAL
from features.tables.feature_table import table_path
from features.training.commit_times import version_at
from features.training.join import feature_values
from features.training.pinned import PinnedTable, TableSource, as_of_warnings, pin, source_of
from features.training.plan import Feature, Plan, resolve
from features.training.training_set import training_set
from historian.plant.plant import Plant
from tests.features.delta_commits import commit_file, set_commit_times

START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")
SCHEMA = pl.Schema(
    {"asset": pl.String(), "event_timestamp": INSTANT, "created_timestamp": INSTANT, "value": pl.Float64()}
)
VIEW = "compressor_vibration"
RMS = f"{VIEW}:de_h_rms_ac"


def at(seconds: float) -> datetime:
    """An instant in seconds after START."""
    return START + timedelta(seconds=seconds)


def labelled(*rows: tuple[str, float]) -> pl.DataFrame:
    """Labels: asset, seconds after START."""
    data = [(asset, at(seconds)) for asset, seconds in rows]
    return pl.DataFrame(data, schema=["asset", "event_timestamp"], schema_overrides=SCHEMA, orient="row")


@pytest.fixture
def path(plant: Plant) -> Path:
    """The path of the feature table; its version 0 is empty."""
    return table_path(plant, VIEW)


@pytest.fixture
def held(store: FeatureStore) -> Callable[..., PinnedTable]:
    """The table as of the given seconds after START."""

    def pinned(seconds: float) -> PinnedTable:
        return pin(source_of(store.get_feature_view(VIEW)), as_of=at(seconds))

    return pinned


def values(table: PinnedTable) -> list[float | None]:
    """The table's values of c101, in order of time."""
    rows = table.rows(["de_h_rms_ac"]).filter(asset="c101")
    return rows.sort("event_timestamp", "created_timestamp").collect()["de_h_rms_ac"].to_list()


def test_a_row_withdrawn_since_was_known_until_it_was_withdrawn(
    store: FeatureStore, path: Path, add_rows: Callable[..., None]
) -> None:
    """This is exact to the millisecond, and the other values of that time are kept."""
    add_rows(VIEW, ("c101", 0, 1, 1.0), ("c101", 10, 11, 2.0), ("c101", 20, 21, 3.0))
    DeltaTable(path).delete(f"event_timestamp = '{at(10).isoformat()}'")
    set_commit_times(path, {0: at(0), 1: at(30), 2: at(100)})
    labels = labelled(("c101", 5), ("c101", 15), ("c101", 25))
    found = {
        seconds: training_set(labels, resolve(store, [RMS], as_of=at(seconds) if seconds else None))[2]
        for seconds in (0, 29.999999, 30, 99.999999, 100, 1000)
    }
    with_it, without = [1.0, 2.0, 3.0], [1.0, 1.0, 3.0]
    assert {seconds: column.to_pylist() for seconds, column in found.items()} == {
        0: without,
        29.999999: [None, None, None],  # computed, but nobody could have read it yet
        30: with_it,
        99.999999: with_it,
        100: without,
        1000: without,
    }


def test_a_value_written_over_was_known_until_then(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """This holds even if the row has an earlier created timestamp."""
    add_rows(VIEW, ("c101", 0, 1, 1.0))
    write_deltalake(path, pl.read_delta(str(path)).with_columns(de_h_rms_ac=pl.lit(9.0)), mode="overwrite")
    DeltaTable(path).restore(1)
    set_commit_times(path, {0: at(0), 1: at(10), 2: at(20), 3: at(30)})
    found = {seconds: (held(seconds).version.number, values(held(seconds))) for seconds in (5, 10, 20, 30)}
    assert found == {5: (0, []), 10: (1, [1.0]), 20: (2, [9.0]), 30: (3, [1.0])}


def test_what_was_created_later_is_left_out_whatever_the_version_says(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """A late correction is in a commit whose clock was behind."""
    add_rows(VIEW, ("c101", 0, 1, 1.0), ("c101", 0, 60, 9.0))
    set_commit_times(path, {0: at(0), 1: at(10)})
    assert {seconds: values(held(seconds)) for seconds in (59.999999, 60)} == {
        59.999999: [1.0],
        60: [1.0, 9.0],
    }


def test_a_vacuumed_version_is_replaced_by_created_timestamps(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """A warning says that withdrawn rows are missing."""
    add_rows(VIEW, ("c101", 0, 1, 1.0), ("c101", 10, 11, 2.0))
    add_rows(VIEW, ("c101", 20, 200, 3.0))
    DeltaTable(path).delete(f"event_timestamp = '{at(10).isoformat()}'")
    set_commit_times(path, {0: at(0), 1: at(30), 2: at(200), 3: at(300)})
    before = held(250)
    assert (before.version.as_of, values(before)) == ("committed", [1.0, 2.0, 3.0])
    DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    set_commit_times(path, {4: at(400), 5: at(400)})  # a vacuum commits when it starts and when it ends
    after = held(100)
    assert (after.version.as_of, after.version.number, values(after)) == ("vacuumed", 5, [1.0])
    assert not after.stand_in
    assert as_of_warnings({VIEW: after.version.as_of, "other": "committed", "third": None}) == [
        "compressor_vibration: the table's version of as_of has been vacuumed; only created timestamps say what "
        "existed then, and rows withdrawn since are missing"
    ]


def test_a_log_that_was_cleaned_up_is_reported(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """Delta deletes its commits after a month."""
    add_rows(VIEW, ("c101", 0, 1, 1.0))
    add_rows(VIEW, ("c101", 20, 200, 3.0))
    set_commit_times(path, {0: at(0), 1: at(30), 2: at(200)})
    DeltaTable(path).create_checkpoint()
    for version in (0, 1):
        commit_file(path, version).unlink()
    found = {seconds: (held(seconds).version.as_of, values(held(seconds))) for seconds in (100, 200)}
    assert found == {100: ("vacuumed", [1.0]), 200: ("committed", [1.0, 3.0])}


def test_before_the_first_version_created_timestamps_are_used(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """A table copied from elsewhere has rows that are older than its first commit."""
    add_rows(VIEW, ("c101", 0, 1, 1.0), ("c101", 10, 11, 2.0))
    set_commit_times(path, {0: at(100), 1: at(110)})
    young = held(5)
    assert (young.version.as_of, young.version.number, values(young)) == ("predates", 1, [1.0])
    assert "first version was committed after as_of" in as_of_warnings({VIEW: young.version.as_of})[0]


def test_compaction_neither_loses_nor_doubles_rows(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """Before it the small files are read, from it on the joined one, and after a vacuum that one for all."""
    for second in (0, 10, 20):
        add_rows(VIEW, ("c101", second, second + 1, float(second)))
    DeltaTable(path).optimize.compact()
    set_commit_times(path, {0: at(0), 1: at(1), 2: at(11), 3: at(21), 4: at(100)})
    expected = {15: [0.0, 10.0], 99: [0.0, 10.0, 20.0], 100: [0.0, 10.0, 20.0], 200: [0.0, 10.0, 20.0]}
    assert {seconds: values(held(seconds)) for seconds in expected} == expected
    assert [held(seconds).version.number for seconds in expected] == [2, 3, 4, 4]
    DeltaTable(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert {seconds: values(held(seconds)) for seconds in expected} == expected
    assert [held(seconds).version.as_of for seconds in expected] == ["vacuumed", "vacuumed", "committed", "committed"]


def test_a_feature_added_to_the_table_later_was_not_known(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """It is null, with its present type."""
    add_rows(VIEW, ("c101", 0, 1, 1.0))
    DeltaTable(path).alter.add_columns(
        Schema.from_arrow(pl.DataFrame(schema={"new": pl.Int64}).to_arrow().schema).fields
    )
    set_commit_times(path, {0: at(0), 1: at(10), 2: at(20)})
    [found] = held(15).rows(["new"]).select("new").collect().get_columns()
    assert (held(15).version.number, found.dtype, found.to_list()) == (1, pl.Int64(), [None])


def test_the_times_of_files_do_not_matter(
    path: Path, held: Callable[..., PinnedTable], add_rows: Callable[..., None]
) -> None:
    """They change when the directory is copied."""
    add_rows(VIEW, ("c101", 0, 1, 1.0))
    set_commit_times(path, {0: at(0), 1: at(10)})
    for version, seconds in ((0, 500), (1, 5)):
        os.utime(commit_file(path, version), (at(seconds).timestamp(), at(seconds).timestamp()))
    assert [held(seconds).version.number for seconds in (5, 10)] == [0, 1]


def test_the_time_of_a_commit_is_in_one_of_two_places_or_missing(tmp_path: Path) -> None:
    """In-commit timestamps are used where a table has them."""
    commit_infos = ('{"timestamp": 9000, "inCommitTimestamp": 1000}', '{"timestamp": 2000}', "{}")
    (tmp_path / "_delta_log").mkdir()
    for version, about in enumerate(commit_infos):
        commit_file(tmp_path, version).write_text(f'{{"commitInfo": {about}}}\n{{"add": {{}}}}\n')
    commit_file(tmp_path, 3).write_text('{"add": {}}\n')
    commit_file(tmp_path, 4).write_text("")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    found = [version_at(tmp_path, epoch + timedelta(milliseconds=at)) for at in (999, 1000, 1999, 2000, 9999)]
    assert found == [None, 0, 0, 1, 1]


SECONDS = st.integers(0, 9)
ROWS = st.lists(st.tuples(st.sampled_from("ab"), SECONDS, SECONDS), min_size=1, max_size=4)
CHANGES = st.one_of(
    st.tuples(st.just("append"), ROWS),
    st.tuples(st.just("append"), ROWS),
    st.tuples(st.just("delete"), SECONDS),
    st.tuples(st.just("compact"), st.none()),
)
VALUE = Feature("v:value", "v", "value", "v__value", {})
Row = tuple[str, int, float, float]
"""Asset, event and created timestamp in seconds after START, value."""


def changed(path: Path, rows: list[Row], change: tuple[str, object], number: int) -> list[Row]:
    """Commits a change to the table; returns its rows after that. No two rows have the same created timestamp."""
    kind, what = change
    if kind == "append" and isinstance(what, list):
        fresh = [(*row[:2], row[2] + (number + place) / 100, float(number + place)) for place, row in enumerate(what)]
        data = [(asset, at(event), at(created), value) for asset, event, created, value in fresh]
        write_deltalake(path, pl.DataFrame(data, schema=SCHEMA, orient="row"), mode="append")
        return rows + fresh
    if kind == "delete" and isinstance(what, int):
        DeltaTable(path).delete(f"event_timestamp = '{at(what).isoformat()}'")
        return [row for row in rows if row[1] != what]
    DeltaTable(path).optimize.compact()
    return rows


def known(rows: list[Row], asset: str, second: int, as_of: float, *, then: bool) -> float | None:
    """The value of the newest row created by `as_of` and, with `then`, by the label's own time."""
    until = min(as_of, second) if then else as_of
    seen = [row for row in rows if row[0] == asset and row[1] <= second and row[2] <= until]
    return max(seen, key=lambda row: row[1:3])[3] if seen else None


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(CHANGES, min_size=1, max_size=6),
    first=ROWS,
    clock=st.lists(SECONDS, min_size=7, max_size=7),
    then=st.booleans(),
)
def test_any_history_gives_what_was_there_at_any_time(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    changes: list[tuple[str, object]],
    first: list[tuple[str, int, int]],
    clock: list[int],
    then: bool,
) -> None:
    """Rows are appended, withdrawn and compacted, and the committing clock may be set back; compared by brute force."""
    path = tmp_path_factory.mktemp("table")
    states: dict[int, list[Row]] = {}
    rows: list[Row] = []
    for number, change in enumerate([("append", first), *changes]):
        rows = changed(path, rows, change, 4 * number)
        states.setdefault(DeltaTable(path).version(), rows)  # what changes nothing is no version
    committed = dict(zip(states, clock, strict=False))
    set_commit_times(path, {version: at(second) for version, second in committed.items()})

    source = TableSource("v", str(path), None, timedelta(seconds=1))
    keys = [(asset, second) for asset in "ab" for second in range(10)]
    labels = labelled(*keys)
    for second in range(10):
        plan = Plan((VALUE,), {"v": pin(source, as_of=at(second))}, then, at(second), LOCAL)
        found = feature_values(labels, plan, advance=lambda _: None)
        version = max((version for version, when in committed.items() if when <= second), default=max(committed))
        expected = [known(states[version], asset, when, second, then=then) for asset, when in keys]
        assert found["v__value"].to_list() == expected
