"""Rows of the lake's files of stretches: some columns of all of them, or all columns of some, by their numbers.

What Delta's statistics say of a whole file is not read. Files are mapped into memory: they are never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from historian.stores.lake.files import FileOrGroup
from historian.stores.lake.layout import STORED_WAVEFORMS, with_batch_types
from historian.waveforms.timing import Integers

_CONSTANT: Final = {"tag": "tag", "quality": "quality", "sample_rate": "rate", "count": "size"}
"""Columns that often have one value in all rows, and the field of `FileOrGroup` that says so."""


def read_rows(files: Sequence[FileOrGroup], names: Sequence[str]) -> pl.DataFrame:
    """Return all rows of files, in the order of `files`.

    Args:
        files: whole files.
        names: the columns to read, of `STORED_WAVEFORMS`.
    """
    same = _constant_columns(files, names)
    columns = [name for name in names if name not in same]
    tables, opened = [], pa.memory_map if "values" in columns else pa.OSFile  # mapping is dearer for few bytes
    for each in files:
        with opened(each.path) as source, pq.ParquetFile(source, pre_buffer=False) as file:
            tables.append(file.read(columns, use_threads=False))
    return _frame(tables, names, same)


def rows_at(files: Sequence[FileOrGroup], numbers: Integers, names: Sequence[str]) -> pl.DataFrame:
    """Return some rows of files. Row groups without any of them are not read, and one is in memory at a time.

    Args:
        files: whole files.
        numbers: of the rows, counted through all files, ascending.
        names: the columns to read, of `STORED_WAVEFORMS`.
    """
    edges = list(accumulate((file.rows for file in files), initial=0))
    wanted = [
        (file, inside - edge)
        for file, edge, inside in zip(files, edges, _divided(numbers, edges), strict=False)
        if len(inside)
    ]
    same = _constant_columns([file for file, _ in wanted], names)
    columns = [name for name in names if name not in same]
    return _frame([part for file, inside in wanted for part in _parts(file.path, inside, columns)], names, same)


def chosen(frame: pl.DataFrame, numbers: Integers) -> pl.DataFrame:
    """Return rows by their numbers, ascending; neighbours are not copied."""
    first = int(numbers[0]) if len(numbers) else 0
    is_run = len(numbers) == 0 or int(numbers[-1]) - first == len(numbers) - 1
    return frame.slice(first, len(numbers)) if is_run else frame[numbers]


def _parts(path: str, numbers: Integers, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield some rows of a file, those of a row group at a time."""
    with pa.memory_map(path) as source, pq.ParquetFile(source, pre_buffer=False) as file:
        footer = file.metadata
        edges = list(accumulate((footer.row_group(group).num_rows for group in range(file.num_row_groups)), initial=0))
        for group, inside in enumerate(_divided(numbers, edges)):
            if len(inside):
                few: dict[str, Any] = {"row_groups": [group], "columns": columns, "use_threads": False}
                # What follows the last of the rows is not read.
                rows = next(file.iter_batches(int(inside[-1]) - edges[group] + 1, **few))
                yield _some(rows, inside - edges[group])


def _some(rows: pa.RecordBatch, numbers: Integers) -> pa.Table:
    """Return some rows, ascending, in memory of their own unless they are all; `take` would import half of Arrow."""
    if len(numbers) == len(rows):
        return pa.Table.from_batches([rows])
    begins = np.concatenate(([0], np.flatnonzero(np.diff(numbers) != 1) + 1))
    sizes = np.diff(begins, append=len(numbers)).tolist()
    runs = zip(numbers[begins].tolist(), sizes, strict=True)
    return pa.Table.from_batches([rows.slice(first, size) for first, size in runs]).combine_chunks()


def _divided(numbers: Integers, edges: Sequence[int]) -> list[Integers]:
    """Divide ascending numbers at edges, of which the first one is 0; no number is at the last one or above it."""
    return np.split(numbers, np.searchsorted(numbers, edges[1:-1]))


def _constant_columns(files: Sequence[FileOrGroup], names: Sequence[str]) -> dict[str, Any]:
    """Return the columns that have one value in all rows according to the statistics: they need not be read."""
    known = {
        name: {getattr(file, attribute) for file in files} for name, attribute in _CONSTANT.items() if name in names
    }
    return {name: values.pop() for name, values in known.items() if len(values) == 1 and None not in values}


def _frame(tables: Sequence[pa.Table], names: Sequence[str], same: dict[str, Any]) -> pl.DataFrame:
    """Return tables as one frame with the columns `names`, of which those in `same` have one value."""
    if not tables:
        return with_batch_types(STORED_WAVEFORMS.to_frame().select(names))
    constants = [pl.lit(value, STORED_WAVEFORMS[name]).alias(name) for name, value in same.items()]
    return with_batch_types(pl.DataFrame(pa.concat_tables(tables)).with_columns(constants).select(names))
