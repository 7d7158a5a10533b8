"""Pages of samples and pages of waveforms of one asset, side by side in time, and each tag's part of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeVar

import numpy as np
import polars as pl

from features.define.view_plan import SampleTag
from historian.samples import SampleBatch, empty_batch
from historian.waveforms.batch import ITEM_BYTES, MAX_BYTES, WaveformBatch, empty_waveforms
from historian.waveforms.timing import first_index, last_us, offsets_us, starts_us

_ALIKE: Final = ("sample_rate", "encoding", "scale", "divisor", "quality")
_Batch = TypeVar("_Batch", SampleBatch, WaveformBatch)


class Page(NamedTuple):
    """What is read of an asset at a time."""

    samples: SampleBatch
    waveforms: WaveformBatch
    until: int | None
    """Every sample before this instant has been read, in microseconds since the epoch; None if all have."""


def in_step(samples: Iterator[SampleBatch], waveforms: Iterator[WaveformBatch]) -> Iterator[Page]:
    """Yield the pages of both by time: the next page is taken of what is known less far.

    Args:
        samples: pages, each wholly later than the one before.
        waveforms: the same.
    """
    nothing, silence = empty_batch(), empty_waveforms()
    process, vibration = _known(samples, nothing, _last_sample), _known(waveforms, silence, _last_of_stretches)
    (few, known), (stretches, heard) = next(process), next(vibration)
    while True:
        until = min((each for each in (known, heard) if each is not None), default=None)
        yield Page(few, stretches, until)
        if until is None:
            return
        few, known = next(process) if known == until else (nothing, known)
        stretches, heard = next(vibration) if heard == until else (silence, heard)


def _known(
    pages: Iterator[_Batch], nothing: _Batch, last: Callable[[_Batch], int]
) -> Iterator[tuple[_Batch, int | None]]:
    """Yield each page and the time of its last sample, or None if no page follows; an empty page if there is none."""
    page = next(pages, nothing)
    for following in pages:
        yield page, last(page)
        page = following
    yield page, None


def _last_sample(page: SampleBatch) -> int:
    return int(page.select(pl.col("timestamp").to_physical().max()).item())


def _last_of_stretches(page: WaveformBatch) -> int:
    return int(last_us(page).max())


def of_tag(page: Page, tag: SampleTag) -> pl.DataFrame:
    """Return the tag's rows, the columns its features need. Often a page is one tag's, which saves a query."""
    if tag.sample_rate is None:
        return _of_tag(page.samples, tag)
    return _of_tag(page.waveforms, tag).with_columns(first=pl.lit(0, pl.Int64))


def _of_tag(page: pl.DataFrame, tag: SampleTag) -> pl.DataFrame:
    ends = [*page[:1]["tag"], *page[-1:]["tag"]]  # the whole column would take 16 bytes a row
    alone = set(ends) == {tag.name}
    return (page if alone else page.filter(tag=tag.name))[list(tag.columns)]


def appended(before: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return both in one frame; in one piece if there were none before: of several pieces arrays would be copies."""
    if before.is_empty():
        return rows
    return pl.concat([before, rows if rows.is_empty() or "first" not in rows.columns else _continued(before, rows)])


def _continued(before: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return stretches of which the first one, if a page's border has cut it, is part of the last one before.

    Both parts then have the times they had uncut: the timestamp of the second one is rounded to a microsecond, and a
    window's border may lie just there.
    """
    columns = ["timestamp", "first", "count", *_ALIKE]
    last, head = before[-1:].select(columns), rows[:1].select(columns)
    passed = (last["first"] + last["count"]).to_numpy()
    together = passed + head["count"].to_numpy()
    goes_on = (
        last.select(_ALIKE).equals(head.select(_ALIKE))
        and bool(starts_us(head) == starts_us(last) + offsets_us(passed, last["sample_rate"].to_numpy()))
        and bool(together <= MAX_BYTES // ITEM_BYTES[head.item(0, "encoding")])
    )
    if not goes_on:
        return rows
    joined = rows[:1].with_columns(timestamp=last["timestamp"], first=pl.Series(passed, dtype=pl.Int64))
    return pl.concat([joined, rows[1:]])


def since(rows: pl.DataFrame, instant: int) -> pl.DataFrame:
    """Return the samples of one tag at or after an instant, in microseconds since the epoch."""
    if "first" not in rows.columns:
        return rows.filter(pl.col("timestamp").to_physical() >= instant)
    first, count = rows["first"].to_numpy(), rows["count"].to_numpy().astype(np.int64)
    index = first_index(instant - starts_us(rows), rows["sample_rate"].to_numpy())
    unused = np.clip(index - first, 0, count)
    kept = rows.with_columns(unused=pl.Series(unused)).filter(pl.col("unused") < pl.col("count"))
    return pl.concat([_without_unused(kept[:1]), kept[1:].drop("unused")])


def _without_unused(row: pl.DataFrame) -> pl.DataFrame:
    """Cut the samples off the beginning of one stretch; its timestamp stays that of the whole."""
    size = pl.col("encoding").replace_strict(ITEM_BYTES, return_dtype=pl.UInt32)
    return row.with_columns(
        pl.col("first") + pl.col("unused"),
        (pl.col("count") - pl.col("unused")).cast(pl.UInt32),
        pl.col("values").bin.slice(pl.col("unused") * size),
    ).drop("unused")
