"""What a rule is, and how a contract applies its rules to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from bridge.edge.quarantine_rows import REJECTED
from historian.samples import SCHEMA, SampleBatch


class Findings(NamedTuple):
    """What a rule found in a batch of n samples. None stands for nothing."""

    reasons: pl.Series | None = None
    """[n] String: why a sample is rejected, null where it is not. Reasons are few; they carry no values."""
    qualities: pl.Series | None = None
    """[n] UInt32: the quality to store instead, null where it stays; to mark samples as Uncertain, say."""


class Rule(Protocol):
    """One rule of a contract. It may keep memory per tag: batches of a source come in the order they were read."""

    def check(self, samples: SampleBatch, *, now: datetime) -> Findings:
        """Look at a batch; `now` is when it was read."""
        ...


class Verdict(NamedTuple):
    """A batch divided by a contract; every row is on exactly one side."""

    accepted: SampleBatch
    rejected: pl.DataFrame
    """Columns of `REJECTED`."""


def apply_rules(samples: SampleBatch, rules: Sequence[Rule], *, now: datetime) -> Verdict:
    """Divide a batch by the rules. The first rule that rejects a sample gives the reason."""
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
