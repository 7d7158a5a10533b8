"""A view's feature table pinned to one version: two reads give the same rows, whatever is computed meanwhile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from feast import FeatureView

from features.feast.offline.feature_source import FeatureRows
from features.feast.offline.file_tables import FileTable, scan_version
from features.feast.offline.point_in_time import ROW
from features.feast.offline.view_join import ViewQuery
from features.tables.labels import ASSET, EVENT_TIMESTAMP
from features.training.commit_times import has_first_commit, version_at
from historian.errors import FeatureError, NotEnoughData, StoreUnavailable
from historian.times import parse_duration

CREATED_TIMESTAMP: Final = "created_timestamp"

AsOf = Literal["committed", "predates", "vacuumed"]
"""How the version for an `as_of` was found: the newest one committed by then; or none, because the instant predates the
table's first version, or because that version has been vacuumed or its log cleaned up."""

_WARNINGS: Final[dict[str | None, str]] = {
    "predates": "the table's first version was committed after as_of",
    "vacuumed": "the table's version of as_of has been vacuumed",
}


@dataclass(frozen=True)
class TableSource:
    """Where a view's feature table is, and how its rows are used."""

    view: str
    path: str
    ttl: timedelta | None
    """Largest age of a feature; None for any age."""
    window: timedelta
    """Length of the windows from which the rows were computed."""


def source_of(view: FeatureView) -> TableSource:
    """Return the feature table of a registered view.

    Args:
        view: A registered feature view.
    """
    return TableSource(view.name, view.batch_source.path, view.ttl or None, parse_duration(view.tags["window"]))


@dataclass(frozen=True)
class TableVersion:
    """A version of a feature table."""

    number: int
    """Delta's number of the version."""
    created_until: datetime | None
    """Newest created timestamp in it, which identifies its rows once the version is vacuumed."""
    as_of: AsOf | None = None
    """How it was found for an instant; unless `committed`, it is the newest version. None if no instant was given."""


@dataclass(frozen=True)
class PinnedTable:
    """The rows of a view's feature table at one version, with what is registered of the view."""

    view: str
    path: str
    version: TableVersion
    frame: pl.LazyFrame
    """The rows created until `as_of`: all columns, and `ROW`, their number in this version."""
    definition: str
    """Definition that the rows were computed with, as recorded in the table by the feature job."""
    ttl: timedelta | None
    """Largest age of a feature; None for any age."""
    window: timedelta
    """Length of the windows from which the rows were computed."""
    stand_in: bool = False
    """Whether the version is gone and its rows are selected by `created_until` alone."""

    @property
    def hop(self) -> timedelta:
        """The distance between window starts; zero if the table does not say."""
        hop = json.loads(self.definition or "{}").get("hop")
        return parse_duration(hop) if hop else timedelta(0)

    def rows(self, features: Sequence[str]) -> pl.LazyFrame:
        """Return asset, event and created timestamp, `ROW` and the features.

        Args:
            features: Names of the table's columns.

        Raises:
            FeatureError: the table lacks a feature; it was made before the plant file had it.
        """
        schema = self.frame.collect_schema()
        if absent := sorted(set(features) - set(schema)):
            raise FeatureError(
                f"the feature table of {self.view} has no column {', '.join(absent)}; it has {', '.join(schema)}. "
                f"Move or delete its directory, run penstock compute and penstock apply"
            )
        return self.frame.select(ASSET, EVENT_TIMESTAMP, CREATED_TIMESTAMP, ROW, *features)

    def query(self, columns: Mapping[str, str]) -> ViewQuery:
        """Return the join's query for some columns.

        Args:
            columns: Name in the answer -> feature, or event timestamp.

        Raises:
            FeatureError: as `rows`.
        """
        frame = self.rows([name for name in columns.values() if name != EVENT_TIMESTAMP])
        table = FileTable(frame, pa.schema([]), ())
        rows = FeatureRows(self.view, table, frame.collect_schema(), EVENT_TIMESTAMP, CREATED_TIMESTAMP)
        return ViewQuery(rows, {ASSET: ASSET}, columns, self.ttl)


def pin(source: TableSource, version: TableVersion | None = None, *, as_of: datetime | None = None) -> PinnedTable:
    """Pin a view's table to a version; without one, to the version of an instant, or to the newest.

    The version of an instant is the newest one committed by then. Where there is none, or its files are gone, the
    newest of all is taken, and `TableVersion.as_of` says so: only created timestamps then say what existed.

    Args:
        source: The table.
        version: As a manifest records it; it stands in for the search by `as_of`.
        as_of: Rows created later are left out.

    Raises:
        NotEnoughData: there is no table yet.
        StoreUnavailable: it cannot be read.
    """
    path = source.path
    if not DeltaTable.is_deltatable(path):
        raise NotEnoughData(
            f"there is no Delta table at {path}: no features have been computed yet; run penstock compute"
        )
    try:
        number, found = (version.number, version.as_of) if version else _number_at(Path(path), as_of)
        table, created_until, gone = _opened(path, number)
        stand_in = gone and version is not None
        version = version or TableVersion(table.version(), created_until, "vacuumed" if gone else found)
        frame = _existing(scan_version(table).with_row_index(ROW), version.created_until if stand_in else None, as_of)
        if version.as_of:
            frame = _widened(frame, path)
    except (DeltaError, OSError) as error:
        raise StoreUnavailable(f"the feature table {path} cannot be read: {error}") from None
    return PinnedTable(
        view=source.view,
        path=path,
        version=version,
        frame=frame,
        definition=table.metadata().description or "",
        ttl=source.ttl,
        window=source.window,
        stand_in=stand_in,
    )


def _number_at(path: Path, as_of: datetime | None) -> tuple[int | None, AsOf | None]:
    """The number of the version of an instant, None for the newest; and how it was found."""
    if as_of is None:
        return None, None
    number = version_at(path, as_of)
    if number is None:
        return None, "predates" if has_first_commit(path) else "vacuumed"
    return number, "committed"


def _opened(path: str, number: int | None) -> tuple[DeltaTable, datetime | None, bool]:
    """The table at a version (None: the newest), the newest created timestamp in it, and whether that version is gone.

    If it is, the table is at its newest version.
    """
    if number is not None:
        with suppress(DeltaError, OSError, pl.exceptions.PolarsError):
            table = DeltaTable(path, version=number)
            return table, _created_until(table), False
    table = DeltaTable(path)
    return table, _created_until(table), number is not None


def _created_until(table: DeltaTable) -> datetime | None:
    newest = scan_version(table).select(pl.col(CREATED_TIMESTAMP).max())
    until: datetime | None = newest.collect(engine="streaming").item()
    return until


def _existing(frame: pl.LazyFrame, *until: datetime | None) -> pl.LazyFrame:
    """The rows that had been created by each of the instants."""
    limits = [instant for instant in until if instant]
    return frame.filter(pl.col(CREATED_TIMESTAMP) <= min(limits)) if limits else frame


def _widened(frame: pl.LazyFrame, path: str) -> pl.LazyFrame:
    """With the columns the table has got since then, as null: they did not exist yet."""
    newest = pl.scan_delta(path).collect_schema()
    present = frame.collect_schema()
    return frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in newest.items() if name not in present)


def as_of_warnings(found: Mapping[str, str | None]) -> list[str]:
    """Return a sentence for each table whose rows that were withdrawn since `as_of` are missing.

    Args:
        found: `TableVersion.as_of` of each table, by view.
    """
    return [
        f"{view}: {_WARNINGS[how]}; only created timestamps say what existed then, and rows withdrawn since are missing"
        for view, how in found.items()
        if how in _WARNINGS
    ]


def newest_version(table: PinnedTable) -> int:
    """Return the number of the table's newest version."""
    return DeltaTable(table.path).version()
