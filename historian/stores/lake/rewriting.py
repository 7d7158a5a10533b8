"""How rows of files become rows of the files that replace them: what differs between samples and stretches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol

import polars as pl

from historian.samples import KEY, newest_wins
from historian.stores.lake.directory import LakeDirectory
from historian.stores.lake.files import files_of, parts_of, prune, whole_files
from historian.stores.lake.layout import WRITTEN, stored, stored_waveforms, with_batch_types
from historian.stores.lake.pages import pages_of
from historian.stores.lake.stretch_rows import read_rows
from historian.stores.lake.stretches import far_of, located_in, stretch_pages
from historian.stores.lake.table import LakeTable
from historian.times import from_micros
from historian.waveforms.adjoining import joined
from historian.waveforms.joining import newest_wins_waveforms

_PLACE: Final = ("tag", "timestamp", "last", WRITTEN)
_DAY: Final = timedelta(days=1)


class Rows(Protocol):
    """The rows of one table, as they are rewritten."""

    @property
    def table(self) -> LakeTable:
        """The table."""
        ...

    @property
    def samples(self) -> pl.Expr:
        """The number of samples of rows, as an aggregate."""
        ...

    def pages(
        self, files: pl.DataFrame, groups: Iterable[Sequence[str]], day: date, *, page_rows: int
    ) -> Iterator[pl.DataFrame]:
        """Yield what counts of a day's files, group of tags by group of tags, in pages of bounded size.

        Args:
            files: from `files_of`, all of the day.
            groups: the tags of each group.
            day: the day in UTC.
            page_rows: approximate number of stored samples per page.

        Yields:
            Rows as the table stores them, with `day`.
        """
        ...

    def merged(self, rows: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
        """Return what counts of all rows of some files, in the same form."""
        ...


@dataclass(frozen=True)
class SampleRows:
    """Samples: of those with the same key, the newest write counts. See `Rows`."""

    lake: LakeDirectory

    @property
    def table(self) -> LakeTable:
        """See `Rows.table`."""
        return self.lake.samples

    @property
    def samples(self) -> pl.Expr:
        """See `Rows.samples`."""
        return pl.len().cast(pl.Int64)

    def pages(
        self, files: pl.DataFrame, groups: Iterable[Sequence[str]], day: date, *, page_rows: int
    ) -> Iterator[pl.DataFrame]:
        """See `Rows.pages`."""
        span = _midnight(day), _midnight(day) + _DAY
        parts = list(parts_of(files, *span, self.lake.layout.group_rows))
        for tags in groups:
            for page in pages_of(self.lake, parts, tags, span, page_rows=page_rows, stamped=True):
                yield stored(page.sort(*KEY))

    def merged(self, rows: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
        """See `Rows.merged`."""
        return stored(newest_wins(rows, written=WRITTEN))


@dataclass(frozen=True)
class StretchRows:
    """Stretches: where they overlap, the newest write counts; those that continue one another are joined. See `Rows`.

    A joined stretch gets the newest `ingested_at` of its parts. So stretches of a tag are not joined while another file
    has a stretch nearby that was written between them: it might count less than a part did.
    """

    lake: LakeDirectory

    @property
    def table(self) -> LakeTable:
        """See `Rows.table`."""
        return self.lake.waveforms

    @property
    def samples(self) -> pl.Expr:
        """See `Rows.samples`."""
        return pl.col("count").sum()

    def pages(
        self, files: pl.DataFrame, groups: Iterable[Sequence[str]], day: date, *, page_rows: int
    ) -> Iterator[pl.DataFrame]:
        """See `Rows.pages`."""
        # Stretches that begin on this day may end on a later one.
        last = files["last"].max()
        end = from_micros(last) + _DAY if isinstance(last, int) else _midnight(day) + 2 * _DAY
        span = _midnight(day), end
        for tags in groups:
            found = located_in(self.lake, files, tags, span)
            disturbed = self._disturbed(found.stamped(), files)
            for page in stretch_pages(self.lake, found, span, page_samples=page_rows):
                yield _stored(page, disturbed)

    def merged(self, rows: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
        """See `Rows.merged`."""
        disturbed = self._disturbed(rows, files)
        return _stored(newest_wins_waveforms(with_batch_types(rows.drop("last")), written=WRITTEN), disturbed)

    def _disturbed(self, rows: pl.DataFrame, files: pl.DataFrame) -> list[str]:
        """Return the tags of which another file has a stretch nearby that was written between these."""
        written = pl.col(WRITTEN)
        own = rows.group_by("tag").agg(
            begin=pl.col("timestamp").min(), end=pl.col("last").max(), oldest=written.min(), newest=written.max()
        )
        bounds = own.select(pl.col("begin").min(), pl.col("end").max()).row(0)
        if bounds[0] is None:
            return []
        every = files_of(self.table)
        far = far_of(every)
        span = bounds[0] - far, bounds[1] + far
        others = prune(every.join(files, on="path", how="anti"), own["tag"].to_list(), *span)
        held = read_rows(whole_files(others), _PLACE)
        nearby = (pl.col("timestamp") <= pl.col("end") + far) & (pl.col("last") >= pl.col("begin") - far)
        between = (written > pl.col("oldest")) & (written <= pl.col("newest"))
        return held.join(own, on="tag").filter(nearby & between)["tag"].unique().to_list()


def _stored(page: pl.DataFrame, disturbed: Sequence[str]) -> pl.DataFrame:
    """Join stretches, except those of `disturbed` tags, and return them as the table stores them."""
    apart = pl.col("tag").is_in(disturbed)
    rows = pl.concat([joined(page.filter(~apart)), page.filter(apart)]) if disturbed else joined(page)
    return stored_waveforms(rows.sort(*KEY))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
