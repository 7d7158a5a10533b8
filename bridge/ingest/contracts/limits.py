"""The rule that applies to every tag: its kind, its range, and bounds on its timestamps. Pure.

Vibration points have waveforms and nothing else, all other points samples and nothing else. Ranges are in engineering
units, so transforms come first. Of a Bad sample only tag and timestamp are checked: its value must not be used anyway,
and it may carry the text with which a legacy historian reports an outage.

A stretch with a value outside the range is kept, and marked by its quality: to lose the whole of it because one sample
clipped would lose the most interesting data there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from bridge.ingest.contracts.rules import Findings, Rule
from bridge.ingest.tag_numbers import TagNumbers
from historian.plant.connections import Tag
from historian.plant.facts import ALWAYS
from historian.quality import BAD, UNCERTAIN_ENGINEERING_UNITS_EXCEEDED, is_bad, is_good
from historian.samples import SCHEMA, SampleBatch
from historian.times import micros
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.timing import Integers, last_us

FUTURE: Final = timedelta(days=1)
"""Longest time by which a device's clock may be ahead of the bridge's."""
LIVE_PAST: Final = timedelta(days=3653)
"""Largest age of a live sample. A node that never changed has the time of its last change, years ago; a PLC that lost
its clock starts at 1970, 1984, 1990 or 2000."""
EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
"""Earliest valid timestamp: no historian has older samples, while the zeros of Unix, .NET and OLE times are older."""

_WAVEFORM: Final = "vibration"
_PLACE: Final = "#place"
_RULES: Final = pl.Schema(
    {
        "tag": pl.String(),
        "kind": pl.String(),
        "since": SCHEMA["timestamp"],
        "low": pl.Float64(),
        "high": pl.Float64(),
        "range_message": pl.String(),
    }
)


def contract_of(tags: Iterable[Tag], *, live: bool) -> tuple[Rule, ...]:
    """Return the rules for the samples of some tags.

    Args:
        tags: the tags of one connection.
        live: whether the samples come from a live source rather than from an archive.
    """
    return (Limits(tags, oldest=LIVE_PAST if live else None),)


class Limits:
    """Rejects rows of unknown tags, of the wrong kind or with impossible timestamps, and samples outside the range."""

    def __init__(self, tags: Iterable[Tag], *, oldest: timedelta | None) -> None:
        rows = [
            (tag.name, _kind(tag), since, *(limits or (None, None)), _range_message(limits, tag.unit))
            for tag in tags
            for since, limits in tag.ranges or ((ALWAYS, tag.range),)
        ]
        self._rules = pl.DataFrame(rows, schema=_RULES, orient="row").sort("since")
        self._dated = self._rules["tag"].is_duplicated().any()
        self._oldest = oldest
        self._numbers = TagNumbers(self._rules["tag"].unique(maintain_order=True))
        self._is_wave, self._is_state = ((self._rules["kind"] == kind).to_numpy() for kind in (_WAVEFORM, "state"))
        self._low = self._rules["low"].fill_null(-math.inf).to_numpy()
        self._high = self._rules["high"].fill_null(math.inf).to_numpy()

    def check(self, samples: SampleBatch, *, now: datetime) -> Findings:
        """See `Rule.check`."""
        if not self._dated and self._fit(samples, now):
            return Findings()
        joined = self._with_rules(samples, self._rules)
        time = pl.col("timestamp")
        return Findings(reasons=joined.select(reason=self._reason(now, time, time, _of_sample()))["reason"])

    def check_waveforms(self, stretches: WaveformBatch, *, now: datetime) -> Findings:
        """See `Rule.check_waveforms`."""
        if not self._dated and self._waveforms_fit(stretches, now):
            return Findings()
        limits = self._rules.rename({"low": "lowest", "high": "highest"})
        joined = self._with_rules(stretches, limits)
        last = pl.Series(last_us(stretches)).cast(SCHEMA["timestamp"])
        kind = pl.when(pl.col("kind") != _WAVEFORM).then(pl.lit("a waveform for a tag of single samples"))
        outside = (pl.col("low") < pl.col("lowest")) | (pl.col("high") > pl.col("highest"))
        info_bits = pl.col("quality") & 0xFFFF
        found = joined.with_columns(last=last).select(
            reason=self._reason(now, pl.col("timestamp"), pl.col("last"), kind),
            quality=pl.when(outside & is_good(pl.col("quality"))).then(
                info_bits | pl.lit(UNCERTAIN_ENGINEERING_UNITS_EXCEEDED, pl.UInt32)
            ),
        )
        return Findings(found["reason"], found["quality"])

    def _fit(self, samples: SampleBatch, now: datetime) -> bool:
        """Return whether no sample breaks any rule; as most never do, their reasons are not worth working out."""
        tag, time = self._numbers.of(samples["tag"]), samples["timestamp"].to_physical().to_numpy()
        if not self._in_time(tag, time, time, now):
            return False
        value, usable = samples["value"].to_numpy(), samples["quality"].to_numpy() < BAD
        has_value, has_text = ~np.isnan(value), samples["text"].is_not_null().to_numpy()
        in_range = (value >= self._low[tag]) & (value <= self._high[tag])
        fits = np.where(self._is_state[tag], has_text & ~has_value, in_range & ~has_text)
        return bool((~self._is_wave[tag] & (fits | ~usable)).all())

    def _waveforms_fit(self, stretches: WaveformBatch, now: datetime) -> bool:
        """Return whether no stretch breaks any rule."""
        tag = self._numbers.of(stretches["tag"])
        if not self._in_time(tag, stretches["timestamp"].to_physical().to_numpy(), last_us(stretches), now):
            return False
        low, high = (stretches[name].to_numpy() for name in ("low", "high"))
        outside = (low < self._low[tag]) | (high > self._high[tag])  # not those without any number, which have NaN
        return bool((self._is_wave[tag] & ~outside).all())

    def _in_time(self, tag: Integers, first: Integers, last: Integers, now: datetime) -> bool:
        latest, earliest = micros(now + FUTURE), micros(self._earliest(now))
        return bool((tag >= 0).all() and (last <= latest).all() and (first >= earliest).all())

    def _earliest(self, now: datetime) -> datetime:
        return EARLIEST if self._oldest is None else max(EARLIEST, now - self._oldest)

    def _with_rules(self, rows: pl.DataFrame, rules: pl.DataFrame) -> pl.DataFrame:
        """Return rows in their order with the rules that hold for their tags, at their times if a range has dates."""
        if not self._dated:
            return rows.join(rules, on="tag", how="left", maintain_order="left")
        in_time = rows.with_row_index(_PLACE).sort("timestamp")
        joined = in_time.join_asof(
            rules, left_on="timestamp", right_on="since", by="tag", check_sortedness=False, coalesce=True
        )
        return joined.sort(_PLACE).drop(_PLACE)

    def _reason(self, now: datetime, first: pl.Expr, last: pl.Expr, of_contents: pl.Expr) -> pl.Expr:
        """Return the reason of rows from `first` to `last`: about their tag, their time, or else their contents."""
        instant = SCHEMA["timestamp"]
        return (
            pl.when(pl.col("kind").is_null())
            .then(pl.lit("unknown tag"))
            .when(last > pl.lit(now + FUTURE, instant))
            .then(pl.lit("timestamp more than a day in the future"))
            .when(first < pl.lit(self._earliest(now), instant))
            .then(pl.lit("timestamp before 1980" if self._oldest is None else "timestamp more than ten years old"))
            .otherwise(of_contents)
        )


def _of_sample() -> pl.Expr:
    """Return the reasons that are about the kind and the value of a sample."""
    value, text, usable, kind = pl.col("value"), pl.col("text"), ~is_bad(pl.col("quality")), pl.col("kind")
    return (
        pl.when(usable & value.is_null() & text.is_null())
        .then(pl.lit("no value, though its quality is not Bad"))
        .when(usable & (kind == "state") & value.is_not_null())
        .then(pl.lit("a number for a text tag"))
        .when(usable & (kind != "state") & text.is_not_null())
        .then(pl.lit("text for a numeric tag"))
        .when(kind == _WAVEFORM)
        .then(pl.lit("a single sample for a tag of waveforms"))
        .when(usable & ~value.is_between("low", "high"))
        .then(pl.col("range_message"))
    )


def _kind(tag: Tag) -> str:
    return tag.kind if tag.sample_rate is None else _WAVEFORM


def _range_message(limits: tuple[float, float] | None, unit: str) -> str | None:
    return f"outside its range [{limits[0]:g}, {limits[1]:g}] {unit}".rstrip() if limits else None
