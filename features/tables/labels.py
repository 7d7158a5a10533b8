"""Label files: which asset, at what time, and whatever else a person knows about it (the target, a work order).

Columns `asset` and `event_timestamp`, CSV or Parquet; every other column is kept as it is. A column of a CSV is numbers
if every cell of it is one, and text if any is not, or would lose something, such as the zeros of `00123`. A label file
is checked completely, and every problem is reported at once, with file and row.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl

from features.tables.written_tables import Columns, WrittenTable, read_checked
from historian.errors import InvalidInput, near_misses

ASSET: Final = "asset"
EVENT_TIMESTAMP: Final = "event_timestamp"
EPISODE: Final = "episode"
"""A run of an asset between two overhauls, where a label file or a rule names it."""
RESERVED: Final = (ASSET, EVENT_TIMESTAMP, EPISODE, "split", "censored", "at_least_s")
"""The columns of a label with a fixed meaning: the row's keys, and what a rule adds to the target."""

_COLUMNS: Final = Columns("label", ASSET, times=(EVENT_TIMESTAMP,))
_NAMES: Final = (ASSET, EVENT_TIMESTAMP, EPISODE)
_NUMBER: Final = r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
"""As a program writes it, and short enough for 64 bits."""


def read_labels(path: Path, assets: Collection[str]) -> pl.DataFrame:
    """Read and check a label file.

    Args:
        path: CSV, or Parquet with any other suffix.
        assets: The names of the plant's assets.

    Returns:
        `asset` String, `event_timestamp` Datetime("us", "UTC"), and the file's other columns, rows in the file's order.

    Raises:
        InvalidInput: with every problem found.
    """
    labels = read_checked(path, _COLUMNS, assets)
    if path.suffix.lower() != ".csv":
        return labels
    others = [labels[name] for name in labels.columns if name not in _NAMES]
    return labels.with_columns(_numbers(column) for column in others if _is_numbers(column))


def checked_labels(frame: pl.DataFrame, assets: Collection[str], *, file: str) -> pl.DataFrame:
    """Check labels that did not come from a file, and parse their times; the result is as that of `read_labels`.

    Args:
        frame: Labels as a person wrote them.
        assets: The names of the plant's assets.
        file: What messages call the labels.

    Raises:
        InvalidInput: a column is missing, an asset unknown, a time absent, unreadable or without a zone.
    """
    return WrittenTable(frame, file).checked(_COLUMNS, assets)


def with_target(labels: pl.DataFrame, target: str) -> pl.DataFrame:
    """Return the labels with the target as numbers, where it is text and every cell of it is a number.

    Args:
        labels: As `read_labels` returns them.
        target: The column to be predicted.

    Raises:
        InvalidInput: there is no such column apart from asset and event_timestamp, or it holds something that is
            neither numbers nor flags nor words.
    """
    others = [name for name in labels.columns if name not in (ASSET, EVENT_TIMESTAMP)]
    if target not in others:
        raise InvalidInput(f"the labels have no column {target!r} to be the target{near_misses(target, others)}")
    kind = labels.schema[target]
    if kind.is_nested() or kind in (pl.Duration, pl.Binary, pl.Object):
        raise InvalidInput(f"the target {target!r} holds {kind}; make it numbers (seconds, say), flags or words")
    return labels.with_columns(_numbers(labels[target])) if kind == pl.String() else labels


def _is_numbers(text: pl.Series) -> bool:
    cells = text.drop_nulls()
    return bool(len(cells) and cells.str.contains(_NUMBER).all())


def _numbers(text: pl.Series) -> pl.Series:
    """The column as whole numbers if all of it is, else as numbers if all of it is, else as it is."""
    for dtype in (pl.Int64(), pl.Float64()):
        numbers = text.cast(dtype, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers
    return text
