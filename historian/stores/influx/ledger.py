"""The ledger in InfluxDB: a point a write, stamped by the server's clock as it arrives.

No edge's clock can therefore hide a write from a reader. The rows are JSON in the field `entries`, so that the ledger
adds a series a source, not a series a tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from historian.stores.influx.line_protocol import escaped_tag, escaped_text, tag_value, unescaped_tag
from historian.stores.protocols import LEDGER

_ENTRIES_PER_POINT: Final = 200
"""Number of entries per ledger point: a string may have 64 KiB, and a tag's name 256 characters."""
_POINTS_PER_BODY: Final = 20
_ENTRY: Final = pl.Struct({"tag": pl.String(), "first": pl.Int64(), "last": pl.Int64(), "rows": pl.Int64()})


def ledger_bodies(rows: pl.DataFrame) -> Iterator[bytes]:
    """Yield the ledger rows of a write of one source as points without a time: the server sets it.

    Args:
        rows: columns of `LEDGER`; `ingested_at` is left to the server.
    """
    series = _entries(rows).select(
        pl.format(
            'ledger,part={},source={} entries="{}"',
            "part",
            escaped_tag(tag_value(pl.lit(rows.item(0, "source")))).first(),
            escaped_text(pl.col("entries")),
        )
    )
    for few in series.to_series().to_frame().iter_slices(_POINTS_PER_BODY):
        yield few.to_series().str.join("\n").item().encode()


def _entries(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `part` and `entries`: ledger rows as lines of JSON, several in an entry."""
    entries = rows.select("tag", pl.col("first", "last").cast(pl.Int64), "rows")
    part = pl.int_range(pl.len()) // _ENTRIES_PER_POINT
    return entries.group_by(part.alias("part"), maintain_order=True).agg(
        pl.struct("tag", "first", "last", "rows").struct.json_encode().str.join("\n").alias("entries")
    )


def ledger(points: pl.DataFrame) -> pl.DataFrame:
    """Return points of an answer as ledger rows, columns of `LEDGER`, in order of time.

    Args:
        points: tags, time in microseconds, entries.
    """
    source = unescaped_tag(pl.col("tags").str.extract(r"(?:^|,)source=(.*)$")).str.replace(r"%$", "")
    entries = points.select(
        ingested_at=pl.col("time").cast(LEDGER["ingested_at"]),
        source=source,
        entry=pl.col("entries").str.split("\n"),
    ).explode("entry")
    unpacked = entries.with_columns(pl.col("entry").str.json_decode(_ENTRY)).unnest("entry")
    return unpacked.select(LEDGER.names()).cast(LEDGER).sort("ingested_at", "tag")
