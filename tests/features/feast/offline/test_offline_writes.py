"""Writes to the source of a feature view are appended completely or not at all, for any kind of table."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import FileSource
from feast.credentials import ConnectionRef
from feast.data_format import DeltaFormat, ParquetFormat

from features.feast.offline.file_tables import open_table, parquet_files, storage_options
from features.feast.offline.offline_writes import append, stored_schema, write_log
from features.feast.offline.point_in_time import ROW
from historian.errors import FeatureError

START = datetime(2026, 3, 1, tzinfo=UTC)


def rows(*values: int) -> pa.Table:
    """Rows of a key and a value."""
    return pa.table({"asset": pa.array(["c1"] * len(values)), "n": pa.array(values, pa.int32())})


def source(path: Path, kind: str) -> FileSource:
    """A table of the rows 1 and 2."""
    if kind == "delta":
        write_deltalake(path, rows(1, 2))
    elif kind == "directory":
        path.mkdir()
        pq.write_table(rows(1, 2), path / "part-0.parquet")
    else:
        pq.write_table(rows(1, 2), path, row_group_size=1)
    return FileSource(path=str(path), file_format=DeltaFormat() if kind == "delta" else ParquetFormat())


def stored(of: FileSource) -> list[int]:
    """All values, sorted."""
    return open_table(of, None).frame.collect()["n"].to_list()


@pytest.mark.parametrize("kind", ["directory", "delta", "file"])
def test_rows_are_appended_in_the_types_of_the_table(tmp_path: Path, kind: str) -> None:
    """Integers of any type are converted to the stored type."""
    table = source(tmp_path / "rows", kind)
    schema = stored_schema(table, None)
    append(table, None, pa.table({"asset": ["c1"], "n": pa.array([3], pa.int64())}))
    assert sorted(stored(table)) == [1, 2, 3]
    assert stored_schema(table, None) == schema


@pytest.mark.parametrize("kind", ["directory", "delta"])
def test_what_is_there_already_is_not_written_again(tmp_path: Path, kind: str) -> None:
    """Feast's own stores read and rewrite the whole table with every push."""
    table = source(tmp_path / "rows", kind)
    before = {file: file.stat().st_ino for file in (tmp_path / "rows").rglob("*.parquet")}
    append(table, None, rows(3))
    after = {file: file.stat().st_ino for file in (tmp_path / "rows").rglob("*.parquet")}
    assert before.items() < after.items()
    assert len(after) == len(before) + 1


def test_a_single_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A reader of the old file keeps its rows; only the lock is left next to the new file."""
    table = source(tmp_path / "rows.parquet", "file")
    with (tmp_path / "rows.parquet").open("rb") as old:
        append(table, None, rows(3))
        assert pq.read_table(old)["n"].to_pylist() == [1, 2]
    assert stored(table) == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".rows.parquet.lock", "rows.parquet"]


@pytest.mark.parametrize(
    "first", ["part-0.parquet", "zz.parquet", "~", "é.parquet", "m/0.parquet", "appended-00000001-a.parquet"]
)
def test_rows_appended_later_come_later(tmp_path: Path, first: str) -> None:
    """Of equal times the later row is used, whatever the file names, and after files between were deleted."""
    (tmp_path / first).parent.mkdir(exist_ok=True)
    pq.write_table(rows(0), tmp_path / first)
    table = FileSource(path=str(tmp_path))
    for number in range(1, 4):
        append(table, None, rows(number))
    assert stored(table) == [0, 1, 2, 3]
    parquet_files(str(tmp_path))[1].unlink()
    append(table, None, rows(4))
    assert stored(table) == [0, 2, 3, 4]


def test_rows_below_column_directories_are_read_and_not_appended_to(tmp_path: Path) -> None:
    """A file next to the directories would remove their column from all rows."""
    for day in ("2026-03-01", "2026-03-02"):
        (tmp_path / f"day={day}").mkdir()
        pq.write_table(rows(1), tmp_path / f"day={day}" / "0.parquet")
    table = FileSource(path=str(tmp_path))
    schema = stored_schema(table, None)
    assert (schema.names, schema.field("day").type) == (["asset", "n", "day"], pa.date32())
    with pytest.raises(ValueError, match="lie below column=value; write files there yourself, or use a Delta table"):
        append(table, None, rows(3).append_column("day", pa.array([date(2026, 3, 3)])))
    assert [file.name for file in parquet_files(str(tmp_path))] == ["0.parquet", "0.parquet"]


def append_one(path: Path, number: int) -> None:
    """Runs in a process of its own."""
    append(FileSource(path=str(path)), None, rows(number))


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_writers_do_not_lose_each_others_rows(tmp_path: Path, kind: str) -> None:
    """Feast's own stores lose a push that overlaps another."""
    path = tmp_path / "rows.parquet"
    table = source(path, kind)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(append_one, [path] * 6, range(3, 9)))
    assert sorted(stored(table)) == [*range(1, 9)]


@pytest.mark.parametrize("kind", ["directory", "delta", "file"])
def test_other_columns_are_refused_and_nothing_is_written(tmp_path: Path, kind: str) -> None:
    """The error names the given and the existing columns."""
    table = source(tmp_path / "rows", kind)
    with pytest.raises(ValueError, match=r"have the columns \['n', 'asset'\], the source has \['asset', 'n'\]"):
        append(table, None, rows(3).select(["n", "asset"]))
    assert sorted(stored(table)) == [1, 2]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """It leaves neither rows nor temporary files."""
    table = source(tmp_path / "rows", "directory")
    with pytest.raises(pa.ArrowInvalid):
        append(table, None, pa.table({"asset": ["c1"], "n": ["no number"]}))
    assert [path.name for path in (tmp_path / "rows").iterdir()] == ["part-0.parquet"]


def test_a_source_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    """Its columns are not known."""
    with pytest.raises(FileNotFoundError, match="no Parquet files"):
        append(FileSource(path=str(tmp_path / "none")), None, rows(1))


def test_parquet_in_an_object_store_is_refused() -> None:
    """A file there cannot be replaced in one step."""
    with pytest.raises(ValueError, match="use a Delta table there"):
        append(FileSource(path="s3://bucket/rows"), None, rows(1))


def test_an_object_store_gets_credentials_and_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those Feast resolves, in the names of Polars and delta-rs, and nothing else is passed."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    anonymous = FileSource(path="s3://bucket/rows", s3_endpoint_override="https://minio:9000")
    known = FileSource(path="s3://bucket/rows", connection_ref=ConnectionRef(provider="env", name="AWS_SECRET"))
    assert storage_options(anonymous) == {"aws_endpoint_url": "https://minio:9000"}
    assert storage_options(known) == {"aws_secret_access_key": "secret"}


def test_rows_read_before_an_append_keep_their_numbers(tmp_path: Path) -> None:
    """A table keeps the files it had when it was opened."""
    table = source(tmp_path / "rows", "directory")
    opened = open_table(table, None)
    pq.write_table(rows(7), tmp_path / "rows" / "a-first.parquet")
    assert opened.frame.select("n", ROW).collect().rows() == [(1, 0), (2, 1)]
    opened.check_unchanged()


def test_a_file_replaced_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """Its row numbers would refer to other rows."""
    table = source(tmp_path / "rows.parquet", "file")
    opened = open_table(table, None)
    pq.write_table(rows(9, 9, 9), tmp_path / "rows.parquet")
    with pytest.raises(FeatureError, match="replaced while it was being read"):
        opened.check_unchanged()


def test_temporary_files_and_markers_are_not_read_as_rows(tmp_path: Path) -> None:
    """Other tools keep files next to their tables."""
    table = source(tmp_path / "rows", "directory")
    (tmp_path / "rows" / "_SUCCESS").touch()
    (tmp_path / "rows" / ".draft").mkdir()
    (tmp_path / "rows" / ".draft" / "x.parquet").write_text("half a file")
    assert stored(table) == [1, 2]


def test_files_may_differ_in_what_does_not_change_a_value(tmp_path: Path) -> None:
    """A column added later is null in older files, if the first file has it; narrower integers widen."""
    directory = tmp_path / "rows"
    directory.mkdir()
    pl.DataFrame({"n": [1], "note": ["x"]}).write_parquet(directory / "a.parquet")
    pl.DataFrame({"n": pl.Series([2], dtype=pl.Int16)}).write_parquet(directory / "b.parquet")
    found = open_table(FileSource(path=str(directory / "*.parquet")), None).frame.drop(ROW).collect()
    assert found.rows() == [(1, "x"), (2, None)]


@pytest.mark.parametrize("partition_by", [None, ["__log_date"]])
def test_a_log_grows_by_whole_files(tmp_path: Path, partition_by: list[str] | None) -> None:
    """A table or a directory of Parquet files, as the Go server writes it, is read back with all columns."""
    log = pa.table({"n": [1], "__log_date": pa.array([date(2026, 3, 1)], pa.date32())})
    (tmp_path / "buffer").mkdir()
    pq.write_table(pa.table({"n": [2], "__log_date": pa.array([date(2026, 3, 2)])}), tmp_path / "buffer" / "x.parquet")
    for part in (log, tmp_path / "buffer"):
        write_log(part, tmp_path / "log", partition_by)
    found = open_table(FileSource(path=str(tmp_path / "log")), None).frame.drop(ROW).collect().sort("n")
    assert found.select("n", "__log_date").rows() == [(1, date(2026, 3, 1)), (2, date(2026, 3, 2))]
    assert not list((tmp_path / "log").glob(".*"))


def test_an_append_to_delta_is_one_commit(tmp_path: Path) -> None:
    """Time travel reads the version before it."""
    table = source(tmp_path / "rows", "delta")
    append(table, None, rows(3))
    assert DeltaTable(tmp_path / "rows").version() == 1
