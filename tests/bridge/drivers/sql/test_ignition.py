"""Ignition has more than samples: pruned and summarised tables, several providers, stops of scan classes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from bridge.drivers.sql.archive import SqlArchive
from historian.quality import BAD_NO_DATA
from tests.contracts.archive_sql import IGNITION_TABLES, SAMPLES_TABLE
from tests.contracts.archives import connection_of

T0 = datetime(2026, 10, 5, tzinfo=UTC)
MS = int(T0.timestamp() * 1000)
HOUR = timedelta(hours=1)


@pytest.fixture
def tables(tmp_path: Path) -> sqlite3.Connection:
    """Tables with one tag, recorded in October: every minute of the first and of the third hour."""
    (tmp_path / "plant").mkdir()
    database = sqlite3.connect(tmp_path / "plant" / "old.db")
    database.executescript(IGNITION_TABLES + SAMPLES_TABLE.format(name="sqlt_data_1_2026_10"))
    database.execute("INSERT INTO sqlth_te VALUES (1, 'line/t', 2, 1, 0, 0, NULL)")
    database.execute(f"INSERT INTO sqlth_partitions VALUES ('sqlt_data_1_2026_10', 1, {MS}, {MS + 86_400_000}, 0, 0)")
    rows = [(1, minute / 2, 192, MS + minute * 60_000) for minute in (*range(60), *range(120, 180))]
    add(database, rows)
    return database


def add(database: sqlite3.Connection, rows: Sequence[tuple[int, float, int, int]]) -> None:
    """Add samples: id, value, dataintegrity, time."""
    text = "INSERT INTO sqlt_data_1_2026_10 (tagid, floatvalue, dataintegrity, t_stamp) VALUES (?, ?, ?, ?)"
    database.executemany(text, rows)
    database.commit()


def archive(directory: Path, *addresses: str, keys: str = "") -> SqlArchive:
    """The archive with a tag for each address: t0, t1, ..."""
    table = f'driver = "sql"\nurl = "sqlite:///old.db"\nprofile = "ignition"\n{keys}'
    tags = {f"t{number}": {"address": address} for number, address in enumerate(addresses)}
    return SqlArchive(connection_of(directory, table, tags))


def read(found: SqlArchive) -> tuple[pl.DataFrame, list[str]]:
    """All samples in order, and the problems."""

    async def main() -> tuple[pl.DataFrame, list[str]]:
        pages = [page.rows.samples async for page in found.read(["t0", "t1"], T0 - HOUR, T0 + 24 * HOUR)]
        problems = list(await found.problems())
        await found.close()
        return pl.concat(pages).sort("tag", "timestamp"), problems

    return asyncio.run(main())


def test_pruned_and_summarised_tables_are_left_out(tables: sqlite3.Connection, tmp_path: Path) -> None:
    """A table that is listed twice is read once, one that was dropped is no error, and a summary is no sample."""
    tables.executescript(SAMPLES_TABLE.format(name="sqlth_1_data_60"))
    tables.execute(
        f"INSERT INTO sqlth_1_data_60 (tagid, floatvalue, dataintegrity, t_stamp) VALUES (1, 9, 192, {MS + 1})"
    )
    span = f"{MS}, {MS + 86_400_000}"
    tables.execute(f"INSERT INTO sqlth_partitions VALUES ('sqlt_data_1_2026_10', 1, {span}, 0, 0)")
    tables.execute(f"INSERT INTO sqlth_partitions VALUES ('sqlth_1_data_60', 1, {span}, 60, 0)")
    tables.execute(f"INSERT INTO sqlth_partitions VALUES ('sqlt_data_1_2026_09', 1, {span}, 0, 0)")
    tables.commit()
    rows, problems = read(archive(tmp_path, "Line/T"))
    assert (rows.height, problems) == (120, [])


def test_a_path_of_several_providers_needs_one(tables: sqlite3.Connection, tmp_path: Path) -> None:
    """Two gateways may record the same path: read together, they would be one tag."""
    tables.execute("INSERT INTO sqlth_drv VALUES (2, 'other', 'south')")
    tables.execute("INSERT INTO sqlth_scinfo VALUES (3, 'default', 2)")
    tables.execute("INSERT INTO sqlth_te VALUES (7, 'line/t', 3, 1, 0, 0, NULL)")
    add(tables, [(7, -1.0, 192, MS + 5)])
    rows, problems = read(archive(tmp_path, "line/t", "[South]line/t"))
    assert rows.select("tag", "value").rows() == [("t1", -1.0)]
    assert "the providers north and south record line/t" in problems[0]
    assert "write [north]line/t" in problems[0]


def test_a_stop_of_the_scan_class_is_marked(tables: sqlite3.Connection, tmp_path: Path) -> None:
    """Ignition records changes only: without a mark, the last value before a stop would hold through it."""
    tables.execute(f"INSERT INTO sqlth_sce VALUES (2, {MS}, {MS + 3_600_000}, 1000)")
    tables.execute(f"INSERT INTO sqlth_sce VALUES (2, {MS + 7_200_000}, {MS + 8_000_000}, 1000)")
    tables.execute(f"INSERT INTO sqlth_sce VALUES (2, {MS + 8_000_500}, {MS + 10_800_000}, 1000)")  # no stop
    tables.commit()
    assert read(archive(tmp_path, "line/t"))[0].height == 120
    rows, _ = read(archive(tmp_path, "line/t", keys='gaps = "mark"'))
    marks = rows.filter(pl.col("quality") == BAD_NO_DATA)
    assert marks.select("timestamp", "value").rows() == [(T0 + HOUR + timedelta(milliseconds=1), None)]
    assert rows.height == 121


def test_what_the_vocabulary_does_not_have_is_quarantined(tables: sqlite3.Connection, tmp_path: Path) -> None:
    """A dataintegrity that cannot be one is no quality; the row is rejected with table and reason."""
    add(tables, [(1, 5.0, 99_999, MS + 1)])

    async def main() -> list[pl.DataFrame]:
        found = archive(tmp_path, "line/t")
        pages = [page.rejected async for page in found.read(["t0"], T0, T0 + HOUR)]
        await found.close()
        return [page for page in pages if page is not None and page.height]

    [rejected] = asyncio.run(main())
    assert rejected["reason"].str.contains("kind ignition").all()
    assert rejected["timestamp"].to_list() == [T0 + timedelta(milliseconds=1)]


def test_days_of_the_tables_are_proposed_as_slices(tables: sqlite3.Connection, tmp_path: Path) -> None:
    """No slice is of a time for which there is no table."""

    async def main() -> Sequence[datetime]:
        found = archive(tmp_path, "line/t")
        starts = await found.slice_starts(T0 - 300 * 24 * HOUR, T0 + 300 * 24 * HOUR)
        await found.close()
        return starts

    assert asyncio.run(main()) == [T0, T0 + 24 * HOUR]
