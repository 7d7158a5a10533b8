"""What drivers read: raw rows of samples and of waveforms, and the times that they span. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import polars as pl

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
        known = self.samples.filter(pl.col("tag").is_not_null() & pl.col("timestamp").is_not_null())
        samples = known.select("tag", first="timestamp", last="timestamp", quality="quality")
        timed = pl.all_horizontal(pl.col("tag", "timestamp", "sample_rate", "count").is_not_null())
        stretches = self.waveforms.filter(timed)
        last = pl.Series(last_us(stretches)).cast(SPANS["last"])
        spanned = stretches.select("tag", first="timestamp", last=last, quality="quality")
        return pl.concat([samples.cast(SPANS), spanned.cast(SPANS)])


def joined(*parts: RawRows) -> RawRows:
    """Return the rows of all parts, in order."""
    samples = [part.samples.select(SCHEMA.names()).cast(SCHEMA) for part in parts]
    return RawRows(pl.concat(samples), pl.concat([part.waveforms for part in parts]))


def number_of_samples(rows: pl.DataFrame) -> int:
    """Return how many samples rows hold: one each, or the `count` of those that are stretches."""
    if "count" not in rows.columns:
        return rows.height
    return int(rows.select(pl.col("count").cast(pl.Int64).fill_null(1).sum()).item())
