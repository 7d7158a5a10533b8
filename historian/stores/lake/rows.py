"""Reads rows of the lake's files, and no more of the files than necessary.

Row groups that lie wholly in the range are not filtered by time. A column that has one value in all rows according to
the statistics (one tag, all Good, no text) is not read; Polars keeps such a column as a single value. The column
`ingested_at` is read only where two rows have the same key.

Arrow reads each file in the calling thread: threads do not wait for one another, and Arrow reuses its memory. See
docs/decisions/0013.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from historian.samples import SCHEMA, is_in_order, newest_wins
from historian.stores.lake.files import FileOrGroup
from historian.stores.lake.layout import WRITTEN
from historian.times import micros


def unique_rows(
    parts: Sequence[FileOrGroup], tags: Sequence[str], start: datetime, end: datetime, *, stamped: bool
) -> pl.DataFrame:
    """Return the samples of `tags` in [start, end), sorted by (tag, timestamp), without superseded rows.

    Args:
        parts: files and row groups that may hold some of them.
        tags: the tags to read.
        start: first instant of the range.
        end: first instant after the range.
        stamped: whether to return the column `ingested_at` too.

    Returns:
        Columns of a sample batch, then `ingested_at` if `stamped`.
    """
    same = _constant_columns(parts)
    names = [name for name in SCHEMA if name not in {"tag", *same}] + [WRITTEN] * stamped
    rows_of = _by_tag(parts, tags, start, end, names)
    if not stamped and any(not is_in_order(rows) for rows in rows_of.values()):
        rows_of = _by_tag(parts, tags, start, end, [*names, WRITTEN])
    if any(WRITTEN in rows.columns for rows in rows_of.values()):
        rows_of = {tag: newest_wins(rows, written=WRITTEN) for tag, rows in rows_of.items()}
    known = {name: pl.lit(value, SCHEMA[name]) for name, value in same.items()}
    order = [*SCHEMA, *([WRITTEN] if stamped else [])]
    frames = [rows_of[tag].with_columns(tag=pl.lit(tag), **known).select(order) for tag in sorted(rows_of)]
    if not frames:
        return pl.DataFrame(schema={**SCHEMA, WRITTEN: SCHEMA["timestamp"]}).select(order)
    return pl.concat(frames).cast({"quality": SCHEMA["quality"], "text": pl.String})


def row_counts(
    parts: Sequence[FileOrGroup], tags: Sequence[str], start: datetime, end: datetime, step: timedelta
) -> pl.DataFrame:
    """Count the stored rows of `tags` in each `step` of [start, end).

    Returns:
        Columns `timestamp` (where the step begins) and `len`, ascending; steps without rows are left out.
    """
    counts = [pl.DataFrame(schema={"timestamp": SCHEMA["timestamp"], "len": pl.UInt32()})]
    for part in parts:
        for rows in _by_tag([part], tags, start, end, ["timestamp"]).values():
            counts.append(rows.group_by(pl.col("timestamp").dt.truncate(step)).len())
    return pl.concat(counts).group_by("timestamp").agg(pl.col("len").sum()).sort("timestamp")


def _constant_columns(parts: Sequence[FileOrGroup]) -> dict[str, int | None]:
    """Return the columns other than the tag that have one value in all rows, with that value: they need not be read."""
    qualities = {part.quality for part in parts}
    found: dict[str, int | None] = {"text": None} if all(part.texts == 0 for part in parts) else {}
    return found | ({"quality": qualities.pop()} if len(qualities) == 1 and None not in qualities else {})


def _by_tag(
    parts: Sequence[FileOrGroup], tags: Sequence[str], start: datetime, end: datetime, names: Sequence[str]
) -> Mapping[str, pl.DataFrame]:
    """Return the stored rows of each tag that has any, superseded ones included, without the column `tag`."""
    found: dict[str, list[pl.DataFrame]] = {}
    for tag in {part.tag for part in parts if part.tag is not None}:
        own = pl.DataFrame(_table([part for part in parts if part.tag == tag], names, start, end))
        found[tag] = [own] if len(own) else []
    if shared := [part for part in parts if part.tag is None]:
        rows = pl.DataFrame(_table(shared, ["tag", *names], start, end)).filter(pl.col("tag").is_in(tags))
        for (tag,), own in rows.partition_by("tag", as_dict=True, include_key=False).items():
            found.setdefault(tag, []).append(own)
    return {
        tag: pl.concat(sorted(frames, key=lambda rows: rows.item(0, "timestamp"))).rechunk()
        for tag, frames in found.items()
        if frames
    }


def _table(parts: Sequence[FileOrGroup], names: Sequence[str], start: datetime, end: datetime) -> pa.Table:
    """Return the rows of files and row groups in [start, end), as one chunk.

    They are read in the order of their first instants, so that rows written in order need not be sorted.
    """
    files: dict[str, list[FileOrGroup]] = {}
    for part in sorted(parts, key=lambda part: part.first or 0):
        files.setdefault(part.path, []).append(part)
    tables = []
    for path, wanted in files.items():
        with pq.ParquetFile(path, read_dictionary=["tag", "text"]) as file:
            few: dict[str, Any] = {"columns": list(names), "use_threads": False}
            groups = [part.group for part in wanted]
            table = file.read(**few) if None in groups else file.read_row_groups(groups, **few)
        inside = all(part.lies_within(start, end) for part in wanted)
        tables.append(table if inside else _between(table, start, end))
    return pa.concat_tables(tables).combine_chunks()


def _between(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """Return the rows in [start, end). Usually they are consecutive, and nothing is copied."""
    times = table["timestamp"].combine_chunks().view(pa.int64()).to_numpy()
    inside = (times >= micros(start)) & (times < micros(end))
    count, first = int(np.count_nonzero(inside)), int(np.argmax(inside)) if len(inside) else 0
    return table.slice(first, count) if inside[first : first + count].all() else table.filter(pa.array(inside))
