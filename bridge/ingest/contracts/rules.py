"""The protocol of a rule, and the application of a contract's rules to samples and to stretches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from bridge.edge.quarantine_rows import REJECTED, as_rejected
from historian.samples import SampleBatch
from historian.waveforms.batch import WaveformBatch


class Findings(NamedTuple):
    """The findings of a rule in a batch of n samples or n stretches; None where there is none."""

    reasons: pl.Series | None = None
    """[n] String: why each row is rejected, null if it is not. There are few reasons; they contain no values."""
    qualities: pl.Series | None = None
    """[n] UInt32: the quality to store instead, such as Uncertain; null where the quality stays."""


class Rule(Protocol):
    """One rule of a contract. It may keep state per tag: the batches of a source arrive in the order they were read."""

    def check(self, samples: SampleBatch, *, now: datetime) -> Findings:
        """Check samples that were read at `now`."""
        ...

    def check_waveforms(self, stretches: WaveformBatch, *, now: datetime) -> Findings:
        """Check stretches that were read at `now`; a finding is about a whole stretch."""
        ...


class Verdict(NamedTuple):
    """Samples divided by a contract into accepted and rejected ones."""

    accepted: SampleBatch
    rejected: pl.DataFrame
    """The rejected samples as they were given: columns of `REJECTED`."""


class WaveformVerdict(NamedTuple):
    """Stretches divided by a contract into accepted and rejected ones."""

    accepted: WaveformBatch
    rejected: pl.DataFrame
    """The rejected stretches as they were given: columns of `REJECTED`."""


def apply_rules(samples: SampleBatch, rules: Sequence[Rule], *, now: datetime) -> Verdict:
    """Divide samples by the rules. The first rule that rejects a sample gives the reason.

    Args:
        samples: the batch.
        rules: the contract, in order.
        now: when the batch was read.
    """
    accepted, rejected = _divided(samples, [rule.check(samples, now=now) for rule in rules])
    return Verdict(SampleBatch(accepted), rejected)


def apply_waveform_rules(stretches: WaveformBatch, rules: Sequence[Rule], *, now: datetime) -> WaveformVerdict:
    """Divide stretches by the rules, as `apply_rules` does samples."""
    accepted, rejected = _divided(stretches, [rule.check_waveforms(stretches, now=now) for rule in rules])
    return WaveformVerdict(WaveformBatch(accepted), rejected)


def _divided(rows: pl.DataFrame, findings: Sequence[Findings]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the accepted rows with their new qualities, and the rejected ones with their reasons."""
    qualities = [found.qualities for found in findings if found.qualities is not None]
    marked = rows.with_columns(quality=pl.coalesce(*qualities, "quality")) if qualities else rows
    reasons = [found.reasons for found in findings if found.reasons is not None]
    if all(each.null_count() == rows.height for each in reasons):
        return marked, REJECTED.to_frame()
    reason = rows.select(reason=pl.coalesce(*reasons))["reason"]
    refused = reason.is_not_null()
    return marked.filter(~refused), as_rejected(rows.with_columns(reason).filter(refused))
