"""Label files: which asset, at what time, and whatever else a person knows about it (the target, a work order).

Columns `asset` and `event_timestamp`, CSV or Parquet; every other column is kept as it is. A label file is checked
completely, and every problem is reported at once, with file and row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from historian.errors import InvalidInput, Problem, near_misses

ASSET: Final = "asset"
EVENT_TIMESTAMP: Final = "event_timestamp"

_SHOWN: Final = 100
_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")


def read_labels(path: Path, assets: Collection[str]) -> pl.DataFrame:
    """Reads and checks a label file.

    Returns:
        `asset` String, `event_timestamp` Datetime("us", "UTC"), and the file's other columns, rows in the file's order.

    Raises:
        InvalidInput: with every problem found.
    """
    is_csv = path.suffix.lower() == ".csv"
    try:
        if is_csv:
            times = {ASSET: pl.String, EVENT_TIMESTAMP: pl.String}
            frame = pl.read_csv(path, schema_overrides=times, infer_schema_length=None)
        else:
            frame = pl.read_parquet(path).cast({pl.Categorical: pl.String})
    except FileNotFoundError:
        raise InvalidInput(f"there is no label file {path}") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        kind = "CSV" if is_csv else "Parquet"
        raise InvalidInput([Problem(path.name, "", f"cannot be read as {kind}: {error}")]) from None
    # The first row below the header is row 2, as a spreadsheet shows it.
    return checked_labels(frame, assets, file=path.name, first_row=2 if is_csv else 1)


def checked_labels(frame: pl.DataFrame, assets: Collection[str], *, file: str, first_row: int = 1) -> pl.DataFrame:
    """Labels as a person wrote them -> labels that can be joined. See `read_labels`.

    Raises:
        InvalidInput: a column is missing, an asset unknown, a time absent, unreadable or without a zone.
    """
    columns = [*_column_problems(frame)]
    if columns:
        raise InvalidInput([Problem(file, "", text) for text in columns])
    times = _utc(frame[EVENT_TIMESTAMP])
    unknown = ~frame[ASSET].is_in(sorted(assets)).fill_null(value=False)
    wrong = frame.select(ASSET, EVENT_TIMESTAMP, unknown=unknown, untimely=times.is_null()).with_row_index("row")
    wrong = wrong.filter(pl.col("unknown") | pl.col("untimely"))
    if not wrong.is_empty():
        raise InvalidInput([*_row_problems(wrong, assets, file, first_row)])
    return frame.with_columns(times.alias(EVENT_TIMESTAMP))


def _column_problems(frame: pl.DataFrame) -> Iterator[str]:
    absent = [name for name in (ASSET, EVENT_TIMESTAMP) if name not in frame.columns]
    yield from (f"has no column {name!r}; it has {', '.join(frame.columns) or 'none'}" for name in absent)
    if absent:
        return
    if frame.is_empty():
        yield "has no labels"
    asset, time = frame.schema[ASSET], frame.schema[EVENT_TIMESTAMP]
    if asset != pl.String():
        yield f"column {ASSET} holds {asset}, not the names of assets"
    if isinstance(time, pl.Datetime) and time.time_zone is None:
        yield f"column {EVENT_TIMESTAMP} holds times without a zone; store them in UTC, with the zone"
    elif not isinstance(time, pl.Datetime | pl.String):
        yield f"column {EVENT_TIMESTAMP} holds {time}, not times such as 2026-03-01T00:00:00Z"


def _utc(column: pl.Series) -> pl.Series:
    """Text or timestamps -> UTC microseconds; null where there is no time, or one without a zone."""
    if column.dtype != pl.String():
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    text = column.str.replace(" ", "T", literal=True)
    times = [text.str.to_datetime(pattern, time_unit="us", strict=False) for pattern in _FORMATS]
    return pl.select(pl.coalesce(times)).to_series()


def _row_problems(wrong: pl.DataFrame, assets: Collection[str], file: str, first_row: int) -> Iterator[Problem]:
    for row in wrong.head(_SHOWN).to_dicts():
        place = f"row {row['row'] + first_row}"
        if row["unknown"]:
            yield Problem(file, place, _asset_complaint(row[ASSET], assets))
        if row["untimely"]:
            yield Problem(file, place, _time_complaint(row[EVENT_TIMESTAMP]))
    if wrong.height > _SHOWN:
        yield Problem(file, "", f"{wrong.height} rows have problems; the first {_SHOWN} of them are shown")


def _asset_complaint(given: str | None, assets: Collection[str]) -> str:
    return f"unknown asset {given!r}{near_misses(given, assets)}" if given else f"{ASSET} is empty"


def _time_complaint(given: str | None) -> str:
    if not given:
        return f"{EVENT_TIMESTAMP} is empty"
    try:
        naive = datetime.fromisoformat(given).tzinfo is None
    except ValueError:
        naive = False
    if naive:
        return f"the time {given!r} has no zone; write 2026-03-01T00:00:00Z for UTC, or an offset such as +01:00"
    return f"{given!r} is not a time; write 2026-03-01T00:00:00Z"
