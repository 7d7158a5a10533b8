"""A Feast `FileSource`: the files it stands for, and one lazy frame over them with numbered rows.

It may be a Parquet file, directory or glob, or a Delta table. The set of files is fixed when it is opened: a file added
later is not seen, and a replaced file is detected.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource

from features.feast.offline.arrow_types import plain
from features.feast.offline.point_in_time import ROW
from historian.errors import FeatureError

if TYPE_CHECKING:
    from deltalake import DeltaTable  # not loaded without a Delta table: it takes 16 MiB

# Files of different tools and times may differ in ways that do not change a value.
_LENIENT: Final = pl.ScanCastOptions(
    integer_cast="upcast",
    float_cast="upcast",
    datetime_cast=["nanosecond-downcast", "convert-timezone"],
    missing_struct_fields="insert",
    extra_struct_fields="ignore",
)


@dataclass(frozen=True)
class FileTable:
    """A table in the state in which it was opened."""

    frame: pl.LazyFrame
    """The rows with all columns, and their number `ROW`."""
    types: pa.Schema
    """The stored Arrow types of the columns."""
    stamps: tuple[tuple[str, int, int], ...]
    """Path, size in bytes and modification time in ns of each file that may be replaced."""

    def check_unchanged(self) -> None:
        """Check that row numbers are still valid.

        Raises:
            FeatureError: A file was replaced or deleted since the table was opened.
        """
        for path, size, changed in self.stamps:
            if not Path(path).exists() or _stamp(Path(path)) != (path, size, changed):
                raise FeatureError(f"{path} was replaced while it was being read; retry")


def file_source(source: DataSource | None) -> FileSource:
    """Return the source if it is a `FileSource`.

    Raises:
        ValueError: It is another kind of source.
    """
    if not isinstance(source, FileSource):
        raise ValueError(f"the Polars offline store reads FileSource, not {type(source).__name__}")
    return source


def is_delta(source: FileSource) -> bool:
    """Return whether the source is a Delta table; without a format it is Parquet, as everywhere in Feast."""
    return isinstance(source.file_format, DeltaFormat)


def location(source: FileSource, repo_path: Path | None) -> str:
    """Return the source's path, absolute or below the repository, or its address in an object store."""
    return str(FileSource.get_uri_for_file_path(repo_path, source.path))


def on_disk(uri: str, advice: str) -> Path:
    """Return the location as a path on disk.

    Args:
        uri: A path, or an address in an object store.
        advice: What to do instead, for the message.

    Raises:
        ValueError: It is an address in an object store, where files cannot be replaced atomically.
    """
    if "://" in uri:
        raise ValueError(f"{uri} lies in an object store: {advice}")
    return Path(uri)


def open_table(source: FileSource, repo_path: Path | None) -> FileTable:
    """Open a source, reading only its schema. A Delta table is fixed at its newest version.

    Raises:
        FileNotFoundError: there is no such file, directory or table.
    """
    uri, options = location(source, repo_path), storage_options(source)
    if is_delta(source):
        table = open_delta(uri, options)
        return FileTable(_numbered(scan_version(table)), pa.schema(table.schema().to_arrow()), ())
    if "://" in uri:
        frame = pl.scan_parquet(
            uri, storage_options=options, missing_columns="insert", extra_columns="ignore", cast_options=_LENIENT
        )
        empty = pl.DataFrame(schema=frame.collect_schema()).to_arrow(compat_level=pl.CompatLevel.oldest())
        return FileTable(_numbered(frame), empty.schema, ())
    files = parquet_files(uri)
    frame = pl.scan_parquet(
        files,
        glob=False,
        hive_partitioning=_is_hive(_root(uri), files[0]),
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=_LENIENT,
    )
    return FileTable(_numbered(frame), pq.read_schema(files[0]), tuple(map(_stamp, files)))


def open_delta(uri: str, options: dict[str, str]) -> DeltaTable:
    """Open the newest version of a Delta table.

    Args:
        uri: Path or address of the table.
        options: Storage options.

    Raises:
        FileNotFoundError: There is no table.
    """
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(uri, options):
        raise FileNotFoundError(f"there is no Delta table at {uri}: no features have been computed yet")
    return DeltaTable(uri, storage_options=options)


def scan_version(table: DeltaTable) -> pl.LazyFrame:
    """Return the rows of a table at the opened version, in a stable order.

    The version is passed to Polars: otherwise a frame that is sent to another process would read the newest one there.
    """
    return pl.scan_delta(table, version=table.version())


def parquet_files(uri: str) -> list[Path]:
    """Return the files of a local path, directory or glob, in the order of their paths.

    Names that begin with `.` or `_` are ignored (drafts, and metadata of Spark and Delta), except for `_column=value`.

    Raises:
        FileNotFoundError: There are no files.
    """
    path, root = Path(uri), _root(uri)
    if path.is_file():
        return [path]
    found = root.glob("**/*" if path.is_dir() else str(path.relative_to(root)))
    files = sorted(file for file in found if file.is_file() and _visible(file.relative_to(root)))
    if not files:
        raise FileNotFoundError(f"there are no Parquet files at {uri}")
    return files


def partition_columns(root: Path, file: Path) -> list[pa.Field]:
    """Return the columns that are in the path of a file below `root`, as `column=value`, and not in the file.

    Args:
        root: The source's directory.
        file: One of its files.
    """
    if not root.is_dir() or not _is_hive(root, file):
        return []
    frame = pl.scan_parquet(file, glob=False, hive_partitioning=True).head(0).collect().to_arrow()
    inside = pq.read_schema(file).names
    return [pa.field(field.name, plain(field.type)) for field in frame.schema if field.name not in inside]


def storage_options(source: FileSource) -> dict[str, str]:
    """Return the options of an object store: the credentials Feast resolves, and the endpoint.

    Args:
        source: A source on disk or in an object store.
    """
    known = {key.lower(): value for key, value in (source.resolve_credentials() or {}).items() if key[:4] == "AWS_"}
    endpoint = source.s3_endpoint_override
    return {**known, "aws_endpoint_url": endpoint} if endpoint else known


def _numbered(frame: pl.LazyFrame) -> pl.LazyFrame:
    numbered = frame.with_row_index(ROW)
    # pandas' categories are strings
    return numbered.cast({pl.Categorical: pl.String}) if pl.Categorical in frame.collect_schema().dtypes() else numbered


def _root(uri: str) -> Path:
    """Return the directory itself, or that of a path or glob."""
    return Path(uri) if Path(uri).is_dir() else Path(uri.partition("*")[0] + "_").parent


def _is_hive(root: Path, file: Path) -> bool:
    return any("=" in part for part in file.relative_to(root).parts[:-1])


def _visible(path: Path) -> bool:
    return not any(part[0] == "." or (part[0] == "_" and "=" not in part) for part in path.parts)


def _stamp(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns
