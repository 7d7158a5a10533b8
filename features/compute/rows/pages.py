"""Pages of samples and pages of waveforms, side by side in time, and each tag's part of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, TypeVar

import numpy as np
import polars as pl

from historian.samples import SampleBatch, empty_batch
from historian.waveforms.batch import ITEM_BYTES, MAX_BYTES, WaveformBatch, empty_waveforms
from historian.waveforms.timing import first_index, last_us, offsets_us, starts_us

_ALIKE: Final = ("sample_rate", "encoding", "scale", "divisor", "quality")
_Batch = TypeVar("_Batch", SampleBatch, WaveformBatch)


class Page(NamedTuple):
    """What is read at a time."""

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


class TagRows(NamedTuple):
    """Rows of several tags, sorted by tag and time."""

    rows: pl.DataFrame
    places: Mapping[str, slice]
    """Which rows each tag has; a tag without rows is left out."""

    def of(self, tag: str) -> pl.DataFrame:
        """Return the rows of a tag."""
        return self.rows[self.places[tag]] if tag in self.places else self.rows.clear()


def tag_rows(rows: pl.DataFrame) -> TagRows:
    """Find the rows of each tag.

    Args:
        rows: samples, or stretches with the column `first`, sorted by (tag, timestamp).
    """
    runs = rows["tag"].rle().struct
    names, counts = runs.field("value").to_list(), runs.field("len").to_list()
    return TagRows(rows, _places(names, counts))


def begun(rows: TagRows, begins: Mapping[str, int]) -> TagRows:
    """Return rows without those of some tags from before an instant, in microseconds since the epoch."""
    if begins.keys().isdisjoint(rows.places):
        return rows
    parts = [since(rows.of(tag), begins[tag]) if tag in begins else rows.of(tag) for tag in rows.places]
    return TagRows(pl.concat(parts), _places(list(rows.places), [part.height for part in parts]))


def with_held(held: Mapping[str, pl.DataFrame], page: TagRows) -> TagRows:
    """Return the rows of a page, each tag's after those that are held of earlier pages."""
    if not held:
        return page
    names = sorted({*held, *page.places})
    parts = [appended(held[name], page.of(name)) if name in held else page.of(name) for name in names]
    return TagRows(pl.concat(parts), _places(names, [part.height for part in parts]))


def _places(names: Sequence[str], counts: Sequence[int]) -> dict[str, slice]:
    edges = accumulate(counts, initial=0)
    return {name: slice(*edge) for name, edge in zip(names, pairwise(edges), strict=True)}


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
