"""The intervals that a live session covers: those for which the bridge has every value there was to read.

Only a source that reports every change covers anything: between two polls, or between two samples that a server takes,
a value may have come and gone. Coverage starts when the session begins, because a source timestamp can be anything.
Nothing was missed between two samples of a tag if their timestamps are as far apart as their arrivals. If they are not,
a clock was set or something was lost, and nothing is covered across that step. A stretch of a waveform covers the time
from its first to its last sample, whatever came before it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from bridge.drivers.raw_rows import RawRows
from historian.intervals import INTERVALS, union
from historian.samples import SCHEMA

TOLERANCE: Final = timedelta(seconds=5)
"""Longest time by which the interval between two samples may exceed that between their arrivals, because of delays."""

_OVERFLOW: Final = 0x480
"""StatusCode bits: info type DataValue with Overflow set (OPC UA Part 4, 7.39.2)."""
_STATE: Final = pl.Schema({"tag": pl.String(), "last": SCHEMA["timestamp"], "arrived": SCHEMA["timestamp"]})


class SessionCoverage:
    """Derives coverage from the samples of one session, in the order in which they arrive."""

    def __init__(self, tags: Collection[str], *, began: datetime) -> None:
        """Start a session.

        Args:
            tags: the tags for which the source reports every change.
            began: the earliest time at which a report could arrive.
        """
        self._tags = sorted(tags)
        self._began = began
        # Treated as if each tag had been read when the session began: every change is reported from then on.
        self._state = pl.DataFrame({"tag": self._tags, "last": began, "arrived": began}, schema=_STATE)
        self._seen = pl.Series(dtype=pl.String)

    def extend(self, rows: RawRows, *, now: datetime) -> pl.DataFrame:
        """Return the intervals that raw rows cover in addition.

        Args:
            rows: raw rows, those of each kind in the order in which they arrived.
            now: time of arrival.

        Returns:
            Columns of `INTERVALS`.
        """
        if not self._tags:
            return INTERVALS.to_frame()
        known = rows.spans().filter(pl.col("tag").is_in(self._tags))
        if known.is_empty():
            return INTERVALS.to_frame()
        steps = self._steps(known, now)
        self._seen = pl.concat([self._seen, known["tag"]]).unique()
        # A tag's first report may repeat an old value with its old timestamp; use the start of the session instead.
        newest = steps.group_by("tag").agg(last=pl.col("until").last(), arrived=pl.lit(now, _STATE["arrived"]).first())
        self._state = pl.concat([self._state, newest.select(_STATE.names())]).unique("tag", keep="last")
        end = pl.col("until") + pl.duration(microseconds=1)
        before = steps.filter("joined").select("tag", start="last", end=pl.col("at") + pl.duration(microseconds=1))
        within = steps.filter("within").select("tag", start=pl.max_horizontal("at", pl.lit(self._began)), end=end)
        return union(pl.concat([before.cast(INTERVALS), within.cast(INTERVALS)]))

    def _steps(self, spans: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """Return a row per sample or stretch, with two verdicts.

        Columns: tag; `last`, the time of the sample before it; `at` and `until`, the times of its first and last
        sample; whether the time from `last` to `at` is covered (`joined`), and that from `at` to `until` (`within`).
        """
        began, latest = (pl.lit(each, SCHEMA["timestamp"]) for each in (self._began, now + TOLERANCE))
        steps = self._with_state(spans).with_columns(
            last=pl.col("until").shift().over("tag").fill_null(pl.col("last")),
            waited=pl.when(pl.col("tag").is_first_distinct())
            .then(pl.lit(now, SCHEMA["timestamp"]) - pl.col("arrived"))
            .otherwise(pl.duration(microseconds=0)),
        )
        step, nothing = pl.col("at") - pl.col("last"), pl.duration(microseconds=0)
        sound = ~pl.col("lost") & ~pl.col("repeats_old") & (pl.col("last") >= began) & (pl.col("at") >= began)
        in_time = (pl.col("at") <= latest) & (step <= pl.col("waited") + TOLERANCE) & (step >= nothing)
        return steps.with_columns(
            joined=sound & in_time,
            within=(pl.col("until") > pl.col("at")) & (pl.col("until") >= began) & (pl.col("until") <= latest),
        )

    def _with_state(self, spans: pl.DataFrame) -> pl.DataFrame:
        """Return a row per sample or stretch: tag, `at`, `until`, `lost`, `repeats_old`, and the state of its tag."""
        began = pl.lit(self._began, SCHEMA["timestamp"])
        first = ~pl.col("tag").is_in(self._seen.implode()) & pl.col("tag").is_first_distinct()
        lost = (pl.col("quality").fill_null(0) & _OVERFLOW) == _OVERFLOW
        numbered = spans.select("tag", "first", "last", lost=lost, repeats_old=first & (pl.col("last") < began))
        at, until = (pl.when("repeats_old").then(began).otherwise(each) for each in ("first", "last"))
        known = numbered.select("tag", "lost", "repeats_old", at=at, until=until)
        return known.join(self._state, on="tag", how="left", maintain_order="left")
