"""Feature tables: one Delta table a feature view, with event and created timestamp, under `<state>/features`.

Rows are appended; of the rows that share (asset, event_timestamp) the one created last counts, and the others say what
was known before. Only the rows of a window that no longer exists are deleted, for nothing younger would replace them
(late samples joined two bursts to one, say); Delta's history keeps them for a week. How far the job has read the
store's ledger stands in the same commits as the rows (as Delta application transactions), so that a crash can neither
lose nor repeat them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from features.catalogue import view_columns
from historian.errors import FeatureError, StoreUnavailable
from historian.plant import Plant, View
from historian.times import format_duration, from_micros, micros

_INSTANT: Final = pl.Datetime("us", "UTC")
KEY: Final = ("asset", "event_timestamp")
_CURSOR: Final = "ledger"
_NEWEST: Final = "newest:"
_SMALL_BYTES: Final = 32 * 2**20


def table_path(plant: Plant, view_name: str) -> Path:
    """The directory of a view's feature table."""
    return plant.state / "features" / view_name


def table_schema(plant: Plant, view: View) -> pl.Schema:
    """The columns of a view's feature table: asset, event and created timestamp, then `view_columns`."""
    columns = {column.name: column.dtype for column in view_columns(plant, view)}
    return pl.Schema({"asset": pl.String(), "event_timestamp": _INSTANT, "created_timestamp": _INSTANT, **columns})


def check_definition(plant: Plant, view: View) -> None:
    """Looks at the view's feature table, if there is one yet.

    Raises:
        FeatureError: it was made by another definition of the view.
        StoreUnavailable: the disk fails us.
    """
    if DeltaTable.is_deltatable(str(table_path(plant, view.name))):
        FeatureTable(plant, view)


@dataclass(frozen=True)
class Progress:
    """How far the job has come with a view; written together with the last rows of a run."""

    cursor: datetime
    """`ingested_at` of the newest ledger row taken in."""
    newest: Mapping[str, datetime]
    """The newest sample of each tag at that time, the run itself at the latest: later windows may still be pending."""

    def transactions(self) -> list[Transaction]:
        """As Delta Lake keeps it."""
        newest = [Transaction(_NEWEST + tag, micros(instant)) for tag, instant in self.newest.items()]
        return [Transaction(_CURSOR, micros(self.cursor)), *newest]


class FeatureTable:
    """The feature table of a view; created empty when first opened."""

    def __init__(self, plant: Plant, view: View) -> None:
        """Opens the table.

        Raises:
            FeatureError: it was made by another definition of the view.
            StoreUnavailable: the disk fails us.
        """
        self.path = table_path(plant, view.name)
        self.schema = table_schema(plant, view)
        definition = _definition(plant, view)
        with _available(self.path):
            self._delta = _open(self.path, self.schema, definition)
        if self._delta.metadata().description != definition:
            raise FeatureError(
                f"the feature table {self.path} was made by another definition of {view.name}; move or delete that "
                f"directory and run penstock compute, which makes all its rows anew from the stored samples"
            )

    def scan(self) -> pl.LazyFrame:
        """Every row ever appended, in no particular order; columns of `table_schema`."""
        return pl.scan_delta(str(self.path))

    def newest(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Of the rows with these (asset, event_timestamp) pairs, the one created last of each."""
        event = pl.col("event_timestamp")
        near = self.scan().filter(event.is_between(keys["event_timestamp"].min(), keys["event_timestamp"].max()))
        rows = near.join(keys.lazy().select(KEY), on=KEY, how="semi").collect()
        return rows.sort("created_timestamp").unique(KEY, keep="last")

    def append(
        self,
        rows: pl.DataFrame,
        *,
        now: datetime,
        progress: Progress | None = None,
        recomputed: pl.DataFrame | None = None,
    ) -> int:
        """Appends the rows that are not known yet, created `now`, and the progress, in one commit.

        A row that equals the newest stored row of its (asset, event_timestamp) is left out, so appending twice has the
        effect of appending once; a row that differs replaces the older one, which stays readable. Stored rows that are
        missing from what was computed again are withdrawn, in a commit before: whoever dies between the two has not
        moved the cursor, and the rerun appends what is missing.

        Args:
            rows: columns of `table_schema` but created_timestamp.
            now: when their samples had all been read.
            progress: how far the job has come with them.
            recomputed: columns asset, after, until: `rows` has all there are with after < event_timestamp <= until.

        Returns:
            The number of rows appended.

        Raises:
            StoreUnavailable: another writer was faster, or the disk fails us; nothing was appended.
        """
        with _available(self.path):
            if recomputed is not None:
                self._withdraw(rows, recomputed)
            commit = self._claim(*(progress.transactions() if progress else []))
            fresh = self._unknown(rows, now)
            if not fresh.is_empty():
                write_deltalake(self._delta, fresh, mode="append", commit_properties=commit)
            elif progress:
                schema = self._delta.schema()
                self._delta.create_write_transaction([], mode="append", schema=schema, commit_properties=commit)
        return fresh.height

    def cursor(self) -> datetime | None:
        """The `ingested_at` up to which the ledger has been taken in; None before the first run."""
        return self._instant(_CURSOR)

    def newest_sample(self, tag: str) -> datetime | None:
        """The tag's newest sample as of the last run."""
        return self._instant(_NEWEST + tag)

    def compact(self, *, files: int = 100) -> None:
        """Joins small files once there are more than `files` of them, and deletes what was joined a week ago.

        Readers notice nothing; only time travel further back than the week is lost, which `created_timestamp` replaces.
        """
        sizes = pl.DataFrame(self._delta.get_add_actions(flatten=True))["size_bytes"]
        if (sizes < _SMALL_BYTES).sum() > files:
            with _available(self.path):
                self._delta.optimize.compact(target_size=_SMALL_BYTES)
                self._delta.vacuum(dry_run=False)

    def _instant(self, app_id: str) -> datetime | None:
        version = self._delta.transaction_version(app_id)
        return None if version is None else from_micros(version)

    def _claim(self, *transactions: Transaction) -> CommitProperties:
        """Claims the next version as this writer's own, so that two at once cannot both append the same rows."""
        return CommitProperties(app_transactions=[Transaction("writer", self._delta.version() + 1), *transactions])

    def _withdraw(self, rows: pl.DataFrame, recomputed: pl.DataFrame) -> None:
        """Deletes the rows of the spans whose (asset, event_timestamp) is not among `rows`."""
        event = pl.col("event_timestamp")
        spans = [
            (pl.col("asset") == asset) & (event > after) & (event <= until)
            for asset, after, until in recomputed.select("asset", "after", "until").iter_rows()
        ]
        if not spans:
            return
        stored = self.scan().select(KEY).filter(pl.any_horizontal(spans))
        gone = stored.join(rows.lazy().select(KEY), on=KEY, how="anti").unique().collect()
        for (asset,), keys in gone.sort(KEY).group_by("asset", maintain_order=True):
            name = str(asset).replace("'", "''")
            instants = ", ".join(keys["event_timestamp"].dt.to_string("'%Y-%m-%dT%H:%M:%S%.6fZ'"))
            predicate = f"asset = '{name}' AND event_timestamp IN ({instants})"
            self._delta.delete(predicate, commit_properties=self._claim())

    def _unknown(self, rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
        if rows.is_empty():
            return self.schema.to_frame()
        known = self.newest(rows)
        features = [name for name in self.schema if name != "created_timestamp"]
        fresh = rows.join(known, on=features, how="anti", nulls_equal=True)
        # A correction must be younger than what it corrects even if our clock was set back.
        after = (pl.col("created_timestamp") + pl.duration(microseconds=1)).alias("after")
        return (
            fresh.join(known.select(*KEY, after), on=KEY, how="left")
            .with_columns(created_timestamp=pl.max_horizontal(pl.lit(now, _INSTANT), "after"))
            .select(self.schema.names())
            .sort(KEY)
        )


def _open(path: Path, schema: pl.Schema, definition: str) -> DeltaTable:
    arrow = schema.to_frame().to_arrow().schema
    try:
        return DeltaTable.create(path, schema=arrow, mode="ignore", description=definition)
    except CommitFailedError:
        return DeltaTable(path)  # another process made it at the same moment


@contextmanager
def _available(path: Path) -> Iterator[None]:
    """Says what it means for people when a table cannot be read or written."""
    try:
        yield
    except CommitFailedError:
        raise StoreUnavailable(
            f"another penstock compute writes to {path}; nothing is lost: run it again when that one is done"
        ) from None
    except (DeltaError, OSError) as error:
        raise StoreUnavailable(f"the feature table {path} cannot be used: {error}") from None


def _definition(plant: Plant, view: View) -> str:
    """All that the values of a view's rows depend on, besides samples."""
    points = {name: plant.classes[view.asset_class].points[name] for name in view.points}
    return json.dumps(
        {
            "window": format_duration(view.window),
            "hop": format_duration(view.hop),
            "align": view.align,
            "points": {
                name: [point.unit, point.sample_rate or format_duration(point.max_staleness)]
                for name, point in points.items()
            },
            "features": {column.name: column.spec.version for column in view_columns(plant, view)},
        }
    )
