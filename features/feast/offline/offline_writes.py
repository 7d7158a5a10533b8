"""Appends rows to the files behind a feature view or a log, atomically.

A Parquet directory gets a new file, a Delta table a new commit: existing files are neither read nor written. Appending
to a single Parquet file requires rewriting it: a draft is written next to it, one row group at a time, and replaces it
in one step; writers take turns. Prefer a directory.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from feast.infra.offline_stores.file_source import FileSource

from features.feast.offline.arrow_types import maps_of, plain
from features.feast.offline.file_tables import (
    is_delta,
    location,
    on_disk,
    open_delta,
    parquet_files,
    partition_columns,
    storage_options,
)

_APPENDED: Final = re.compile(r"(.*)_appended-(\d{8})-[0-9a-f]{32}\.parquet")


def stored_schema(source: FileSource, repo_path: Path | None) -> pa.Schema:
    """Return the stored columns of a source.

    Raises:
        FileNotFoundError: the source has no file yet.
    """
    uri = location(source, repo_path)
    if is_delta(source):
        return pa.schema(open_delta(uri, storage_options(source)).schema().to_arrow())
    path = on_disk(uri, "rows cannot be appended to Parquet files there, use a Delta table there")
    first = parquet_files(str(path))[0]
    return pa.schema([*pq.read_schema(first).remove_metadata(), *partition_columns(path, first)])


def append(source: FileSource, repo_path: Path | None, table: pa.Table) -> None:
    """Append rows to a source, cast to the types it has.

    Raises:
        ValueError: the columns are not those of the source, in its order; or the source is Parquet in an object store
            or below `column=value`.
        FileNotFoundError: the source has no file yet.
    """
    schema, uri = stored_schema(source, repo_path), location(source, repo_path)
    stored = {feature: name for name, feature in source.field_mapping.items()}  # Feast has mapped some pushes already
    table = table.rename_columns(
        [name if name in schema.names else stored.get(name, name) for name in table.column_names]
    )
    if schema.names != table.column_names:
        raise ValueError(
            f"the rows have the columns {table.column_names}, the source has {schema.names}, in this order"
        )
    rows = _cast(table, schema)
    if is_delta(source):
        from deltalake import write_deltalake

        write_deltalake(uri, rows, mode="append", storage_options=storage_options(source))
    elif Path(uri).is_dir():
        files = parquet_files(uri)
        if partition_columns(Path(uri), files[0]):
            raise ValueError(
                f"the rows of {uri} lie below column=value; write files there yourself, or use a Delta table"
            )
        _write([rows], rows.schema, Path(uri) / _name_after(files[-1].relative_to(uri).parts[0]))
    else:
        with _write_lock(Path(uri)):
            _replace_grown(Path(uri), rows)


def write_log(rows: pa.Table | Path, directory: Path, partition_by: list[str] | None) -> None:
    """Append a feature log to a directory of Parquet files.

    Args:
        rows: The log, as a table or a directory of Parquet files.
        directory: Where to append.
        partition_by: Columns that become `column=value` in the path.
    """
    found = pads.dataset(rows) if isinstance(rows, Path) else rows
    fields = [found.schema.field(name) for name in partition_by or []]
    draft = directory / f".draft-{uuid4().hex}"
    draft.mkdir(parents=True)
    pads.write_dataset(
        found,
        draft,
        basename_template=f"{uuid4().hex}-{{i}}.parquet",
        partitioning=pads.partitioning(pa.schema(fields), flavor="hive") if fields else None,
        format="parquet",
        use_threads=False,
    )
    for file in sorted(draft.rglob("*.parquet")):
        _sync(file)
        target = directory / file.relative_to(draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    _remove_empty(draft)


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast via plain types: Arrow casts to an encoded or large type only from the plain one."""
    plainly = pa.schema([field.with_type(plain(field.type)) for field in schema])
    for place, field in enumerate(plainly):
        if pa.types.is_map(field.type) and pa.types.is_struct(table.schema.types[place]):
            table = table.set_column(place, field, maps_of(table.column(place), field.type))
    return table.cast(plainly).cast(schema).replace_schema_metadata()


def _name_after(last: str) -> str:
    """Return a file name that sorts after all others: of rows with equal times, the one appended last counts."""
    appended = _APPENDED.fullmatch(last)
    first, number = (appended[1], int(appended[2]) + 1) if appended else (Path(last).stem, 0)
    return f"{first}_appended-{number:08d}-{uuid4().hex}.parquet"


def _replace_grown(path: Path, rows: pa.Table) -> None:
    with pq.ParquetFile(path) as old:
        groups = (old.read_row_group(number) for number in range(old.num_row_groups))
        _write(_then(groups, rows), old.schema_arrow, path)


def _then(groups: Iterable[pa.Table], rows: pa.Table) -> Iterator[pa.Table]:
    yield from groups
    yield rows


def _write(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with pq.ParquetWriter(draft, schema) as writer:
            for table in tables:
                writer.write_table(table.replace_schema_metadata(schema.metadata))
        _sync(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def _write_lock(path: Path) -> Iterator[None]:
    """Hold the writers' lock. The kernel releases it when the process ends."""
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _remove_empty(directory: Path) -> None:
    for below in sorted((path for path in directory.rglob("*") if path.is_dir()), reverse=True):
        below.rmdir()
    directory.rmdir()
