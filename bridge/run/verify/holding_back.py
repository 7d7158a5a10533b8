"""An archive without the samples that contradict the store, for policies by which these do not replace others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from bridge.drivers.protocols import Archive, Driver, Extent, Page, ProposesSlices, open_archive
from bridge.drivers.raw_rows import RawRows
from bridge.edge.quarantine_rows import rejected
from bridge.ingest.transforms import pipeline
from historian.plant.connections import ConnectionConfig
from historian.samples import SCHEMA
from historian.times import from_micros
from historian.waveforms.batch import REQUIRED, WAVEFORM_SCHEMA, WaveformBatch
from historian.waveforms.cutting import cut
from historian.waveforms.timing import Booleans, Integers, last_us, starts_us

CONTRADICTS: Final = "the store has another value of the same tag and time"


class Spans(NamedTuple):
    """Half-open intervals, sorted and disjoint, in microseconds since the epoch."""

    start: Integers
    end: Integers

    def hold(self, times: Integers) -> Booleans:
        """Return whether each time lies in one of them."""
        before = np.searchsorted(self.start, times, side="right") - 1
        inside: Booleans = (before >= 0) & (times < self.end[before.clip(0)])
        return inside


def spans_of(times: Sequence[Integers], slack: int) -> Spans:
    """Return spans around times; those of neighbouring samples of a waveform are one.

    Args:
        times: microseconds since the epoch; ascending if all are joined.
        slack: half the length of a span; 0 for a microsecond.
    """
    at = np.concatenate(times)
    start, end = at - slack, at + slack + 1
    joint = np.flatnonzero(start[1:] - end[:-1] > (slack + 2 if slack else 0)) + 1
    return Spans(start[np.append(0, joint)], end[np.append(joint - 1, len(at) - 1)])


def holding_back(
    connection: ConnectionConfig, contrary: Mapping[str, Spans], *, to_quarantine: bool
) -> ConnectionConfig:
    """Return a connection to the same archive that holds back some samples.

    Args:
        connection: the archive.
        contrary: tag -> the spans whose samples are held back.
        to_quarantine: whether these are rejected rows of the archive's pages, or left out.
    """
    original = connection.driver
    driver = Driver(
        options=original.options,
        address=original.address,
        archive=lambda _: HoldingBack(open_archive(connection), connection, contrary, to_quarantine),
    )
    return replace(connection, driver=driver)


@dataclass
class HoldingBack:
    """An `Archive` that holds back some samples of another one."""

    archive: Archive
    connection: ConnectionConfig
    contrary: Mapping[str, Spans]
    to_quarantine: bool

    async def open(self) -> None:
        """See `Archive.open`."""
        await self.archive.open()

    async def close(self) -> None:
        """See `Archive.close`."""
        await self.archive.close()

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`."""
        return await self.archive.extents()

    async def slice_starts(self, start: datetime, end: datetime) -> Sequence[datetime]:
        """See `ProposesSlices.slice_starts`."""
        return await self.archive.slice_starts(start, end) if isinstance(self.archive, ProposesSlices) else ()

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`."""
        async with aclosing(self.archive.read(tags, start, end)) as pages:
            async for page in pages:
                kept, held = divided(page.rows, self.contrary)
                parts = [each for each in (page.rejected, self._rejected(held)) if each is not None]
                yield replace(page, rows=kept, rejected=pl.concat(parts, how="diagonal") if parts else None)

    def _rejected(self, held: RawRows) -> pl.DataFrame | None:
        """Return what is held back as rejected rows, in engineering units like all others in quarantine."""
        if held.is_empty or not self.to_quarantine:
            return None
        for transform in pipeline(self.connection.tags):
            held = transform(held)
        return pl.concat([rejected(part, CONTRADICTS) for part in held])


def divided(rows: RawRows, contrary: Mapping[str, Spans]) -> tuple[RawRows, RawRows]:
    """Return the rows outside and those inside of the spans of their tags; stretches are cut there."""
    inside = pl.repeat(value=False, n=rows.samples.height, dtype=pl.Boolean(), eager=True).to_numpy().copy()
    times = rows.samples["timestamp"].to_physical().fill_null(-1).to_numpy()
    for tag in set(rows.samples["tag"].unique()) & contrary.keys():
        inside |= (rows.samples["tag"] == tag).fill_null(value=False).to_numpy() & contrary[tag].hold(times)
    samples = rows.samples.with_columns(pl.col("timestamp").cast(SCHEMA["timestamp"]))
    kept, held = _stretches(rows.waveforms, contrary)
    return RawRows(samples.filter(~inside), kept), RawRows(samples.filter(inside), held)


def _stretches(frame: pl.DataFrame, contrary: Mapping[str, Spans]) -> tuple[pl.DataFrame, pl.DataFrame]:
    concerned = pl.col("tag").is_in(list(contrary)) & pl.all_horizontal(pl.col(REQUIRED).is_not_null())
    kept, held = [frame.filter(~concerned.fill_null(value=False))], [WAVEFORM_SCHEMA.to_frame()]
    for (tag,), stretches in frame.filter(concerned).group_by("tag", maintain_order=True):
        for first, last, is_held in _pieces(stretches, contrary[str(tag)]):
            piece = cut(WaveformBatch(stretches), from_micros(first), from_micros(last))
            (held if is_held else kept).append(piece)
    return pl.concat(kept), pl.concat(held)


def _pieces(stretches: pl.DataFrame, spans: Spans) -> Iterator[tuple[int, int, bool]]:
    """Yield first instant, first instant after, and whether it is one of the spans, of all pieces of the time."""
    first, last = int(starts_us(stretches).min()), int(last_us(stretches).max()) + 1
    for start, end in zip(spans.start.tolist(), spans.end.tolist(), strict=True):
        if start < last and end > first:
            yield first, max(first, start), False
            yield max(first, start), min(last, end), True
            first = min(last, end)
    yield first, last, False
