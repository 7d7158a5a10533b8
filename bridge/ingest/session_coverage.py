"""What a live session covers: for which intervals the bridge has everything there was to read.

Only a source that reports every change covers anything: between two polls, or two of a server's own samples, a value
may have come and gone. And only from when the session began: a source timestamp can lie anywhere. Between two samples
of a tag nothing was missed if their timestamps lie as far apart as the instants at which they came. Where they do not,
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
"""By how much the time between two samples may exceed the time between their arrivals: queues and networks delay."""

_OVERFLOW: Final = 0x480
"""Info type DataValue and its bit Overflow: OPC UA Part 4, 7.39.2."""
_STATE: Final = pl.Schema({"tag": pl.String(), "last": SCHEMA["timestamp"], "came": SCHEMA["timestamp"]})


class SessionCoverage:
    """Follows the samples of one session in the order they came."""

    def __init__(self, tags: Collection[str], *, began: datetime) -> None:
        """Start a session.

        Args:
            tags: those of which the source reports every change.
            began: when its first report could have come.
        """
        self._tags = sorted(tags)
        self._began = began
        # As if each tag had been read when the session began: from then on every change is reported.
        self._state = pl.DataFrame({"tag": self._tags, "last": began, "came": began}, schema=_STATE)
        self._seen = pl.Series(dtype=pl.String)

    def extend(self, rows: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
        """The intervals newly covered by raw rows, in the order they came at `now`: columns of `INTERVALS`."""
        if not self._tags:
            return INTERVALS.to_frame()
        known = rows.filter(pl.col("tag").is_in(self._tags) & pl.col("timestamp").is_not_null())
        if known.is_empty():
            return INTERVALS.to_frame()
        steps = self._steps(known, now)
        self._seen = pl.concat([self._seen, known["tag"]]).unique()
        # A tag's first report may repeat an old value with its old timestamp: the session's begin stands for it.
        newest = steps.group_by("tag").agg(last=pl.col("reached").last(), came=pl.lit(now, _STATE["came"]).first())
        self._state = pl.concat([self._state, newest.select(_STATE.names())]).unique("tag", keep="last")
        covered = steps.filter(pl.col("joined")).select(
            "tag", start="last", end=pl.col("reached") + pl.duration(microseconds=1)
        )
        return union(covered.cast(INTERVALS))

    def _steps(self, rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """A row a sample: tag, the timestamp before it (`last`), its own (`reached`), and whether they are `joined`."""
        began, instant = pl.lit(self._began, SCHEMA["timestamp"]), SCHEMA["timestamp"]
        time, first = (
            pl.col("timestamp"),
            ~pl.col("tag").is_in(self._seen.implode()) & pl.col("tag").is_first_distinct(),
        )
        repeats_old = first & (time < began)
        lost = (pl.col("quality").fill_null(0) & _OVERFLOW) == _OVERFLOW
        numbered = rows.select("tag", "timestamp", lost=lost, repeats_old=repeats_old)
        reached = pl.when("repeats_old").then(began).otherwise(time)
        joined = numbered.with_columns(reached=reached).join(self._state, on="tag", how="left", maintain_order="left")
        steps = joined.with_columns(
            last=pl.col("reached").shift().over("tag").fill_null(pl.col("last")),
            waited=pl.when(pl.col("tag").is_first_distinct())
            .then(pl.lit(now, instant) - pl.col("came"))
            .otherwise(pl.duration(microseconds=0)),
        )
        step = pl.col("reached") - pl.col("last")
        sound = ~pl.col("lost") & ~pl.col("repeats_old") & (pl.col("last") >= began) & (pl.col("reached") >= began)
        in_time = (pl.col("reached") <= pl.lit(now, instant) + TOLERANCE) & (step <= pl.col("waited") + TOLERANCE)
        return steps.with_columns(joined=sound & in_time & (step >= pl.duration(microseconds=0)))
