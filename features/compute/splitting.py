"""How long intervals of an asset's windows are split into partitions of bounded size, by where its samples lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.windows.tiling import EndRange

_LEAST_LOOKBACKS: Final = 8
"""A partition is at least so many times as long as the lookback, which is read twice."""
_SAMPLE_BYTES: Final = 256
"""A sample's share of what a partition holds at its worst: read, sorted, and as a waveform; an estimate."""
_CELL_BYTES: Final = 32
"""The same of one cell of its rows."""
_MOST: Final = 6_000_000
"""Samples of a partition: larger ones are no faster, and leave other cores without work."""
_PROCESS: Final = 192 * 2**20
"""Bytes of a process that has nothing to do yet."""
_LEAST: Final = 512 * 2**20
"""Bytes for which it pays to have another process."""


@dataclass(frozen=True)
class Budget:
    """How large a partition may get."""

    samples: int
    """Upper bound on the number of samples it reads."""
    cells: int
    """Upper bound on the number of cells in its rows."""


def most_jobs(memory: int, cores: int) -> int:
    """Return how many processes are of use, given memory in bytes and the number of cores."""
    return max(min(cores, memory // _LEAST), 1)


def budget(memory: int, at_once: int) -> Budget:
    """Return how large partitions may get so that all that are computed at once fit into memory.

    Args:
        memory: bytes for all of them; a quarter is for their rows.
        at_once: how many processes compute, each a partition.
    """
    each = (memory - (at_once - 1) * _PROCESS) // at_once
    samples = min(max(each * 3 // 4 // _SAMPLE_BYTES, 50_000), _MOST)
    return Budget(samples, max(each // 4 // _CELL_BYTES, 50_000))


@dataclass(frozen=True)
class SampleDensity:
    """Where an asset's samples lie in time: how many were ever written up to an instant, by the ledger."""

    instants: npt.NDArray[np.int64]
    """[edges] microseconds since the epoch, ascending."""
    written: npt.NDArray[np.float64]
    """[edges] samples written up to then."""

    def between(self, after: int, until: int) -> int:
        """Return about how many samples lie between two instants in microseconds since the epoch."""
        first, last = np.interp([after, until], self.instants, self.written)
        return round(last - first)


class Entries:
    """Ledger rows by tag, which say how samples lie in time; each row's are taken to be evenly spaced."""

    def __init__(self, entries: pl.DataFrame) -> None:
        """Sort them; `entries` has the columns tag, first, last and rows of `historian.stores.protocols.LEDGER`."""
        ordered = entries.sort("tag")
        self._columns = [ordered[name].to_physical().to_numpy() for name in ("first", "last", "rows")]
        runs = ordered["tag"].rle().struct
        edges = pairwise(accumulate(runs.field("len").to_list(), initial=0))
        self._places = {tag: slice(*edge) for tag, edge in zip(runs.field("value").to_list(), edges, strict=True)}

    def density(self, tags: Iterable[str]) -> SampleDensity:
        """Return how the samples of tags lie in time."""
        places = [self._places[tag] for tag in tags if tag in self._places]
        if not places:  # what waited for the clock was written long ago
            return SampleDensity(np.zeros(1, np.int64), np.zeros(1))
        first, last, rows = (np.concatenate([column[place] for place in places]) for column in self._columns)
        rate = rows / (last + 1 - first)
        edges, change = np.concatenate([first, last + 1]), np.concatenate([rate, -rate])
        order = np.argsort(edges, kind="stable")
        steps = np.cumsum(change[order])[:-1] * np.diff(edges[order])
        return SampleDensity(edges[order], np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0))])[: len(edges)])


def split_points(
    wanted: EndRange, density: SampleDensity, *, samples: int, rows: int, hop: int, lookback: int
) -> list[int]:
    """Return where to split a range of window ends into pieces of bounded size, without the range's own ends.

    A piece is never shorter than eight lookbacks, whatever that costs: more would be read twice than once.

    Args:
        wanted: the range.
        density: where the samples lie.
        samples: at most about so many in a piece.
        rows: at most about so many in a piece.
        hop: from window to window, in microseconds.
        lookback: how far before its end a window needs samples, in microseconds.
    """
    least = _LEAST_LOOKBACKS * lookback
    if wanted.until - wanted.after < 2 * least:
        return []
    found = density.between(wanted.after, wanted.until)
    ends = min(wanted.until - wanted.after, found * lookback) / hop
    first, last = np.interp([wanted.after, wanted.until], density.instants, density.written)
    targets = np.linspace(first, last, ceil(max(found / samples, ends / rows, 1.0)) + 1)[1:-1]
    chosen = [wanted.after]
    for point in np.interp(targets, density.written, density.instants).astype(np.int64).tolist():
        if chosen[-1] + least <= point <= wanted.until - least:
            chosen.append(point)
    return chosen[1:]
