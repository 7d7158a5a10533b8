"""Values that a correction made after their label's time has changed: these, and no others, know more than was known.

A feature row that was computed late, such as one of a backfilled year, is no correction: it has the value that it would
have had at the time. A correction is a later row of the same asset and window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from features.feast.offline.point_in_time import ROW
from features.tables.labels import ASSET, EVENT_TIMESTAMP
from features.training.audit import ViewAudit
from features.training.pinned import CREATED_TIMESTAMP, PinnedTable

_LABEL: Final = "__label"
_AT: Final = "__at"


def corrected(
    labels: pl.DataFrame, values: pl.DataFrame, table: PinnedTable, audit: ViewAudit, columns: Mapping[str, str]
) -> dict[str, int]:
    """Return the number of values in each column that a correction has changed since their label's time.

    Args:
        labels: asset, event_timestamp, a row for each of `values`.
        values: The training set's columns `view__feature`.
        table: The view's feature table.
        audit: Of these columns; names the feature rows used.
        columns: Column of the training set -> column of the feature table.
    """
    earlier = _earlier_rows(labels, table, audit)
    wanted = pl.col(ROW).is_in(earlier[ROW].unique().implode())
    rows = table.rows([*columns.values()]).filter(wanted).select(ROW, *columns.values()).collect()
    then = earlier.join(rows, on=ROW, how="left", maintain_order="left")
    now = values[earlier[_LABEL]]
    return {column: int(now[column].ne_missing(then[feature]).sum()) for column, feature in columns.items()}


def _earlier_rows(labels: pl.DataFrame, table: PinnedTable, audit: ViewAudit) -> pl.DataFrame:
    """Labels whose feature row replaced another after their time: `_LABEL`, and the number `ROW` of that other row."""
    used = labels.select(ASSET, pl.col(EVENT_TIMESTAMP).alias(_AT)).hstack(audit.used.get_columns())
    late = used.with_row_index(_LABEL).filter(pl.col(CREATED_TIMESTAMP) > pl.col(_AT))
    windows = late.select(ASSET, EVENT_TIMESTAMP).unique().lazy()
    versions = table.rows([]).join(windows, on=[ASSET, EVENT_TIMESTAMP], how="semi").collect(engine="streaming")
    both = late.join(versions.sort(CREATED_TIMESTAMP, ROW), on=[ASSET, EVENT_TIMESTAMP], suffix="_then")
    was = pl.col(f"{CREATED_TIMESTAMP}_then")
    # The newest one known at the label's time; if there was none yet, the first: it came late, but is no correction.
    known = pl.col(ROW).filter(was <= pl.col(_AT)).last().fill_null(pl.col(ROW).first())
    rows = both.sort(_LABEL, was, ROW).group_by(_LABEL, maintain_order=True).agg(known, pl.col(ROW).last().alias("now"))
    return rows.filter(pl.col(ROW) != pl.col("now")).select(_LABEL, ROW)
