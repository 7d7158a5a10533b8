"""Where two signals differ: by bisection, so that only what differs is looked at sample by sample. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from bridge.run.verify.signals import Signal
from historian.waveforms.timing import Booleans, Integers

LEAF: Final = 256
"""Number of samples of both sides together from which on a part is not halved any more."""


class Part(NamedTuple):
    """The same interval of time in two signals, as indices; the ends are excluded."""

    source: tuple[int, int]
    store: tuple[int, int]


class Differences(NamedTuple):
    """Samples that are not the same on both sides."""

    missing: Integers
    """Indices of samples of the source whose times the store does not have."""
    extra: Integers
    """Indices of samples of the store whose times the source does not have."""
    changed: Integers
    """Indices of samples of the source that have another value, text or quality in the store."""
    stored: Integers
    """Indices of the counterparts of `changed` in the store."""

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(len(self.missing) or len(self.extra) or len(self.changed))


def differences(source: Signal, store: Signal) -> Differences:
    """Return which samples differ.

    Args:
        source: samples of the source.
        store: samples of the store, with the times of their counterparts.
    """
    parts = list(differing_parts(source, store))
    ours, theirs = _indices([part.source for part in parts]), _indices([part.store for part in parts])
    _, one, other = np.intersect1d(source.times[ours], store.times[theirs], return_indices=True)
    unequal = _unequal(source, store, ours[one], theirs[other])
    return Differences(np.delete(ours, one), np.delete(theirs, other), ours[one][unequal], theirs[other][unequal])


def differing_parts(source: Signal, store: Signal) -> Iterator[Part]:
    """Yield the intervals that differ, in the order of time: halves that are equal are not looked into."""
    waiting = [Part((0, len(source)), (0, len(store)))]
    while waiting:
        part = waiting.pop()
        ours, theirs = source.part(*part.source), store.part(*part.store)
        if ours.equals(theirs):
            continue
        if len(ours) + len(theirs) <= LEAF:
            yield part
            continue
        longer = max(ours, theirs, key=len)
        middle = longer.times[len(longer) // 2]
        first, second = _halves(part.source, ours, middle), _halves(part.store, theirs, middle)
        waiting += [Part(first[1], second[1]), Part(first[0], second[0])]


def _halves(span: tuple[int, int], signal: Signal, middle: np.int64) -> tuple[tuple[int, int], tuple[int, int]]:
    border = span[0] + int(np.searchsorted(signal.times, middle))
    return (span[0], border), (border, span[1])


def _indices(spans: list[tuple[int, int]]) -> Integers:
    return np.concatenate([np.empty(0, np.int64), *(np.arange(*span) for span in spans)])


def _unequal(source: Signal, store: Signal, ours: Integers, theirs: Integers) -> Booleans:
    """Return whether samples that have the same time differ in anything else."""
    unequal: Booleans = (source.bits[ours] != store.bits[theirs]) | (source.quality[ours] != store.quality[theirs])
    if source.texts is None and store.texts is None:
        return unequal
    reworded: Booleans = _texts(source, ours).ne_missing(_texts(store, theirs)).to_numpy()
    return unequal | reworded


def _texts(signal: Signal, indices: Integers) -> pl.Series:
    if signal.texts is None:
        return pl.repeat(None, len(indices), dtype=pl.String(), eager=True)
    return signal.texts.gather(indices)
