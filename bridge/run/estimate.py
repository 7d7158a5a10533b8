"""What a backfill comes to, from one page of its archive: samples, bytes in the store, and time to read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from bridge.drivers.protocols import Archive, Page
from bridge.drivers.raw_rows import number_of_samples
from bridge.run.sizing import LAKE
from bridge.run.slices import Slice
from historian.errors import SourceError


@dataclass(frozen=True)
class Estimate:
    """What a plan comes to, if the archive is everywhere as it is in the page that was read."""

    samples: int
    store_bytes: int
    """Bytes in the embedded store, compacted."""
    seconds: float
    """Seconds to read it, one slice at a time; writing happens meanwhile."""


@dataclass(frozen=True)
class Probe:
    """What one page of an archive showed."""

    samples: int
    waveform_samples: int
    """Number of samples that are in stretches of waveforms, in addition."""
    tag_time: timedelta
    """Time that these samples span, summed over the tags."""
    seconds: float
    """Seconds that it took to read."""


async def estimated(
    archive: Archive, plan: Sequence[Slice], *, clock: Callable[[], float] = time.monotonic
) -> Estimate | None:
    """Read the first page of the slice in the middle of a plan, and extrapolate; None if there is nothing in it.

    Raises:
        SourceError: the archive cannot be read at all.
    """
    if not plan:
        return None
    piece, began = plan[len(plan) // 2], clock()
    try:
        async with aclosing(archive.read(piece.tags, piece.start, piece.end)) as pages:
            page = await anext(pages, None)
            took = clock() - began
            is_whole = page is not None and await anext(pages, None) is None
    except SourceError:  # it is reported when the slice is read
        return None
    return None if page is None else extrapolated(probe_of(page, piece, took, is_whole=is_whole), plan)


def probe_of(page: Page, piece: Slice, seconds: float, *, is_whole: bool) -> Probe:
    """Return what a page of a slice shows.

    Args:
        page: the page.
        piece: the slice that it belongs to.
        seconds: how long it took to read.
        is_whole: whether it is all of the slice, which then is the time that its samples span.
    """
    samples, waveforms = page.rows.samples.height, number_of_samples(page.rows.waveforms)
    ends = page.rows.spans().group_by("tag").agg(span=pl.col("last").max() - pl.col("first").min())
    spanned = ends["span"].sum()
    whole = (piece.end - piece.start) * len(piece.tags)
    tag_time = spanned if isinstance(spanned, timedelta) and spanned and not is_whole else whole
    return Probe(samples, waveforms, tag_time, seconds)


def extrapolated(probe: Probe, plan: Sequence[Slice]) -> Estimate | None:
    """Return what a plan comes to, in proportion to the time of its tags; None if the page was empty."""
    if not probe.samples + probe.waveform_samples:
        return None
    factor = sum(((piece.end - piece.start) * len(piece.tags) for piece in plan), timedelta()) / probe.tag_time
    size = probe.samples * LAKE.sample_bytes + probe.waveform_samples * LAKE.waveform_bytes
    count = probe.samples + probe.waveform_samples
    return Estimate(round(count * factor), round(size * factor), probe.seconds * factor)
