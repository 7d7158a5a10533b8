"""Numbers for the tags of one connection, so that what is remembered per tag can be arrays. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from bridge.drivers.raw_rows import RawRows
from historian.samples import SCHEMA
from historian.waveforms.timing import Booleans, Integers


class TagNumbers:
    """Tags numbered from 0 in the order in which they are given. A few Polars operations take longer than all this."""

    def __init__(self, tags: Sequence[str] | pl.Series) -> None:
        self.tags = pl.Series("tag", tags, pl.String())
        self._kind = pl.Enum(self.tags)

    def of(self, tags: pl.Series) -> Integers:
        """Return [rows] the number of each tag, -1 of others and of null."""
        numbers = tags.cast(self._kind, strict=False).to_physical()
        found = numbers.to_numpy()
        return (np.nan_to_num(found, nan=-1.0) if numbers.null_count() else found).astype(np.int64)

    def names(self, numbers: Integers) -> pl.Series:
        """Return [rows] the tags with these numbers."""
        return self.tags.gather(numbers)


class Spans:
    """The times that the rows of known tags span, as arrays with an element a row, in the order of the rows."""

    def __init__(self, rows: RawRows, numbers: TagNumbers) -> None:
        spans = rows.spans()
        tag = numbers.of(spans["tag"])
        known = tag >= 0
        self.tag = tag[known]
        """[n] numbers of the tags."""
        self.first, self.last = (spans[name].to_physical().to_numpy()[known] for name in ("first", "last"))
        """[n] times of the first and the last sample, in microseconds since the epoch."""
        self.quality = spans["quality"].fill_null(0).to_numpy()[known]
        self.head = _firsts(self.tag, len(numbers.tags))
        """[n] whether the row is the first one of its tag."""


def _firsts(tag: Integers, count: int) -> Booleans:
    row, first = np.arange(len(tag)), np.zeros(count, np.int64)
    first[tag[::-1]] = row[::-1]  # of several rows of a tag, NumPy keeps the last one
    return np.equal(first[tag], row)


def instants(micros: Integers) -> pl.Series:
    """Return microseconds since the epoch as timestamps."""
    return pl.Series(micros).cast(SCHEMA["timestamp"])
