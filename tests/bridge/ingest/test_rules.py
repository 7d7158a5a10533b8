"""Rules may keep memory, reject samples, or mark them; the first that rejects gives the reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from polars.testing import assert_frame_equal

from bridge.ingest.contracts.rules import Findings, Rule, apply_rules
from historian.quality import UNCERTAIN
from historian.samples import SCHEMA, SampleBatch, sample_batch
from historian.waveforms.batch import WaveformBatch

T0 = datetime(2026, 3, 1, tzinfo=UTC)


class TooFast:
    """Marks samples as Uncertain that differ by more than 10 from the one before, also across batches."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def check(self, samples: SampleBatch, *, now: datetime) -> Findings:
        """See `Rule.check`."""
        before = pl.col("value").shift().over("tag").fill_null(pl.col("tag").replace_strict(self._last, default=None))
        jumps = (pl.col("value") - before).abs() > 10
        qualities = samples.select(pl.when(jumps).then(pl.lit(UNCERTAIN, pl.UInt32)).alias("quality"))["quality"]
        self._last |= dict(samples.group_by("tag").agg(pl.col("value").last()).rows())
        return Findings(qualities=qualities)

    def check_waveforms(self, stretches: WaveformBatch, *, now: datetime) -> Findings:
        """See `Rule.check_waveforms`."""
        return Findings()


class Rejects:
    """Rejects one value."""

    def __init__(self, value: float, reason: str) -> None:
        self._value, self._reason = value, reason

    def check(self, samples: SampleBatch, *, now: datetime) -> Findings:
        """See `Rule.check`."""
        reason = pl.when(pl.col("value") == self._value).then(pl.lit(self._reason))
        return Findings(reasons=samples.select(reason=reason)["reason"])

    def check_waveforms(self, stretches: WaveformBatch, *, now: datetime) -> Findings:
        """See `Rule.check_waveforms`."""
        return Findings()


def batch(first: int, *values: float) -> SampleBatch:
    """A sample a second."""
    rows = [("a", T0 + timedelta(seconds=first + n), value, None, 0) for n, value in enumerate(values)]
    return sample_batch(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def test_a_rule_may_remember_and_mark() -> None:
    """Memory from one batch is used in the next."""
    rule = TooFast()
    first = apply_rules(batch(0, 1.0, 2.0, 50.0), [rule], now=T0)
    second = apply_rules(batch(3, 90.0, 91.0), [rule], now=T0)
    assert first.accepted["quality"].to_list() == [0, 0, UNCERTAIN]
    assert second.accepted["quality"].to_list() == [UNCERTAIN, 0]
    assert first.rejected.is_empty()


def test_the_first_rule_that_rejects_gives_the_reason() -> None:
    """A rejected sample stays as it was given, whatever quality another rule has for it."""
    rules: list[Rule] = [TooFast(), Rejects(50.0, "first"), Rejects(50.0, "second"), Rejects(2.0, "other")]
    verdict = apply_rules(batch(0, 1.0, 2.0, 50.0), rules, now=T0)
    assert_frame_equal(verdict.accepted, batch(0, 1.0))
    rejected = verdict.rejected.select("value", "reason", "quality").rows()
    assert rejected == [(2.0, "other", 0), (50.0, "first", 0)]


def test_without_rules_everything_is_accepted() -> None:
    """The batch is returned unchanged."""
    assert_frame_equal(apply_rules(batch(0, 1.0), [], now=T0).accepted, batch(0, 1.0))
