"""The protocol of a rule, and the application of a contract's rules to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from bridge.edge.quarantine_rows import REJECTED
from historian.samples import SCHEMA, SampleBatch


class Findings(NamedTuple):
    """The findings of a rule in a batch of n samples; None where there is none."""

    reasons: pl.Series | None = None
    """[n] String: why each sample is rejected, null if it is not. There are few reasons; they contain no values."""
    qualities: pl.Series | None = None
    """[n] UInt32: the quality to store instead, such as Uncertain; null where the quality stays."""


class Rule(Protocol):
    """One rule of a contract. It may keep state per tag: the batches of a source arrive in the order they were read."""

    def check(self, samples: SampleBatch, *, now: datetime) -> Findings:
        """Check a batch that was read at `now`."""
        ...


class Verdict(NamedTuple):
    """A batch divided by a contract into accepted and rejected samples."""

    accepted: SampleBatch
    rejected: pl.DataFrame
    """The rejected samples: columns of `REJECTED`."""


def apply_rules(samples: SampleBatch, rules: Sequence[Rule], *, now: datetime) -> Verdict:
    """Divide a batch by the rules. The first rule that rejects a sample gives the reason.

    Args:
        samples: the batch.
        rules: the contract, in order.
        now: when the batch was read.
    """
    findings = [rule.check(samples, now=now) for rule in rules]
    qualities = [found.qualities for found in findings if found.qualities is not None]
    marked = samples.with_columns(quality=pl.coalesce(*qualities, "quality")) if qualities else samples
    reasons = [found.reasons for found in findings if found.reasons is not None]
    if all(each.null_count() == samples.height for each in reasons):
        return Verdict(SampleBatch(marked), REJECTED.to_frame())
    checked = marked.with_columns(reason=pl.coalesce(*reasons), detail=pl.lit(None, pl.String))
    is_rejected = pl.col("reason").is_not_null()
    accepted = checked.filter(~is_rejected).select(SCHEMA.names())
    return Verdict(SampleBatch(accepted), checked.filter(is_rejected).select(REJECTED.names()))
