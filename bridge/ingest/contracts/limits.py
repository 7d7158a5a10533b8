"""The rule that applies to every tag: its kind, its range, and bounds on its timestamps. Pure.

Ranges are in engineering units, so transforms come first. Of a Bad sample only tag and timestamp are checked: its value
must not be used anyway, and it may carry the text with which a legacy historian reports an outage.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from bridge.ingest.contracts.rules import Findings, Rule
from historian.plant.connections import Tag
from historian.quality import is_bad
from historian.samples import SCHEMA, SampleBatch

FUTURE: Final = timedelta(days=1)
"""Longest time by which a device's clock may be ahead of the bridge's."""
LIVE_PAST: Final = timedelta(days=3653)
"""Largest age of a live sample. A node that never changed has the time of its last change, years ago; a PLC that lost
its clock starts at 1970, 1984, 1990 or 2000."""
EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""Earliest valid timestamp: no historian has older samples, while the zeros of Unix, .NET and OLE times are older."""


def contract_of(tags: Iterable[Tag], *, live: bool) -> tuple[Rule, ...]:
    """Return the rules for the samples of some tags.

    Args:
        tags: the tags of one connection.
        live: whether the samples come from a live source rather than from an archive.
    """
    return (Limits(tags, oldest=LIVE_PAST if live else None),)


class Limits:
    """Rejects samples of unknown tags, of the wrong kind, outside the tag's range, or with impossible timestamps."""

    def __init__(self, tags: Iterable[Tag], *, oldest: timedelta | None) -> None:
        rows = [(tag.name, tag.kind == "state", *(tag.range or (None, None)), _range_message(tag)) for tag in tags]
        types = {"tag": pl.String(), "is_state": pl.Boolean(), "low": pl.Float64(), "high": pl.Float64()}
        self._rules = pl.DataFrame(rows, schema={**types, "range_message": pl.String()}, orient="row")
        self._oldest = oldest

    def check(self, samples: SampleBatch, *, now: datetime) -> Findings:
        """See `Rule.check`."""
        joined = samples.join(self._rules, on="tag", how="left", maintain_order="left")
        return Findings(reasons=joined.select(reason=self._reason(now))["reason"])

    def _reason(self, now: datetime) -> pl.Expr:
        value, text, usable = pl.col("value"), pl.col("text"), ~is_bad(pl.col("quality"))
        time, instant = pl.col("timestamp"), SCHEMA["timestamp"]
        earliest = EARLIEST if self._oldest is None else max(EARLIEST, now - self._oldest)
        return (
            pl.when(pl.col("is_state").is_null())
            .then(pl.lit("unknown tag"))
            .when(time > pl.lit(now + FUTURE, instant))
            .then(pl.lit("timestamp more than a day in the future"))
            .when(time < pl.lit(earliest, instant))
            .then(pl.lit("timestamp before 1980" if self._oldest is None else "timestamp more than ten years old"))
            .when(usable & value.is_null() & text.is_null())
            .then(pl.lit("no value, though its quality is not Bad"))
            .when(usable & pl.col("is_state") & value.is_not_null())
            .then(pl.lit("a number for a text tag"))
            .when(usable & ~pl.col("is_state") & text.is_not_null())
            .then(pl.lit("text for a numeric tag"))
            .when(usable & ~value.is_between("low", "high"))
            .then(pl.col("range_message"))
        )


def _range_message(tag: Tag) -> str | None:
    return f"outside its range [{tag.range[0]:g}, {tag.range[1]:g}] {tag.unit}".rstrip() if tag.range else None
