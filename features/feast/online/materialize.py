"""Writes the newest row of each asset to the online store, in bounded memory, and only rows that are new.

New rows are in Delta files that were not part of the table at the last run; the cursor in the online store is that
version. (Event time cannot be used: late rows are before the times that earlier runs have passed.) Rows are read in
batches of files: first keys and times, to find the newest row of each asset; then the features of these rows only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from typing import Final, Protocol

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from feast import FeatureStore, FeatureView, RepoConfig

from features.feast.online.feast_bytes import ROWS_PER_TRIP, Head, OnlineRows, entity_keys, joined_cells
from historian.errors import FeatureError
from historian.prefetch import prefetch

_BATCH_ROWS: Final = 250_000
"""Number of rows in files that are read together; a file is never divided."""

_READ: Final = 20_000
"""Number of rows that are read together."""

_BATCH: Final = "__batch"
_ROW: Final = "__row"


class RowStore(Protocol):
    """An online store of whole rows; a row is replaced only by one that is as new or newer."""

    def head(self, config: RepoConfig, view: FeatureView, feature: str) -> Head:
        """Return a function for the bytes before a value of that feature."""

    def write_rows(self, config: RepoConfig, view: FeatureView, parts: Iterable[OnlineRows]) -> None:
        """Write rows, part by part as they come. Raises `StoreUnavailable`."""

    def cursor(self, config: RepoConfig, view: FeatureView) -> str | None:
        """Return what `move_cursor` stored last, unless rows have been lost since."""

    def move_cursor(self, config: RepoConfig, view: FeatureView, cursor: str) -> None:
        """Store how far the view has been materialised."""


@dataclass(frozen=True)
class Cursor:
    """The state of a view in the online store: it has all rows of this version of this table, with these features."""

    table: str
    """Delta's id of the table; a table that replaces another has a different one."""
    version: int
    features: list[str]


def materialize_view(store: FeatureStore, view: FeatureView, *, end: datetime, full: bool = False) -> int | None:
    """Write the newest row of each asset with event timestamp <= `end`.

    A row that was withdrawn from the feature table since an earlier run stays online until a newer one is written.

    Args:
        store: Feast over the plant's repository.
        view: One of its views.
        end: Later rows are left for a later run.
        full: Whether to read the whole table, not only new rows.

    Returns:
        The number of rows written; None if there is no feature table yet.

    Raises:
        FeatureError: the table lacks a column; it was made before the plant file had it.
        StoreUnavailable: the online store cannot be used.
    """
    path = view.batch_source.path
    try:
        table = DeltaTable(path)
    except TableNotFoundError:
        return None
    online = store.provider.online_store
    cursor = Cursor(str(table.metadata().id), table.version(), [feature.name for feature in view.features])
    known = None if full else _known(online.cursor(store.config, view), cursor)
    batches = list(_batches(path, table, known))
    newest, complete = _newest(batches, view, end)
    with closing(prefetch(_encoder(store, view)(_rows(batches, newest, view)), depth=2)) as encoded:
        online.write_rows(store.config, view, encoded)
    if complete:
        online.move_cursor(store.config, view, json.dumps(asdict(cursor)))
    return newest.height


def newest_writer(store: FeatureStore, view: FeatureView) -> Callable[[pl.DataFrame], None]:
    """Return a function that writes rows that were just computed; rows that are newer online are kept.

    Args:
        store: Feast over the plant's repository.
        view: One of its views.

    Returns:
        A function of the view's columns, one row per asset. It raises `StoreUnavailable` if the online store cannot be
        used.
    """
    online, encoded = store.provider.online_store, _encoder(store, view)

    def write(rows: pl.DataFrame) -> None:
        online.write_rows(store.config, view, encoded(iter([rows])))

    return write


def _known(stored: str | None, now: Cursor) -> int | None:
    """Return the version that is online already; None if the view or its table has been replaced since."""
    before = Cursor(**json.loads(stored)) if stored else None
    return before.version if before and (before.table, before.features) == (now.table, now.features) else None


def _batches(path: str, table: DeltaTable, known: int | None) -> Iterator[pl.LazyFrame]:
    """Yield the rows that version `known` did not have, and possibly some that it had; all rows if it is None."""
    files = pl.DataFrame(table.get_add_actions(flatten=True)).select("path", "num_records")
    if known is not None:
        files = files.filter(~pl.col("path").is_in(_files(path, known)))
    batch = (files["num_records"].fill_null(_BATCH_ROWS).cum_sum() - 1) // _BATCH_ROWS
    schema = pl.scan_delta(table).collect_schema()
    for part in files.with_columns(batch.alias(_BATCH)).partition_by(_BATCH, maintain_order=True):
        places = [f"{path}/{file}" for file in part["path"]]
        yield pl.scan_parquet(places, schema=schema, missing_columns="insert", row_index_name=_ROW)


def _files(path: str, version: int) -> list[str]:
    """Return the files of an older version; none if its log is gone, so that every file counts as new."""
    try:
        return pl.DataFrame(DeltaTable(path, version).get_add_actions(flatten=True))["path"].to_list()
    except (DeltaError, OSError):
        return []


def _newest(batches: Sequence[pl.LazyFrame], view: FeatureView, end: datetime) -> tuple[pl.DataFrame, bool]:
    """Return each asset's newest row (key, event, created, `_BATCH`, `_ROW`), and whether no row is after `end`."""
    names = _times(view)
    key, event, created = names
    best, complete = pl.DataFrame(), True
    for number, batch in enumerate(batches):
        times = batch.select(*names, _ROW, pl.lit(number).alias(_BATCH)).drop_nulls([key, event]).collect()
        complete = complete and bool((times[event] <= end).all())
        due = times if complete else times.filter(pl.col(event) <= end)
        both = pl.concat([best, due], how="diagonal")
        last = both.filter(pl.col(event) == pl.col(event).max().over(key))
        best = last.sort(created, nulls_last=False, maintain_order=True).unique(key, keep="last", maintain_order=True)
    return best, complete


def _rows(batches: Sequence[pl.LazyFrame], newest: pl.DataFrame, view: FeatureView) -> Iterator[pl.DataFrame]:
    """Yield those rows with key, times and features."""
    names = [*_times(view), *(feature.name for feature in view.features)]
    for number, batch in enumerate(batches):
        _check(view, names, batch)
        wanted = newest.filter(pl.col(_BATCH) == number)[_ROW].sort()
        for start in range(0, len(wanted), _READ):
            part = wanted.slice(start, _READ)
            yield batch.filter(pl.col(_ROW).is_in(part.implode())).select(names).collect()


def _check(view: FeatureView, names: Sequence[str], batch: pl.LazyFrame) -> None:
    schema = batch.collect_schema()
    if absent := [name for name in names if name not in schema]:
        raise FeatureError(
            f"the feature table of {view.name} has no column {', '.join(absent)}; move or delete its directory, "
            f"run penstock compute and penstock apply"
        )


def _encoder(store: FeatureStore, view: FeatureView) -> Callable[[Iterator[pl.DataFrame]], Generator[OnlineRows]]:
    """Return a function that yields rows encoded for the online store, in parts for one call each."""
    online: RowStore = store.provider.online_store
    key, event, created = _times(view)
    names = [feature.name for feature in view.features]
    kinds = [feature.dtype.to_value_type() for feature in view.features]
    heads = [online.head(store.config, view, name) for name in names]

    def encoded(frames: Iterator[pl.DataFrame]) -> Generator[OnlineRows]:
        for rows in chain.from_iterable(frame.iter_slices(ROWS_PER_TRIP) for frame in frames):
            yield OnlineRows(
                entity_keys(key, rows[key].to_list()),
                rows[event].to_physical().to_list(),
                rows[created].to_physical().to_list(),
                joined_cells(rows.select(names).get_columns(), kinds, heads),
            )

    return encoded


def _times(view: FeatureView) -> tuple[str, str, str]:
    """Return the names of the columns with the asset, the event and the created timestamp."""
    source = view.batch_source
    return view.join_keys[0], source.timestamp_field, source.created_timestamp_column
