"""Samples of the source that are in quarantine instead of the store: by the rules of ingest, or refused later. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from bridge.edge.quarantine_rows import REJECTED
from bridge.run.verify.signals import Signal, aligned, signal_of
from historian.samples import SCHEMA
from historian.waveforms.packing import unpack
from historian.waveforms.timing import Booleans, Integers

REJECTS: Final = pl.Schema({**SCHEMA, "reason": REJECTED["reason"], "detail": REJECTED["detail"]})
"""A sample with why it is in quarantine; tag, time and all others may be null."""


def reject_samples(rejected: pl.DataFrame) -> pl.DataFrame:
    """Return rejected rows as a row a sample: columns of `REJECTS`.

    Args:
        rejected: samples and stretches, columns of `REJECTED`.
    """
    is_stretch = rejected["values"].is_not_null()
    samples = rejected.filter(~is_stretch).select(REJECTS.names())
    if not is_stretch.any():
        return samples
    stretches = rejected.filter(is_stretch)
    row = np.repeat(np.arange(stretches.height), stretches["count"].to_numpy())
    unpacked = pl.concat([unpack(stretches), stretches.select("reason", "detail")[row]], how="horizontal")
    return pl.concat([samples, unpacked.select(REJECTS.names()).cast(REJECTS)])


def refused(source: Signal, missing: Integers, rejects: pl.DataFrame, slack: int) -> tuple[Booleans, pl.DataFrame]:
    """Return which missing samples are in quarantine, though the rules of ingest accept them.

    Args:
        source: samples of one tag.
        missing: indices of those that the store does not have.
        rejects: what the quarantine has of the tag: columns of `REJECTS`.
        slack: how far the times of a sample may be apart, in microseconds.

    Returns:
        Whether each sample of the source is one of them, and their rows.
    """
    rejects = rejects.sort("timestamp")
    known = aligned(signal_of(rejects), source, slack)
    key = {"time": known.times, "bits": known.bits, "quality": known.quality}
    wanted = source.chosen(np.isin(np.arange(len(source)), missing))
    ours = pl.DataFrame({"time": wanted.times, "bits": wanted.bits, "quality": wanted.quality, "index": missing})
    found = pl.DataFrame(key).with_row_index("row").join(ours, on=list(key), how="inner")
    found = found.unique("index", keep="first", maintain_order=True)
    return np.isin(np.arange(len(source)), found["index"]), rejects[found["row"]]
