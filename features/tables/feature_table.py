"""Feature tables: one Delta table a feature view, with event and created timestamp, under `<state>/features`.

Rows are appended; of the rows that share (asset, event_timestamp) the one created last counts, and the others say what
was known before. Only the rows of a window that no longer exists are deleted, for no later row would replace them
(late samples joined two bursts to one, say); Delta's history keeps them for a week. How far the job has read the
store's ledger is in the same commits as the rows (as Delta application transactions), so that a crash can neither
lose nor repeat them. By what rows were computed is in the table's description (`features.tables.definition`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from features.define.view_plan import ViewPlan, view_plan
from features.tables.appended_files import CONFIGURATION, write_file
from features.tables.available import available
from features.tables.definition import Definition, definition_of, from_json, outdated_keys
from features.tables.progress import CURSOR, Progress, newest_samples
from features.windows.dirty import in_intervals
from historian.errors import FeatureError
from historian.plant.plant import Plant, View
from historian.times import from_micros, micros

_INSTANT: Final = pl.Datetime("us", "UTC")
KEY: Final = ("asset", "event_timestamp")
_SMALL_BYTES: Final = 32 * 2**20
_ROWS_AT_ONCE: Final = 4_000_000
_STATISTICS: Final = timedelta(milliseconds=1)
"""Delta cuts the timestamps of a file's statistics to milliseconds."""
_NEVER: Final = micros(datetime.max.replace(tzinfo=UTC))


def table_path(plant: Plant, view_name: str) -> Path:
    """Return the directory of a view's feature table."""
    return plant.state / "features" / view_name


def table_schema(plant: Plant, view: View) -> pl.Schema:
    """Return the columns of a view's feature table: asset, event and created timestamp, then those of its plan."""
    return _schema(view_plan(plant, view))


def _schema(plan: ViewPlan) -> pl.Schema:
    columns = {column.name: column.dtype for column in plan.columns}
    return pl.Schema({"asset": pl.String(), "event_timestamp": _INSTANT, "created_timestamp": _INSTANT, **columns})


def check_definition(plant: Plant, view: View) -> None:
    """Check the view's feature table, if there is one yet.

    Raises:
        FeatureError: it was written by another definition of the view.
        StoreUnavailable: the table cannot be read or written.
    """
    if DeltaTable.is_deltatable(str(table_path(plant, view.name))):
        FeatureTable(plant, view)


class FeatureTable:
    """The feature table of a view; created empty when first opened."""

    def __init__(self, plant: Plant, view: View) -> None:
        """Open the table.

        Raises:
            FeatureError: it was written by another definition of the view.
            StoreUnavailable: the table cannot be read or written.
        """
        self.path = table_path(plant, view.name)
        self.plan = view_plan(plant, view)
        self.schema = _schema(self.plan)
        self.empty = self.schema.to_frame()
        wanted = definition_of(plant, self.plan)
        with available(self.path):
            self._delta = _open(self.path, self.empty, wanted)
            self._known = (-1, self.empty)
            self.definition = self._recorded = from_json(self._delta.metadata().description)
            self._check(view, wanted)
            self._add_columns()
            self._stored = self._delta.schema()
        self._wanted = wanted

    def adopt(self, now: datetime) -> None:
        """Let rows created from `now` on be by the plant file's versions; recorded with the first of them."""
        current, wanted = self.definition.provenance[-1], self._wanted.provenance[-1]
        if (wanted.features, wanted.assets) == (current.features, current.assets):
            return
        newest = self._actions()["max.created_timestamp"].max()
        if isinstance(newest, datetime):
            since = max(now, newest + _STATISTICS)
            self.definition = self.definition.followed_by(
                self._wanted, since=micros(since), newest=self._newest_event()
            )
        else:
            self.definition = self._wanted

    def forget_older(self) -> None:
        """Forget older versions once no row computed by them is left."""
        provenance = self.definition.provenance
        if len(provenance) > 1 and all(rows.is_empty() for rows in self.stale_rows()):
            current = replace(provenance[-1], since=0)
            self.definition = replace(self.definition, provenance=(current,))
            with available(self.path):
                self._record_definition()

    @property
    def stale_columns(self) -> list[str]:
        """Columns that rows of older versions lack or have by another version, whether or not such rows remain."""
        return self.definition.followed_by(self._wanted, since=0).stale_columns

    @property
    def stale_assets(self) -> list[str]:
        """Assets that may have older rows by other facts."""
        return self.definition.followed_by(self._wanted, since=_NEVER, newest=self._newest_event()).stale_assets

    def _newest_event(self) -> int | None:
        """Return an upper bound of the rows' event timestamps; None without rows."""
        newest = self._actions()["max.event_timestamp"].max() if self._delta.file_uris() else None
        return micros(newest + _STATISTICS) if isinstance(newest, datetime) else None

    def scan(self) -> pl.LazyFrame:
        """Return every row ever appended, in no particular order; columns of `table_schema`."""
        return pl.scan_delta(str(self.path)).select(self.schema.names())

    def newest(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Return, of each of these (asset, event_timestamp) pairs, the row created last."""
        intervals = keys.select(after="event_timestamp", until="event_timestamp")
        if not self._near(intervals):
            return self.empty.clone()
        rows = self.within(intervals).join(keys.lazy().select(KEY), on=KEY, how="semi").collect()
        return rows.sort("created_timestamp").unique(KEY, keep="last")

    def within(self, intervals: pl.DataFrame) -> pl.LazyFrame:
        """Return rows of just the files that may have some with after <= event_timestamp <= until for any interval."""
        if not (paths := self._near(intervals)):
            return self.empty.lazy()
        rows = pl.scan_parquet(paths, glob=False, schema=self.schema, missing_columns="insert", extra_columns="ignore")
        return rows.filter(pl.col("event_timestamp").is_between(intervals["after"].min(), intervals["until"].max()))

    def _near(self, intervals: pl.DataFrame) -> list[str]:
        """Return the files that may have rows of `within`: live, none has."""
        files = self._actions()
        if intervals.is_empty() or files.is_empty():
            return []
        intervals = intervals.sort("after")
        begun = intervals["after"].search_sorted(files["max.event_timestamp"] + _STATISTICS, side="right")
        latest = intervals["until"].cum_max().gather((begun.cast(pl.Int64) - 1).clip(0))
        near = (begun > 0) & (latest >= files["min.event_timestamp"])
        return [str(self.path / path) for path in files["path"].filter(near)]

    def _equal_intervals(self) -> Iterator[pl.DataFrame]:
        """Yield intervals of equal length that follow one another over all rows, one per `_ROWS_AT_ONCE` rows."""
        actions = self._actions()
        first, last = actions["min.event_timestamp"].min(), actions["max.event_timestamp"].max()
        parts = int(actions["num_records"].sum()) // _ROWS_AT_ONCE + 1
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            return
        step = (last + _STATISTICS - first) / parts + timedelta(microseconds=1)
        for part in range(parts):
            start = first + part * step
            interval = pl.DataFrame({"after": [start], "until": [start + step - timedelta(microseconds=1)]})
            yield interval.cast(_INSTANT)

    def stale_rows(self) -> Iterator[pl.DataFrame]:
        """Yield (asset, event_timestamp) of the rows computed by older versions, in frames of bounded size.

        Of each such pair the newest row counts; the frames follow one another in time.
        """
        definition = self.definition
        if not (definition.stale_columns or definition.stale_assets):
            return
        for interval in self._equal_intervals():
            rows = self.within(interval)
            newest = rows.group_by(KEY).agg(pl.col("created_timestamp").max())
            older = newest.filter(pl.col("created_timestamp") < from_micros(definition.fresh_since)).select(KEY)
            outdated = outdated_keys(newest, definition.outdated)
            yield pl.concat([older, outdated]).unique().sort(KEY).collect()

    def append(
        self,
        rows: pl.DataFrame,
        *,
        now: datetime,
        progress: Progress | None = None,
        recomputed: pl.DataFrame | None = None,
        before: Callable[[pl.DataFrame], None] = lambda _: None,
    ) -> pl.DataFrame:
        """Append the rows that are not known yet, created `now`, and the progress, in one commit.

        A row that equals the newest stored row of its (asset, event_timestamp) is left out, so appending twice has the
        effect of appending once, unless older versions computed that one; a row that differs replaces the older one,
        which stays readable. Stored rows that are missing from what was recomputed are withdrawn, in a commit before:
        a run that dies between the two has not moved the cursor, and the next one appends what is missing.

        Args:
            rows: columns of `table_schema` but created_timestamp.
            now: when their samples had all been read.
            progress: how far the job has come with them.
            recomputed: columns asset, after, until: `rows` has all there are with after < event_timestamp <= until.
            before: called with rows before they are appended, and with rows without values before they are withdrawn.

        Returns:
            The rows appended.

        Raises:
            StoreUnavailable: another writer was faster, or the table cannot be read or written; nothing was appended.
        """
        with available(self.path):
            self._record_definition()
            if recomputed is not None:
                self._withdraw(rows, recomputed, before)
            commit = self._claim(*(progress.transactions() if progress else []))
            fresh = self._unknown(rows, now)
            if not fresh.is_empty():
                before(fresh)
            if progress or not fresh.is_empty():
                files: list[AddAction | RemoveAction] = [] if fresh.is_empty() else [write_file(self.path, fresh)]
                self._delta.create_write_transaction(files, "append", self._stored, commit_properties=commit)
                self._delta.update_incremental()  # which this call, unlike others, leaves to us
        return fresh

    def cursor(self) -> datetime | None:
        """Return the `ingested_at` up to which the ledger has been read; None before the first run."""
        with available(self.path):
            version = self._delta.transaction_version(CURSOR)
        return None if version is None else from_micros(version)

    def newest_samples(self) -> dict[str, datetime]:
        """Return the time of each tag's newest sample as of the last run; a tag without one is left out."""
        with available(self.path):
            return newest_samples(self.path, self._delta.version())

    def compact(self, *, files: int = 100) -> None:
        """Join small files once there are more than `files` of them, and delete what was joined a week ago.

        Readers notice nothing; only time travel further back than the week is lost, which `created_timestamp` replaces.
        """
        sizes = self._actions()["size_bytes"]
        if (sizes < _SMALL_BYTES).sum() > files:
            with available(self.path):
                self._delta.optimize.compact(target_size=_SMALL_BYTES)
                self._delta.vacuum(dry_run=False)

    def _check(self, view: View, wanted: Definition) -> None:
        if conflict := self.definition.conflict(wanted):
            raise FeatureError(
                f"the feature table {self.path} was written by another definition of {view.name}: {conflict}; undo "
                "that, or move or delete the directory and run penstock compute, which computes all rows again"
            )

    def _add_columns(self) -> None:
        """Add the columns the table lacks; its old rows have null there."""
        stored = {field.name for field in self._delta.schema().fields}
        lacking = {name: dtype for name, dtype in self.schema.items() if name not in stored}
        if lacking:
            fields = Schema.from_arrow(pl.DataFrame(schema=lacking).to_arrow().schema).fields
            self._delta.alter.add_columns(fields)

    def _record_definition(self) -> None:
        if self.definition is self._recorded:
            return
        if self.definition.to_json() != self._delta.metadata().description:
            self._delta.alter.set_table_description(self.definition.to_json())
        self._recorded = self.definition

    def _actions(self) -> pl.DataFrame:
        """Return what Delta knows of the table's files, kept until the version changes."""
        version, actions = self._known
        if version != self._delta.version():
            version, actions = self._delta.version(), pl.DataFrame(self._delta.get_add_actions(flatten=True))
            self._known = version, actions
        return actions

    def _claim(self, *transactions: Transaction) -> CommitProperties:
        """Claim the next version as this writer's own, so that two at once cannot both append the same rows."""
        return CommitProperties(app_transactions=[Transaction("writer", self._delta.version() + 1), *transactions])

    def _withdraw(self, rows: pl.DataFrame, recomputed: pl.DataFrame, before: Callable[[pl.DataFrame], None]) -> None:
        """Delete the rows of the intervals whose (asset, event_timestamp) is not among `rows`."""
        if not self._near(recomputed):
            return
        held = in_intervals(self.within(recomputed).select(KEY), recomputed)
        gone = held.join(rows.lazy().select(KEY), on=KEY, how="anti").unique().collect()
        if not gone.is_empty():
            before(pl.concat([self.empty, gone], how="diagonal"))
        for (asset,), keys in gone.sort(KEY).group_by("asset", maintain_order=True):
            name = str(asset).replace("'", "''")
            instants = ", ".join(keys["event_timestamp"].dt.to_string("'%Y-%m-%dT%H:%M:%S%.6fZ'"))
            predicate = f"asset = '{name}' AND event_timestamp IN ({instants})"
            self._delta.delete(predicate, commit_properties=self._claim())

    def by_other_facts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return (asset, event_timestamp) of rows that other facts were used for than the plant file has now."""
        definition = self.definition.followed_by(self._wanted, since=_NEVER)
        return outdated_keys(rows.lazy(), definition.outdated).collect()

    def _unknown(self, rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
        if rows.is_empty():
            return self.empty.clone()
        created = max(now, from_micros(self.definition.provenance[-1].since))
        known = self.newest(rows)
        if known.is_empty():
            return rows.with_columns(created_timestamp=pl.lit(created, _INSTANT)).select(self.schema.names()).sort(KEY)
        features = [name for name in self.schema if name != "created_timestamp"]
        current = known.filter(pl.col("created_timestamp") >= from_micros(self.definition.fresh_since))
        current = current.join(self.by_other_facts(current), on=KEY, how="anti")
        fresh = rows.join(current, on=features, how="anti", nulls_equal=True)
        # A correction must be created later than what it corrects even if our clock was set back.
        after = (pl.col("created_timestamp") + pl.duration(microseconds=1)).alias("after")
        return (
            fresh.join(known.select(*KEY, after), on=KEY, how="left")
            .with_columns(created_timestamp=pl.max_horizontal(pl.lit(created, _INSTANT), "after"))
            .select(self.schema.names())
            .sort(KEY)
        )


def _open(path: Path, empty: pl.DataFrame, definition: Definition) -> DeltaTable:
    if not DeltaTable.is_deltatable(str(path)):
        with suppress(CommitFailedError):  # another process created it at the same time
            return DeltaTable.create(
                path,
                schema=empty.to_arrow().schema,
                mode="ignore",
                description=definition.to_json(),
                configuration=CONFIGURATION,
            )
    return DeltaTable(path)
