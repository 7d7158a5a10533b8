"""A view's feature table held at one version: what is read twice is the same twice, whatever is computed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from feast import FeatureView

from features.labels import ASSET, EVENT_TIMESTAMP
from features.offline.feature_source import FeatureRows
from features.offline.file_tables import FileTable, scan_version
from features.offline.point_in_time import ROW
from features.offline.view_join import ViewQuery
from historian.errors import FeatureError, NotEnoughData, StoreUnavailable
from historian.times import parse_duration

CREATED_TIMESTAMP: Final = "created_timestamp"


@dataclass(frozen=True)
class Moment:
    """Which state of a table is meant."""

    version: int
    """Delta's."""
    created_until: datetime | None
    """The newest created timestamp in it: stands in for the version once that is vacuumed."""


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


def pin(view: FeatureView, moment: Moment | None = None) -> PinnedTable:
    """The view's table at a moment; now if it is left out.

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
        table, stand_in = _at(path, moment)
        frame = scan_version(table).with_row_index(ROW)
        if stand_in and moment:
            frame = frame.filter(pl.col(CREATED_TIMESTAMP) <= moment.created_until)
        pinned = moment or Moment(table.version(), _newest_created(frame))
    except (DeltaError, OSError) as error:
        raise StoreUnavailable(f"the feature table {path} cannot be read: {error}") from None
    return PinnedTable(view, pinned, frame, table.metadata().description or "", stand_in)


def _at(path: str, moment: Moment | None) -> tuple[DeltaTable, bool]:
    """The table at the moment's version, or the newest if the files of that version are gone."""
    if moment is None:
        return DeltaTable(path), False
    try:
        table = DeltaTable(path, version=moment.version)
        _newest_created(scan_version(table))
    except (DeltaError, OSError, pl.exceptions.PolarsError):
        return DeltaTable(path), True
    return table, False


def _newest_created(frame: pl.LazyFrame) -> datetime | None:
    found = frame.select(pl.col(CREATED_TIMESTAMP).max()).collect(engine="streaming").item()
    return found if isinstance(found, datetime) else None


def pin_all(views: Mapping[str, FeatureView], moments: Mapping[str, Moment] | None = None) -> dict[str, PinnedTable]:
    """The tables of the views of some references, by name. Raises as `pin` does."""
    by_name = {view.name: view for view in views.values()}
    return {name: pin(view, (moments or {}).get(name)) for name, view in by_name.items()}


def newest_version(view: FeatureView) -> int:
    """The version the view's table has come to."""
    return DeltaTable(view.batch_source.path).version()
