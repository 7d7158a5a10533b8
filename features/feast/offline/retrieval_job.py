"""Feast's retrieval job: a query that runs when its result is read.

In addition to Feast's interface, a result can be read in pieces, so that it need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_format import DeltaFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage
from feast.type_map import feast_value_type_to_pa

from features.feast.offline.file_tables import on_disk
from features.feast.offline.own_sources import OwnSources
from historian.errors import NotOffered


class Answer(Protocol):
    """A query that has not run yet. Each call runs it again, over the rows that existed when it was made."""

    def table(self) -> pa.Table:
        """Return all rows."""

    def pieces(self, rows: int | None = None) -> Iterator[pa.Table]:
        """Yield the same rows in the same order, at most `rows` at a time; at least one piece, which may be empty."""


class PolarsRetrievalJob(RetrievalJob):  # type: ignore[misc]  # Feast ships no types
    """A query of the Polars offline store. On-demand feature views are applied by Feast's `to_arrow`."""

    def __init__(
        self,
        answer: Answer,
        repo_path: Path | None,
        *,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
        own_sources: OwnSources | None = None,
    ) -> None:
        self._answer = answer
        self._repo_path = repo_path
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = on_demand_feature_views or []
        self._metadata = metadata
        self._own_sources = own_sources

    @property
    def full_feature_names(self) -> bool:
        """Whether a feature's column is called `view__feature`."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The views Feast computes from the rows of this job."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Features, keys and time range of a historical retrieval."""
        return self._metadata

    def to_arrow_batches(self, rows: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `to_arrow`, in order, on-demand views included, without ever holding them all.

        Args:
            rows: Largest number of rows in a batch; without it, as many as the store's `memory_limit` allows.

        Raises:
            ValueError: `rows` is less than 1.
        """
        if rows is not None and rows < 1:
            raise ValueError(f"rows is {rows}, and a batch has at least 1; leave it out for as many as memory allows")
        return self._batches(rows)

    def _batches(self, rows: int | None) -> Iterator[pa.RecordBatch]:
        schema = None
        for piece in self._answer.pieces(rows):
            found = self._with_declared_types(self._of(piece).to_arrow())
            schema = schema or found.schema
            yield from found.cast(schema).combine_chunks().to_batches() or [_no_rows(schema)]

    def to_reader(self, rows: int | None = None) -> pa.RecordBatchReader:
        """Return `to_arrow_batches` as Arrow's reader, which DuckDB, Delta Lake, Polars and others take.

        Args:
            rows: As for `to_arrow_batches`.

        Raises:
            ValueError: `rows` is less than 1.
        """
        batches = self.to_arrow_batches(rows)
        first = next(batches)
        return pa.RecordBatchReader.from_batches(first.schema, _chained(first, batches))

    def to_sql(self) -> str:
        """Refuse: there is no SQL, the join is a program.

        Raises:
            NotOffered: always.
        """
        raise NotOffered("the Polars offline store joins without SQL; take to_arrow() or to_reader()")

    def to_remote_storage(self) -> list[str]:
        """Refuse, as `supports_remote_storage_export` says.

        Raises:
            NotOffered: always.
        """
        raise NotOffered(
            "the Polars offline store exports to no remote storage; write the batches of to_reader() there"
        )

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._answer.table()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._answer.table().to_pandas()

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,  # noqa: FBT001, FBT002 - Feast's signature
        timeout: int | None = None,
    ) -> None:
        """Write the result piece by piece, as one Parquet file or a Delta table, whole or not at all.

        Args:
            storage: The destination, a `SavedDatasetFileStorage`.
            allow_overwrite: Whether a file, a Delta table or an empty directory there is replaced.
            timeout: Not enforced.

        Raises:
            SavedDatasetLocationAlreadyExists: the path is taken and may not be overwritten, or is a directory that
                holds something else.
            ValueError: the storage is not one of files, lies in an object store, or is the source of a feature view.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise ValueError(f"the Polars offline store saves to files, not to {type(storage).__name__}")
        uri = FileSource.get_uri_for_file_path(self._repo_path, storage.file_options.uri)
        path = on_disk(uri, "save to a path on disk, or write the batches of to_reader() there")
        delta = isinstance(storage.file_options.file_format, DeltaFormat)
        if self._own_sources:
            self._own_sources.check(path)
        if _taken(path, delta=delta) or (path.exists() and not allow_overwrite):
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        if delta:
            from deltalake import write_deltalake

            write_deltalake(path, self.to_reader(), mode="overwrite", schema_mode="overwrite")
        else:
            _write_parquet(self.to_reader(), path)

    def _of(self, piece: pa.Table) -> PolarsRetrievalJob:
        return PolarsRetrievalJob(
            _Table(piece),
            self._repo_path,
            full_feature_names=self._full_feature_names,
            on_demand_feature_views=self._on_demand_feature_views,
            metadata=self._metadata,
        )

    def _with_declared_types(self, table: pa.Table) -> pa.Table:
        """Return on-demand columns in their declared types: those that pandas infers may differ from piece to piece."""
        for view in self._on_demand_feature_views:
            prefix = f"{view.projection.name_to_use()}__" if self._full_feature_names else ""
            for feature in view.features:
                place = table.schema.get_field_index(prefix + feature.name)
                if place >= 0:
                    dtype = feast_value_type_to_pa(feature.dtype.to_value_type())
                    table = table.set_column(place, prefix + feature.name, table.column(place).cast(dtype))
        return table


class _Table:
    """A result that has been computed already, as an `Answer`."""

    def __init__(self, table: pa.Table) -> None:
        self._found = table

    def table(self) -> pa.Table:
        return self._found

    def pieces(self, rows: int | None = None) -> Iterator[pa.Table]:
        yield self._found


def _taken(path: Path, *, delta: bool) -> bool:
    """Return whether something at the path must not be replaced, even if overwriting is allowed."""
    if not path.exists() or _is_empty(path):
        return False
    if not delta:
        return path.is_dir()
    from deltalake import DeltaTable

    return not DeltaTable.is_deltatable(str(path))


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _write_parquet(reader: pa.RecordBatchReader, path: Path) -> None:
    draft = path.with_name(f".{path.name}.draft")
    with pq.ParquetWriter(draft, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    if path.is_dir():
        path.rmdir()  # which fails if it is no longer empty
    draft.replace(path)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
