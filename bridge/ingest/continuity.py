"""Keeps the newest value of every tag correct across interruptions. Keeps state, but does no I/O.

While a connection is down, an old value must not count as the current one, so each tag gets a Bad sample at the time
its source was last heard. After a reconnect, a server repeats the value of an unchanged node with its old timestamp,
which lies before that Bad sample; therefore the value is written again with the time at which it was read.

Both timestamps are on the device's clock, as far as it is known: on our clock they would be newer than the following
samples of a device whose clock is behind. The lag of a device is the time from a sample's timestamp to its arrival. Of
a stretch of a waveform, the last sample counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import ceil
from typing import Final

import numpy as np
import polars as pl

from bridge.drivers.raw_rows import RawRows
from bridge.ingest.tag_numbers import Spans, TagNumbers
from historian.plant.connections import Tag
from historian.quality import BAD_NOT_CONNECTED, is_bad
from historian.samples import SCHEMA
from historian.times import micros
from historian.waveforms.timing import SECOND, Integers

CLOCKS: Final = pl.Schema({"tag": pl.String(), "last": SCHEMA["timestamp"], "lag": pl.Duration("us")})
"""For each tag its newest timestamp and its device's lag behind our clock; null where unknown."""
_UNKNOWN: Final = np.iinfo(np.int64).min
_MICROSECOND: Final = pl.duration(microseconds=1)


class Continuity:
    """The newest timestamps and clock lags of the tags of one source."""

    def __init__(self, tags: Sequence[Tag], clocks: pl.DataFrame | None = None) -> None:
        """Start from the state of an earlier run (columns of `CLOCKS`), if any."""
        self._numbers = TagNumbers([tag.name for tag in tags])
        self._last, self._lag = np.full(len(tags), _UNKNOWN), np.full(len(tags), _UNKNOWN)
        self._reported = np.zeros(len(tags), np.bool_)
        if clocks is not None:
            self._start_from(clocks)
        self._repeatable = [tag.name for tag in tags if tag.sample_rate is None]
        # A sample of a waveform takes its whole period; any other one is an instant.
        steps = [ceil(SECOND / tag.sample_rate) if tag.sample_rate is not None else 1 for tag in tags]
        self._steps = pl.DataFrame({"tag": self._numbers.tags, "step": pl.Series(steps, dtype=pl.Duration("us"))})
        self._outage = pl.DataFrame(schema={"tag": pl.String(), "outage": SCHEMA["timestamp"]})

    def _start_from(self, clocks: pl.DataFrame) -> None:
        number = self._numbers.of(clocks["tag"])
        known = number >= 0
        for name, mine in (("last", self._last), ("lag", self._lag)):
            theirs = clocks[name].cast(CLOCKS[name]).to_physical().fill_null(_UNKNOWN)
            mine[number[known]] = theirs.to_numpy()[known]

    @property
    def clocks(self) -> pl.DataFrame:
        """The present state: columns of `CLOCKS`."""
        state = pl.DataFrame({"tag": self._numbers.tags, "last": pl.Series(self._last), "lag": pl.Series(self._lag)})
        known = pl.col("last", "lag").replace(_UNKNOWN, None)
        return state.with_columns(known).cast(CLOCKS)

    def interrupted(self, heard_at: datetime) -> pl.DataFrame:
        """Return a Bad sample for every tag at the time its source was last heard: columns of `samples.SCHEMA`."""
        lag = pl.coalesce("lag", pl.col("lag").min(), pl.duration(microseconds=0))
        heard = pl.lit(heard_at, SCHEMA["timestamp"]) - lag
        clocks = self.clocks.join(self._steps, on="tag", maintain_order="left")
        stamps = clocks.select("tag", outage=pl.max_horizontal(heard, pl.col("last") + pl.col("step")))
        self._outage = stamps
        self._reported[:] = False
        bad = {"value": pl.lit(None), "text": pl.lit(None), "quality": pl.lit(BAD_NOT_CONNECTED)}
        return stamps.select("tag", timestamp="outage", **bad).select(SCHEMA.names()).cast(SCHEMA)

    def follow(self, rows: RawRows, *, now: datetime) -> pl.DataFrame:
        """Process raw rows read at `now`; return the samples to write in addition: columns of a batch.

        The first row of a tag after an interruption is written again with the time of reading, if it is usable and
        older than the interruption.
        """
        if rows.is_empty:
            return SCHEMA.to_frame()
        repeats = self._repeats(_single_and_last(rows), now) if self._outage.height else SCHEMA.to_frame()
        spans, arrival = Spans(rows, self._numbers), micros(now)
        fresh = self._reported[spans.tag] | ~spans.head
        np.maximum.at(self._last, spans.tag, spans.last)
        self._set_lags(spans.tag[fresh], arrival - spans.last[fresh])
        self._reported[spans.tag] = True
        written = self._numbers.of(repeats["tag"])
        self._last[written] = np.maximum(self._last[written], repeats["timestamp"].to_physical().to_numpy())
        return repeats

    def _set_lags(self, tag: Integers, lag: Integers) -> None:
        """Set the lag of tags to the shortest of theirs."""
        shortest = np.full(len(self._lag), np.iinfo(np.int64).max)
        np.minimum.at(shortest, tag, np.maximum(lag, 0))
        self._lag[tag] = shortest[tag]

    def _repeats(self, rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
        first = rows.unique("tag", keep="first", maintain_order=True).join(self._outage, on="tag", how="inner")
        self._outage = self._outage.join(first, on="tag", how="anti")
        newest = rows.group_by("tag").agg(newest=pl.col("timestamp").max())
        # If several values were reported at once, the last of them is the current one.
        old = rows.unique("tag", keep="last", maintain_order=True).join(first.select("tag", "outage"), on="tag")
        old = old.join(newest, on="tag").filter(pl.col("newest") <= pl.col("outage"), ~is_bad(pl.col("quality")))
        old = old.filter(pl.col("tag").is_in(self._repeatable)).join(self.clocks, on="tag", maintain_order="left")
        lag = pl.coalesce("lag", pl.lit(self.clocks["lag"].min(), CLOCKS["lag"]), pl.duration(microseconds=0))
        read_at = pl.lit(now, SCHEMA["timestamp"]) - lag
        restamped = old.with_columns(timestamp=pl.max_horizontal(read_at, pl.col("outage") + _MICROSECOND))
        return restamped.select(SCHEMA.names()).cast(SCHEMA)


def _single_and_last(rows: RawRows) -> pl.DataFrame:
    """Return the samples that have a time, and of each stretch the time and quality of its last sample."""
    samples = rows.samples.select(SCHEMA.names()).cast(SCHEMA).filter(pl.col("timestamp").is_not_null())
    ends = rows._replace(samples=SCHEMA.to_frame()).spans()
    return pl.concat([samples, ends.select("tag", timestamp="last", quality="quality")], how="diagonal")
