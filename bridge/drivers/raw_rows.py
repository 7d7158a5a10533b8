"""What drivers read: raw rows of samples and of waveforms, and the times that they span. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from historian.quality import OVERFLOW
from historian.samples import SCHEMA
from historian.waveforms.batch import WAVEFORM_SCHEMA
from historian.waveforms.timing import last_us

SPANS: Final = pl.Schema(
    {"tag": pl.String(), "first": SCHEMA["timestamp"], "last": SCHEMA["timestamp"], "quality": SCHEMA["quality"]}
)
"""Columns of `RawRows.spans`: times of the first and last sample of a raw row; they are equal for a single sample."""


class RawRows(NamedTuple):
    """Raw rows of both kinds, in any order and with repeats.

    A driver returns stretches where its source has arrays. It may also return vibration as a row a sample: the bridge
    packs these rows with the sample rate of the tag's point.
    """

    samples: pl.DataFrame = SCHEMA.to_frame()
    """A row a sample: columns of `samples.SCHEMA`; `value` may be Float32."""
    waveforms: pl.DataFrame = WAVEFORM_SCHEMA.to_frame()
    """A row a stretch, as `historian.waveforms.encoding.encode` makes them: columns of `WAVEFORM_SCHEMA`."""

    @property
    def is_empty(self) -> bool:
        """Whether there are no rows of either kind."""
        return self.samples.is_empty() and self.waveforms.is_empty()

    def spans(self) -> pl.DataFrame:
        """Return a row for each sample and each stretch that has a tag and times: columns of `SPANS`, in order."""
        parts = []
        if not self.samples.is_empty():
            samples = self.samples.select("tag", first="timestamp", last="timestamp", quality="quality")
            parts.append(_without_nulls(samples, "tag", "first").cast(SPANS))
        if not self.waveforms.is_empty():
            timed = _without_nulls(self.waveforms, "tag", "timestamp", "sample_rate", "count")
            last = pl.Series("last", last_us(timed)).cast(SPANS["last"])
            parts.append(timed.select("tag", first="timestamp", last=last, quality="quality"))
        return pl.concat(parts) if parts else SPANS.to_frame()


def _without_nulls(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return the rows that have all these columns; looking whether any is null takes no time."""
    return rows.drop_nulls(columns) if any(rows[name].null_count() for name in columns) else rows


def joined(*parts: RawRows) -> RawRows:
    """Return the rows of all parts, in order."""
    samples = [part.samples.select(SCHEMA.names()).cast(SCHEMA) for part in parts]
    return RawRows(pl.concat(samples), pl.concat([part.waveforms for part in parts]))


def overflows(rows: RawRows) -> dict[str, int]:
    """Return how many rows of each tag say that the server's queue dropped values before them; most have none."""
    marked = [part["tag"].filter((part["quality"] & OVERFLOW) == OVERFLOW) for part in rows if part.height]
    tags = pl.concat(marked) if marked else pl.Series(dtype=pl.String)
    return dict(tags.value_counts().iter_rows()) if len(tags) else {}


def number_of_samples(rows: pl.DataFrame) -> int:
    """Return how many samples rows hold: one each, or the `count` of those that are stretches."""
    if "count" not in rows.columns:
        return rows.height
    counts = rows["count"]  # NumPy adds them in a tenth of the time that a query takes
    return int(counts.drop_nulls().to_numpy().sum(dtype=np.int64)) + counts.null_count()
