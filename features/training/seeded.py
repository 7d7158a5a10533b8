"""Reproducible random order of rows or names: it follows from a seed and from each row or name alone.

A row keeps its number whatever other rows there are, and on any version of any library: the mixing is SplitMix64's
(Steele, Lea, Flood 2014, doi 10.1145/2660193.2660195).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl

from features.tables.labels import ASSET, EVENT_TIMESTAMP

Lots = npt.NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


def row_lots(labels: pl.DataFrame, seed: int) -> Lots:
    """Return a number for each (asset, event_timestamp), uniform over 0 to 2^64 - 1.

    Args:
        labels: asset, event_timestamp.
        seed: Seed of the random numbers.

    Returns:
        One number a row.
    """
    names = labels[ASSET].unique().to_list()
    lots = dict(zip(names, name_lots(names, seed).tolist(), strict=True))
    of_asset = labels[ASSET].replace_strict(lots, return_dtype=pl.UInt64).cast(pl.UInt64)  # no names would stay text
    return _mixed(of_asset.to_numpy() ^ labels[EVENT_TIMESTAMP].to_physical().to_numpy().astype(np.uint64))


def name_lots(names: Iterable[str], seed: int) -> Lots:
    """Return a number for each name, uniform over 0 to 2^64 - 1.

    Args:
        names: Any text.
        seed: Seed of the random numbers.
    """
    checksums = np.array([crc32(name.encode()) for name in names], np.uint64)
    return _mixed(_mixed(checksums) ^ np.uint64(seed))


def _mixed(state: Lots) -> Lots:
    with np.errstate(over="ignore"):
        z = state + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: Lots = z ^ (z >> np.uint64(31))
        return mixed
