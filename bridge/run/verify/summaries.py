"""What is proven of a tag's day: count, first, last, SHA-256 of the canonical form, and histogram of qualities. Pure.

The canonical form of a sample is 24 bytes, little-endian: time in microseconds since the epoch (int64), value (float64;
NaN is 7ff8000000000000 and stands for no value), quality (uint32), and number of bytes of its text in UTF-8 (uint32;
ffffffff for no text). Time and quality of waveforms are 0: their times are rounded, and their qualities are those of
whole stretches. The hash of a day is SHA-256(SHA-256(samples in the order of time) + SHA-256(their texts, one after the
other)). `verify_manifest.py` computes it with the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np
import polars as pl

from bridge.run.verify.signals import Signal
from historian.times import format_instant, from_micros

RECORD: Final = np.dtype([("time", "<i8"), ("value", "<i8"), ("quality", "<u4"), ("text", "<u4")])
NO_TEXT: Final = 0xFFFFFFFF
_BLOCK: Final = 2**15
"""Samples made into bytes at a time, so that they stay in the CPU caches."""


@dataclass(frozen=True)
class Summary:
    """One side of a tag's day."""

    count: int
    first: str | None
    """Time of the first sample; None if there is none."""
    last: str | None
    sha256: str
    qualities: dict[str, int]
    """Code -> number of samples."""


class Running:
    """A summary to which samples are added in the order of time."""

    def __init__(self, *, timed: bool) -> None:
        """Begin without samples.

        Args:
            timed: whether times and qualities are part of the hash, as they are for everything but waveforms.
        """
        self._timed = timed
        self._count, self._first, self._last = 0, 0, 0
        self._qualities: dict[int, int] = {}
        self._records, self._texts = sha256(), sha256()

    def copy(self) -> Running:
        """Return a summary of the same samples, to which others can be added."""
        found = Running(timed=self._timed)
        found._count, found._first, found._last = self._count, self._first, self._last
        found._qualities = dict(self._qualities)
        found._records, found._texts = self._records.copy(), self._texts.copy()
        return found

    def add(self, signal: Signal) -> None:
        """Add samples that are later than those before."""
        if not len(signal):
            return
        self._first = self._first if self._count else int(signal.recorded[0])
        self._last = int(signal.recorded[-1])
        self._count += len(signal)
        for code, count in _histogram(signal):
            self._qualities[code] = self._qualities.get(code, 0) + count
        lengths = _lengths(signal)
        for first in range(0, len(signal), _BLOCK):
            block = slice(first, first + _BLOCK)
            self._records.update(self._block(signal, lengths, block).tobytes())
        if signal.texts is not None:
            self._texts.update("".join(signal.texts.drop_nulls()).encode())

    def _block(self, signal: Signal, lengths: np.ndarray | int, block: slice) -> np.ndarray:
        records = np.empty(len(signal.bits[block]), RECORD)
        records["time"] = signal.recorded[block] if self._timed else 0
        records["quality"] = signal.quality[block] if self._timed else 0
        records["value"] = signal.bits[block]
        records["text"] = lengths if isinstance(lengths, int) else lengths[block]
        return records

    def summary(self) -> Summary:
        """Return the summary of everything added so far."""
        both = sha256(self._records.digest() + self._texts.digest()).hexdigest()
        ends = (self._first, self._last) if self._count else ()
        first, last = (format_instant(from_micros(each)) for each in ends) if ends else (None, None)
        return Summary(self._count, first, last, both, {str(code): n for code, n in sorted(self._qualities.items())})


def _histogram(signal: Signal) -> list[tuple[int, int]]:
    if (signal.quality == signal.quality[0]).all():
        return [(int(signal.quality[0]), len(signal))]
    codes, counts = np.unique(signal.quality, return_counts=True)
    return list(zip(codes.tolist(), counts.tolist(), strict=True))


def _lengths(signal: Signal) -> np.ndarray | int:
    """Return the number of bytes of each text."""
    if signal.texts is None:
        return NO_TEXT
    return signal.texts.str.len_bytes().cast(pl.UInt32).fill_null(NO_TEXT).to_numpy()
