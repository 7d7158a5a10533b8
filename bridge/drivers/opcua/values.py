"""Converts decoded notifications to raw rows. Pure.

| value of the node | rows |
|---|---|
| number, boolean | one sample, in `value` |
| text, time, identifier, and integers that float64 cannot hold | one sample, in `text` |
| array of numbers of a tag with a sample rate | one stretch, in the type of the array |
| any other array | one sample, in `text` |
| anything with a Bad status | one sample, without value |

Nothing is rejected here; the contract rejects what does not fit its tag. The status code is the quality. The timestamp
is the source's; without one the server's; without either the time of reception.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridge.drivers.opcua.columns import NEVER, Columns
from bridge.drivers.opcua.contents import text_of
from bridge.drivers.opcua.driver import Address
from bridge.drivers.opcua.stamps import ArrayClock, Stamp
from bridge.drivers.raw_rows import RawRows
from historian.plant.connections import Tag
from historian.quality import BAD, BAD_NO_DATA
from historian.samples import SCHEMA
from historian.times import micros
from historian.waveforms.batch import WAVEFORM_SCHEMA
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.timing import Booleans, Integers, offsets_us

_KEPT: Final = {"i1": np.int16, "u1": np.int16, "i2": np.int16, "f4": np.float32}
"""Type of an array -> the type in which `encode` is given it: int16 and float32 are stored as they are. All others are
given as float64, which is stored in the smallest type that holds the values."""
_HEADS: Final = {**HEADS, "timestamp": pl.Int64()}


@dataclass(frozen=True)
class Channel:
    """How to decode the values of one tag."""

    tag: str
    sample_rate: float | None = None
    stamp: Stamp = "first"
    """Whether an array's timestamp is that of its first or of its last element."""


def channel_of(tag: Tag) -> Channel:
    """Return how to decode the values of a tag."""
    return Channel(tag.name, tag.sample_rate, cast(Address, tag.options).stamp)


class _Burst(NamedTuple):
    """An array of a waveform."""

    tag: str
    timestamp: int
    """Of its first element, in microseconds since the epoch."""
    sample_rate: float
    length: int
    quality: int
    values: NDArray[Any]


class RowMaker:
    """Makes raw rows of the values of one connection; it remembers the arrays that came before."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        """Start a connection whose handles are the indices of `channels`."""
        self._channels = channels
        self._tags = pl.Series("tag", [channel.tag for channel in channels], pl.String())
        self._clock = ArrayClock()

    def rows(self, columns: Columns, received: Integers) -> RawRows:
        """Return the raw rows of some values, those of each kind in the order in which they are given.

        Args:
            columns: the values.
            received: [n] when each was received, in microseconds since the epoch.

        Raises:
            IndexError: a value is of no channel.
        """
        time = np.where(columns.time == NEVER, received, columns.time)
        quality = columns.status.copy()
        texts = {place: text for place, text in columns.text.items() if quality[place] < BAD}
        is_burst = np.zeros(len(time), np.bool_)
        bursts = list[_Burst]()
        for place, channel, array in self._arrays(columns):
            if channel.sample_rate is None:
                texts[place] = text_of(array.tolist())
            elif len(array):
                is_burst[place] = True
                bursts.append(self._burst(channel, int(time[place]), array, int(quality[place])))
            else:
                quality[place] = BAD_NO_DATA
        return RawRows(self._samples(columns, time, quality, texts, ~is_burst), _stretches(bursts))

    def _arrays(self, columns: Columns) -> Iterator[tuple[int, Channel, NDArray[Any]]]:
        """Yield index, channel and elements of each array that is not Bad, in order."""
        for place, array in columns.array.items():
            if columns.status[place] < BAD:
                yield place, self._channels[columns.handle[place]], array

    def _burst(self, channel: Channel, at: int, array: NDArray[Any], quality: int) -> _Burst:
        rate, count = channel.sample_rate or 0.0, len(array)
        first = at - (int(offsets_us(np.array(count - 1), rate)) if channel.stamp == "last" else 0)
        begin = self._clock.begin(channel.tag, first, count=count, sample_rate=rate)
        kept = _KEPT.get(array.dtype.str[1:], np.float64)
        return _Burst(channel.tag, begin, rate, count, quality, array.astype(kept, copy=False))

    def _samples(
        self, columns: Columns, time: Integers, quality: NDArray[np.uint32], texts: dict[int, str], chosen: Booleans
    ) -> pl.DataFrame:
        if not chosen.any():
            return SCHEMA.to_frame()
        text = pl.Series([texts.get(place) for place in range(len(time))], dtype=pl.String()) if texts else None
        known = pl.Series(columns.is_number & (quality < BAD))
        frame = pl.DataFrame(
            {
                "tag": self._tags.gather(columns.handle),
                "timestamp": pl.Series(time),
                "value": pl.Series(columns.number),
                "text": text,
                "quality": pl.Series(quality),
            }
        )
        frame = frame.with_columns(value=pl.when(known).then("value"))
        return frame.filter(chosen).cast(SCHEMA)


def bad_rows(codes: Iterable[tuple[str, int]], *, at: datetime) -> RawRows:
    """Return a sample without a value for each (tag, status code), stamped `at`."""
    rows = [(tag, micros(at), None, None, code) for tag, code in codes]
    return RawRows(pl.DataFrame(rows, schema={**SCHEMA, "timestamp": pl.Int64()}, orient="row").cast(SCHEMA))


def _stretches(bursts: list[_Burst]) -> pl.DataFrame:
    """Encode the arrays of each type together, in order of their tags: a step per array would take longer than all."""
    by_type: dict[Any, list[_Burst]] = defaultdict(list)
    for burst in bursts:
        by_type[burst.values.dtype].append(burst)
    encoded = [WAVEFORM_SCHEMA.to_frame()]
    for alike in by_type.values():
        alike.sort(key=attrgetter("tag"))  # stable: the arrays of a tag stay in order
        heads = pl.DataFrame([burst[:-1] for burst in alike], schema=_HEADS, orient="row")
        encoded.append(encode(heads, np.concatenate([burst.values for burst in alike])))
    return pl.concat(encoded)
