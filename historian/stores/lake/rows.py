"""The rows of the lake's files, read no further than is needed.

Row groups that lie in the range asked for are not searched for it, a column of which the statistics tell that it has
one value in all rows (one tag, all Good, no text) is not read, and when rows were written is looked at only where that
decides which of two stays. A column that was not read is one value to Polars until somebody looks at its rows.

Arrow reads the files, each in the thread that asks: threads that read do not wait for one another, and its memory is
used again. See docs/decisions/0013.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from historian.samples import SCHEMA, is_in_order, newest_wins
from historian.stores.lake.files import Unit
from historian.times import micros

WRITTEN: Final = "ingested_at"


def settled_rows(
    units: Sequence[Unit], tags: Sequence[str], start: datetime, end: datetime, *, stamped: bool
) -> pl.DataFrame:
    """The samples of `tags` in [start, end): sorted, unique; columns of a batch, and `ingested_at` if stamped.

    Args:
        units: that may hold some.
        tags: which.
        start: first instant.
        end: first instant after.
        stamped: whether to tell when rows were written.
    """
    same = _same(units)
    names = [name for name in SCHEMA if name not in {"tag", *same}] + [WRITTEN] * stamped
    parts = _by_tag(units, tags, start, end, names)
    if not stamped and any(not is_in_order(rows) for rows in parts.values()):
        parts = _by_tag(units, tags, start, end, [*names, WRITTEN])
    if any(WRITTEN in rows.columns for rows in parts.values()):
        parts = {tag: newest_wins(rows, written=WRITTEN) for tag, rows in parts.items()}
    known = {name: pl.lit(value, SCHEMA[name]) for name, value in same.items()}
    order = [*SCHEMA, *([WRITTEN] if stamped else [])]
    frames = [parts[tag].with_columns(tag=pl.lit(tag), **known).select(order) for tag in sorted(parts)]
    if not frames:
        return pl.DataFrame(schema={**SCHEMA, WRITTEN: SCHEMA["timestamp"]}).select(order)
    return pl.concat(frames).cast({"quality": SCHEMA["quality"], "text": pl.String})


def bins_of(
    units: Sequence[Unit], tags: Sequence[str], start: datetime, end: datetime, step: timedelta
) -> pl.DataFrame:
    """How many stored rows of `tags` each `step` of [start, end) has: timestamp, len; ascending, none empty."""
    counts = [pl.DataFrame(schema={"timestamp": SCHEMA["timestamp"], "len": pl.UInt32()})]
    for unit in units:
        for rows in _by_tag([unit], tags, start, end, ["timestamp"]).values():
            counts.append(rows.group_by(pl.col("timestamp").dt.truncate(step)).len())
    return pl.concat(counts).group_by("timestamp").agg(pl.col("len").sum()).sort("timestamp")


def _same(units: Sequence[Unit]) -> dict[str, int | None]:
    """The columns besides the tag that have one value in all rows of the units, and which: they need not be read."""
    qualities = {unit.quality for unit in units}
    found: dict[str, int | None] = {"text": None} if all(unit.texts == 0 for unit in units) else {}
    return found | ({"quality": qualities.pop()} if len(qualities) == 1 and None not in qualities else {})


def _by_tag(
    units: Sequence[Unit], tags: Sequence[str], start: datetime, end: datetime, names: Sequence[str]
) -> Mapping[str, pl.DataFrame]:
    """The stored rows of each tag that has any, superseded ones among them; without the tag."""
    found: dict[str, list[pl.DataFrame]] = {}
    for tag in {unit.tag for unit in units if unit.tag is not None}:
        own = pl.DataFrame(_table([unit for unit in units if unit.tag == tag], names, start, end))
        found[tag] = [own] if len(own) else []
    if shared := [unit for unit in units if unit.tag is None]:
        rows = pl.DataFrame(_table(shared, ["tag", *names], start, end)).filter(pl.col("tag").is_in(tags))
        for (tag,), part in rows.partition_by("tag", as_dict=True, include_key=False).items():
            found.setdefault(tag, []).append(part)
    return {
        tag: pl.concat(sorted(parts, key=lambda rows: rows.item(0, "timestamp"))).rechunk()
        for tag, parts in found.items()
        if parts
    }


def _table(units: Sequence[Unit], names: Sequence[str], start: datetime, end: datetime) -> pa.Table:
    """The rows of the units in [start, end), in one piece.

    They come by their first instant, so that what was written in order is read in order and need not be sorted.
    """
    files: dict[str, list[Unit]] = {}
    for unit in sorted(units, key=lambda unit: unit.first or 0):
        files.setdefault(unit.path, []).append(unit)
    tables = []
    for path, wanted in files.items():
        with pq.ParquetFile(path, read_dictionary=["tag", "text"]) as file:
            few: dict[str, Any] = {"columns": list(names), "use_threads": False}
            groups = [unit.group for unit in wanted]
            table = file.read(**few) if None in groups else file.read_row_groups(groups, **few)
        inside = all(unit.lies_within(start, end) for unit in wanted)
        tables.append(table if inside else _between(table, start, end))
    return pa.concat_tables(tables).combine_chunks()


def _between(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """The rows in [start, end); most often they follow one another, and nothing is copied."""
    times = table["timestamp"].combine_chunks().view(pa.int64()).to_numpy()
    inside = (times >= micros(start)) & (times < micros(end))
    count, first = int(np.count_nonzero(inside)), int(np.argmax(inside)) if len(inside) else 0
    return table.slice(first, count) if inside[first : first + count].all() else table.filter(pa.array(inside))
