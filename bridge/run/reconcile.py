"""Compares pages of an archive with what the store has from earlier pages, as normalising compares rows of one page."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from bridge.drivers.raw_rows import RawRows
from bridge.edge.batches import Batches
from bridge.edge.quarantine_rows import rejected
from bridge.ingest.validation import CONFLICT, Validated
from historian.intervals import INTERVALS
from historian.samples import KEY, SampleBatch, normalise
from historian.stores.protocols import Reader
from historian.waveforms.batch import WaveformBatch
from historian.waveforms.joining import normalise_waveforms
from historian.waveforms.timing import overlaps

_INSTANT = timedelta(microseconds=1)


def intervals_of(batches: Batches) -> pl.DataFrame:
    """Return for each tag the interval from its first to its last sample: columns of `INTERVALS`."""
    spans = RawRows(*batches).spans().group_by("tag", maintain_order=True)
    ends = spans.agg(start=pl.col("first").min(), end=pl.col("last").max() + pl.duration(microseconds=1))
    return ends.cast(INTERVALS)


def reconciled(found: Validated, store: Reader) -> Validated:
    """Reject what contradicts the store: a sample with another value, a stretch that overlaps another one.

    Args:
        found: what is to be stored.
        store: has everything read earlier.
    """
    samples, waveforms = found.batches
    wrong_samples = _wrong_samples(samples, store)
    wrong = _wrong_stretches(waveforms, store)
    kept = samples.join(wrong_samples, on=KEY, how="anti", maintain_order="left")
    batches = Batches(SampleBatch(kept), WaveformBatch(waveforms.filter(~wrong)))
    conflicts = pl.concat([rejected(wrong_samples, CONFLICT), rejected(waveforms.filter(wrong), CONFLICT)])
    return Validated(batches, found.rejected, found.conflicts).with_rejected(conflicts)


def _wrong_samples(samples: SampleBatch, store: Reader) -> pl.DataFrame:
    if samples.is_empty():
        return samples
    tags, start, end = _extent(Batches(samples))
    return normalise(pl.concat([*store.read(tags, start, end), samples])).conflicts


def _wrong_stretches(waveforms: WaveformBatch, store: Reader) -> pl.Series:
    """Return [rows] whether a stretch contradicts a stored one; only those that overlap a stored one are compared."""
    wrong: list[int] = []
    if not waveforms.is_empty():
        stored = pl.concat([waveforms.clear(), *store.read_waveforms(*_extent(Batches(waveforms=waveforms)))])
        numbered = waveforms.with_row_index("row")
        both = pl.concat([numbered, stored], how="diagonal").sort(KEY)
        cluster = (~overlaps(both)).cum_sum().alias("cluster")
        together = both.with_columns(cluster).filter(pl.len().over("cluster") > 1)
        for _, some in together.group_by("cluster"):
            known = some.filter(pl.col("row").is_null()).select(waveforms.columns)
            wrong += [row for row in some["row"].drop_nulls() if _contradicts(waveforms[row], known)]
    return pl.int_range(waveforms.height, eager=True).is_in(wrong)


def _contradicts(stretch: pl.DataFrame, known: pl.DataFrame) -> bool:
    return not normalise_waveforms(pl.concat([known, stretch])).conflicts.is_empty()


def _extent(batches: Batches) -> tuple[list[str], datetime, datetime]:
    """Return the tags, the first instant, and the first instant after the last."""
    spans = RawRows(*batches).spans()
    first, last = spans.select(pl.col("first").min(), pl.col("last").max()).row(0)
    return spans["tag"].unique().to_list(), first, last + _INSTANT
