"""A view's feature table held at one version: what is read twice is the same twice, whatever is computed meanwhile."""

from __future__ import annotations

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
from features.training.commit_times import is_whole, version_at
from historian.errors import FeatureError, NotEnoughData, StoreUnavailable
from historian.times import parse_duration

CREATED_TIMESTAMP: Final = "created_timestamp"

Found = Literal["committed", "younger", "gone"]
"""The version of an `as_of`: the newest committed by then; or there is none, as the table is younger; or it is gone."""

_DOUBTS: Final[dict[str | None, str]] = {
    "younger": "the table's first version was committed after as_of",
    "gone": "the table's version of as_of is gone",
}


@dataclass(frozen=True)
class Moment:
    """Which state of a table is meant."""

    version: int
    """Delta's."""
    created_until: datetime | None
    """The newest created timestamp in it: stands in for the version once that is vacuumed."""
    found: Found | None = None
    """Why this version, if it was asked for as of an instant: the newest one unless `committed`."""


@dataclass(frozen=True)
class PinnedTable:
    """The rows of a view's feature table at a moment."""

    view: FeatureView
    moment: Moment
    frame: pl.LazyFrame
    """All rows and columns, and `ROW`, which holds for this moment."""
    definition: str
    """What the rows' values depend on, as the feature job has written it into the table."""
    stand_in: bool = False
    """Whether the version is gone and rows are told by `created_until` alone."""

    @property
    def ttl(self) -> timedelta | None:
        """How old a feature may be; None for any age."""
        return self.view.ttl or None

    @property
    def window(self) -> timedelta:
        """The length of the windows the rows were computed from."""
        return parse_duration(self.view.tags["window"])

    def rows(self, features: Sequence[str], as_of: datetime | None) -> pl.LazyFrame:
        """asset, event and created timestamp, `ROW` and the features of the rows created until `as_of`.

        Raises:
            FeatureError: the table lacks a feature; it was made before the plant file had it.
        """
        schema = self.frame.collect_schema()
        if absent := sorted(set(features) - set(schema)):
            raise FeatureError(
                f"the feature table of {self.view.name} has no column {', '.join(absent)}; it has {', '.join(schema)}. "
                f"Move or delete its directory, run penstock compute and penstock apply"
            )
        chosen = self.frame.select(ASSET, EVENT_TIMESTAMP, CREATED_TIMESTAMP, ROW, *features)
        return chosen.filter(pl.col(CREATED_TIMESTAMP) <= as_of) if as_of else chosen

    def query(self, columns: Mapping[str, str], as_of: datetime | None) -> ViewQuery:
        """What is asked of the view: `columns` (name -> feature, or event timestamp) of the rows created until `as_of`.

        Raises:
            FeatureError: as `rows`.
        """
        frame = self.rows([name for name in columns.values() if name != EVENT_TIMESTAMP], as_of)
        table = FileTable(frame, pa.schema([]), ())
        rows = FeatureRows(self.view.name, table, frame.collect_schema(), EVENT_TIMESTAMP, CREATED_TIMESTAMP)
        return ViewQuery(rows, {ASSET: ASSET}, columns, self.ttl)


def pin(view: FeatureView, moment: Moment | None = None, *, as_of: datetime | None = None) -> PinnedTable:
    """The view's table at a moment; if that is left out, as it stood at an instant, or now.

    As it stood means the newest version committed by then. Where there is none, or its files are gone, it is the newest
    of all, and `Moment.found` says so: created timestamps alone tell what was known then.

    Raises:
        NotEnoughData: there is no table yet.
        StoreUnavailable: it cannot be read.
    """
    path = view.batch_source.path
    if not DeltaTable.is_deltatable(path):
        raise NotEnoughData(
            f"there is no Delta table at {path}: no features have been computed yet; run penstock compute"
        )
    try:
        version, found = (moment.version, moment.found) if moment else _wanted(Path(path), as_of)
        table, created_until, gone = _at(path, version)
        stand_in = gone and moment is not None
        moment = moment or Moment(table.version(), created_until, "gone" if gone else found)
        frame = scan_version(table).with_row_index(ROW)
        if stand_in:
            frame = frame.filter(pl.col(CREATED_TIMESTAMP) <= moment.created_until)
        if moment.found:
            frame = _widened(frame, path)
    except (DeltaError, OSError) as error:
        raise StoreUnavailable(f"the feature table {path} cannot be read: {error}") from None
    return PinnedTable(view, moment, frame, table.metadata().description or "", stand_in)


def _wanted(path: Path, as_of: datetime | None) -> tuple[int | None, Found | None]:
    """The version of an instant, None for the newest; and how it was found."""
    if as_of is None:
        return None, None
    version = version_at(path, as_of)
    if version is None:
        return None, "younger" if is_whole(path) else "gone"
    return version, "committed"


def _at(path: str, version: int | None) -> tuple[DeltaTable, datetime | None, bool]:
    """The table at a version (None: the newest), the newest created timestamp in it, and whether that version is gone.

    If it is, the table is at its newest version.
    """
    if version is not None:
        with suppress(DeltaError, OSError, pl.exceptions.PolarsError):
            table = DeltaTable(path, version=version)
            return table, _created_until(table), False
    table = DeltaTable(path)
    return table, _created_until(table), version is not None


def _created_until(table: DeltaTable) -> datetime | None:
    newest = scan_version(table).select(pl.col(CREATED_TIMESTAMP).max())
    until: datetime | None = newest.collect(engine="streaming").item()
    return until


def _widened(frame: pl.LazyFrame, path: str) -> pl.LazyFrame:
    """With the columns the table has got since: nothing was known of them."""
    since = pl.scan_delta(path).collect_schema()
    had = frame.collect_schema()
    return frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in since.items() if name not in had)


def pin_all(
    views: Mapping[str, FeatureView],
    moments: Mapping[str, Moment] | None = None,
    *,
    as_of: datetime | None = None,
) -> dict[str, PinnedTable]:
    """The tables of the views of some references, by name. Raises as `pin` does."""
    by_name = {view.name: view for view in views.values()}
    return {name: pin(view, (moments or {}).get(name), as_of=as_of) for name, view in by_name.items()}


def doubts(found: Mapping[str, str | None]) -> list[str]:
    """A sentence for each table, by name, of which rows that were withdrawn since `as_of` are missing.

    Args:
        found: `Moment.found` of each.
    """
    return [
        f"{name}: {_DOUBTS[how]}; rows are told by when they were created, and those withdrawn since are missing"
        for name, how in found.items()
        if how in _DOUBTS
    ]


def newest_version(view: FeatureView) -> int:
    """The version the view's table has come to."""
    return DeltaTable(view.batch_source.path).version()
