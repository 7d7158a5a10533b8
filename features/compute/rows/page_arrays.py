"""The samples and stretches of a page as arrays, converted once for all tags: a live page has little of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import local
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from features.compute.rows.pages import Page, begun, since, tag_rows, with_held
from features.define.spec import Floats
from features.kernels.scratch import Scratch
from features.windows.stretches import Booleans, Integers, Stretches
from historian.quality import is_good
from historian.samples import instants_us
from historian.waveforms.encoding import Stored

_OF_THREAD: Final = local()
_NOTHING: Final = slice(0, 0)


class TagSamples(NamedTuple):
    """Samples of one tag."""

    times: Integers
    """[samples] microseconds since the epoch, ascending."""
    values: Floats
    """[samples]"""
    good: Booleans
    """[samples]"""


class TagStretches(NamedTuple):
    """Stretches of one tag."""

    stretches: Stretches
    offset: int
    """Number of their first sample among the values of all tags."""


class Held(NamedTuple):
    """Rows of earlier pages that later windows need, by tag."""

    samples: Mapping[str, pl.DataFrame]
    waveforms: Mapping[str, pl.DataFrame]


class PageValues:
    """The values of stretches, decoded where they are needed: a whole page does not fit into the caches."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._stored = Stored(rows)

    def __getitem__(self, place: slice) -> Floats:
        """Return the values from `place.start` to `place.stop` - 1; the next ones overwrite them."""
        found = scratch().array("samples", (place.stop - place.start, 1), np.float64)[:, 0]
        self._stored.decode(place.start, place.stop, found)
        return found


class PageArrays:
    """What windows of a page are made of: its rows, and those held of earlier pages."""

    def __init__(self, page: Page, held: Held, begins: Mapping[str, int]) -> None:
        """Find the rows of each tag.

        Args:
            page: what was read.
            held: of earlier pages.
            begins: tag -> the instant, in microseconds since the epoch, before which its samples are not used.
        """
        self._samples = with_held(held.samples, begun(tag_rows(page.samples), begins))
        waveforms = page.waveforms.with_columns(first=pl.lit(0, pl.Int64))
        self._waveforms = with_held(held.waveforms, begun(tag_rows(waveforms), begins))

    def samples(self, tag: str) -> TagSamples:
        """Return the samples of a tag."""
        place = self._samples.places.get(tag, _NOTHING)
        times, values, good = self._columns
        return TagSamples(times[place], values[place], good[place])

    def sample_rows(self, tags: Sequence[str]) -> pl.DataFrame:
        """Return the samples of tags as rows, tag by tag in the order given."""
        return pl.concat([self._samples.rows.clear(), *map(self._samples.of, tags)])

    def stretches(self, tag: str) -> TagStretches:
        """Return the stretches of a tag."""
        place = self._waveforms.places.get(tag, _NOTHING)
        return TagStretches(self._stretches.part(place), int(self._stretches.offsets[place.start]))

    @cached_property
    def values(self) -> PageValues:
        """The values of the stretches of all tags, one after the other."""
        return PageValues(self._waveforms.rows)

    def since(self, instants: Mapping[str, int]) -> Held:
        """Return each tag's rows at or after an instant, in microseconds since the epoch; of other tags nothing."""
        return Held(
            *(
                {tag: since(rows.of(tag), instant) for tag, instant in instants.items() if tag in rows.places}
                for rows in (self._samples, self._waveforms)
            )
        )

    @cached_property
    def _columns(self) -> TagSamples:
        return tag_samples(self._samples.rows)

    @cached_property
    def _stretches(self) -> Stretches:
        rows = self._waveforms.rows
        needed = int(rows["count"].sum()) if rows["not_finite"].sum() else 0
        return Stretches.of(rows, self.values[0:needed])


def tag_samples(rows: pl.DataFrame) -> TagSamples:
    """Return samples as arrays; `rows` has the columns timestamp, value and quality, in the order of time."""
    good = rows.select(is_good(pl.col("quality"))).to_series().to_numpy()
    return TagSamples(instants_us(rows["timestamp"]), rows["value"].to_numpy(), good)


def scratch() -> Scratch:
    """Return this thread's scratch memory, kept between calls: a first batch in new memory takes twice as long."""
    if not hasattr(_OF_THREAD, "scratch"):
        _OF_THREAD.scratch = Scratch()
    found: Scratch = _OF_THREAD.scratch
    return found
