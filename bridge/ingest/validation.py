"""Divides raw rows of both kinds into what may be stored and rejected rows. Pure.

Vibration points have waveforms and nothing else: rows of single samples are packed first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.raw_rows import RawRows, number_of_samples
from bridge.edge.batches import Batches
from bridge.edge.quarantine_rows import REJECTED, rejected
from bridge.ingest.contracts.rules import Rule, apply_rules, apply_waveform_rules
from historian.plant.connections import Tag
from historian.quality import is_bad
from historian.samples import empty_batch, normalise
from historian.waveforms.batch import empty_waveforms
from historian.waveforms.joining import normalise_waveforms
from historian.waveforms.packing import pack

CONFLICT: Final = "another value has the same tag and time"
INCOMPLETE: Final = "no tag, time or quality"


@dataclass(frozen=True)
class Validated:
    """Raw rows, divided into batches and rejected rows; except for exact repeats, each row is in one of them."""

    batches: Batches = field(default_factory=Batches)
    rejected: pl.DataFrame = field(default_factory=REJECTED.to_frame)
    """Rejected rows, conflicts included: columns of `REJECTED`."""
    conflicts: int = 0
    """How many samples are in conflict with others, those in stretches included."""

    def with_rejected(self, more: pl.DataFrame) -> Validated:
        """Return the same with more rejected rows: columns of `REJECTED`."""
        if more.is_empty():
            return self
        conflicts = number_of_samples(more.filter(reason=CONFLICT))
        return Validated(self.batches, pl.concat([self.rejected, more]), self.conflicts + conflicts)


class Packed(NamedTuple):
    """Raw rows of which those of vibration tags are stretches."""

    rows: RawRows
    rejected: pl.DataFrame
    """Rows that are in no stretch: columns of `REJECTED`."""


def rates_of(tags: Iterable[Tag]) -> dict[str, float]:
    """Return the sample rate, Hz, of each tag that has waveforms."""
    return {tag.name: tag.sample_rate for tag in tags if tag.sample_rate is not None}


def packed(rows: RawRows, rates: Mapping[str, float]) -> Packed:
    """Pack rows of single samples of vibration tags into stretches.

    A text stays a sample, which the contract rejects; that of a Bad row, such as the word of a legacy historian for an
    outage, is dropped, and what remains is its quality.

    Args:
        rows: raw rows.
        rates: tag -> sample rate, Hz, of those that have waveforms.
    """
    if rows.samples.is_empty() or not rates:
        return Packed(rows, REJECTED.to_frame())
    numeric = pl.col("text").is_null() | is_bad(pl.col("quality"))
    chosen = rows.samples.select(pl.col("tag").is_in(list(rates)) & numeric).to_series()
    if not chosen.any():
        return Packed(rows, REJECTED.to_frame())
    batch, conflicts, incomplete = pack(rows.samples.filter(chosen), rates)
    others = rows.samples.filter(~chosen | chosen.is_null())
    waveforms = pl.concat([rows.waveforms, batch])
    return Packed(
        RawRows(others, waveforms), pl.concat([rejected(incomplete, INCOMPLETE), rejected(conflicts, CONFLICT)])
    )


def validated(rows: RawRows, rules: Sequence[Rule], *, now: datetime) -> Validated:
    """Bring raw rows into the form of batches, and hold these to the contract.

    Args:
        rows: raw rows in any order, with repeats, in engineering units.
        rules: the contract.
        now: when they were read.
    """
    samples, waveforms, broken = empty_batch(), empty_waveforms(), list[pl.DataFrame]()
    if not rows.samples.is_empty():  # most sources have one kind, and an empty frame costs as much as a short one
        batch, *others = normalise(rows.samples)
        samples, rejects = apply_rules(batch, rules, now=now)
        broken += [*_refused(*others), rejects]
    if not rows.waveforms.is_empty():
        stretches, *others = normalise_waveforms(rows.waveforms)
        waveforms, rejects = apply_waveform_rules(stretches, rules, now=now)
        broken += [*_refused(*others), rejects]
    found = Validated(Batches(samples, waveforms))
    return found.with_rejected(pl.concat(refused)) if (refused := [each for each in broken if each.height]) else found


def _refused(conflicts: pl.DataFrame, incomplete: pl.DataFrame) -> list[pl.DataFrame]:
    """Return what normalising could not use as rejected rows."""
    pairs = ((incomplete, INCOMPLETE), (conflicts, CONFLICT))
    return [rejected(rows, reason) for rows, reason in pairs if not rows.is_empty()]
