"""The intervals that a live session covers: those for which the bridge has every value there was to read.

Only a source that reports every change covers anything: between two polls, or between two samples that a server takes,
a value may have come and gone. Coverage starts when the session begins, because a source timestamp can be anything.
Nothing was missed between two samples of a tag if their timestamps are as far apart as their arrivals. If they are not,
a clock was set or something was lost, and nothing is covered across that step.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import polars as pl

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

    def extend(self, rows: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
        """Return the intervals that raw rows cover in addition.

        Args:
            rows: raw rows in the order in which they arrived.
            now: time of arrival.

        Returns:
            Columns of `INTERVALS`.
        """
        if not self._tags:
            return INTERVALS.to_frame()
        known = rows.filter(pl.col("tag").is_in(self._tags) & pl.col("timestamp").is_not_null())
        if known.is_empty():
            return INTERVALS.to_frame()
        steps = self._steps(known, now)
        self._seen = pl.concat([self._seen, known["tag"]]).unique()
        # A tag's first report may repeat an old value with its old timestamp; use the start of the session instead.
        newest = steps.group_by("tag").agg(last=pl.col("at").last(), arrived=pl.lit(now, _STATE["arrived"]).first())
        self._state = pl.concat([self._state, newest.select(_STATE.names())]).unique("tag", keep="last")
        covered = steps.filter(pl.col("joined")).select(
            "tag", start="last", end=pl.col("at") + pl.duration(microseconds=1)
        )
        return union(covered.cast(INTERVALS))

    def _steps(self, rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """Return a row per sample: tag, previous timestamp (`last`), its own (`at`), whether both are `joined`."""
        began, instant = pl.lit(self._began, SCHEMA["timestamp"]), SCHEMA["timestamp"]
        steps = self._with_state(rows).with_columns(
            last=pl.col("at").shift().over("tag").fill_null(pl.col("last")),
            waited=pl.when(pl.col("tag").is_first_distinct())
            .then(pl.lit(now, instant) - pl.col("arrived"))
            .otherwise(pl.duration(microseconds=0)),
        )
        step = pl.col("at") - pl.col("last")
        sound = ~pl.col("lost") & ~pl.col("repeats_old") & (pl.col("last") >= began) & (pl.col("at") >= began)
        in_time = (pl.col("at") <= pl.lit(now, instant) + TOLERANCE) & (step <= pl.col("waited") + TOLERANCE)
        return steps.with_columns(joined=sound & in_time & (step >= pl.duration(microseconds=0)))

    def _with_state(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return a row per sample: tag, effective timestamp `at`, `lost`, `repeats_old`, and the state of its tag."""
        began, time = pl.lit(self._began, SCHEMA["timestamp"]), pl.col("timestamp")
        first = ~pl.col("tag").is_in(self._seen.implode()) & pl.col("tag").is_first_distinct()
        lost = (pl.col("quality").fill_null(0) & _OVERFLOW) == _OVERFLOW
        numbered = rows.select("tag", "timestamp", lost=lost, repeats_old=first & (time < began))
        at = pl.when("repeats_old").then(began).otherwise(time)
        return numbered.with_columns(at=at).join(self._state, on="tag", how="left", maintain_order="left")
