"""Converts decoded notifications to raw rows. Pure.

| value of the node | rows |
|---|---|
| number, boolean | one sample, in `value` |
| text, time, identifier, and integers beyond 2**53, not all of which float64 holds | one sample, in `text` |
| number of an enumeration, of a tag of kind state | one sample, its text in `text` |
| the field of a structure, or the element of an array, that the tag names | as a value of a node of its own |
| array of numbers of a tag with a sample rate | one stretch, in the type of the array |
| the same with integers beyond 2**53, any other array, a structure | one sample, in `text` |
| anything with a Bad status | one sample, without value |

Nothing is rejected here; the contract rejects what does not fit its tag. The status code is the quality. `clocks` has
the rules for timestamps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridge.drivers.opcua.clocks import DeviceClocks
from bridge.drivers.opcua.columns import Columns
from bridge.drivers.opcua.contents import Composed, are_exact, element_of, field_of, range_of, text_of
from bridge.drivers.opcua.driver import Timestamp
from bridge.drivers.opcua.heartbeats import Heartbeats
from bridge.drivers.opcua.stamps import ArrayClock, Stamp
from bridge.drivers.raw_rows import RawRows
from historian.quality import BAD, BAD_DECODING_ERROR, BAD_NO_DATA
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
    timestamp: Timestamp = "source"
    """Whose clock stamps the values."""
    index_range: str = ""
    """Part of an array that is requested, as OPC UA writes it; empty for all of it."""
    is_element: bool = False
    """Whether that part is one element."""
    field: str = ""
    """Field of a structure, by names separated by dots; empty for the whole."""
    deadband: float = 0.0
    """Smallest change to report."""
    is_percent: bool = False
    """Whether that is in percent of the node's range."""
    heartbeat_us: int = 0
    """How often an unchanged value is repeated, in microseconds; 0 for never."""
    wants_texts: bool = False
    """Whether the texts of an enumeration are wanted, instead of its numbers."""


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
    """Makes raw rows of the values of one source; it remembers what came before."""

    def __init__(self, channels: Sequence[Channel], *, from_history: bool = False) -> None:
        """Start a source whose handles are the indices of `channels`.

        Args:
            channels: how to decode the values of each tag.
            from_history: whether the values are read from a history, whose times are final.
        """
        self._channels = channels
        self._from_history = from_history
        self._tags = pl.Series("tag", [channel.tag for channel in channels], pl.String())
        self._arrays_clock = ArrayClock()
        self.clocks = DeviceClocks([channel.timestamp for channel in channels])
        self.heartbeats = Heartbeats(
            [channel.tag for channel in channels],
            [channel.heartbeat_us if channel.sample_rate is None else 0 for channel in channels],
        )
        self._has_parts = any(channel.index_range for channel in channels)
        self._texts = pl.DataFrame(schema={"handle": pl.UInt32(), "value": pl.Float64(), "text": pl.String()})

    def name_states(self, texts: Mapping[int, Mapping[int, str]]) -> None:
        """Set the texts of enumerations.

        Args:
            texts: handle -> number -> text.
        """
        rows = [(handle, float(number), text) for handle, named in texts.items() for number, text in named.items()]
        self._texts = pl.DataFrame(rows, schema=self._texts.schema, orient="row")

    def rows(self, columns: Columns, received: Integers) -> RawRows:
        """Return the raw rows of some values, those of each kind in the order in which they are given.

        Args:
            columns: the values.
            received: [n] when each was received, in microseconds since the epoch.

        Raises:
            IndexError: a value is of no channel.
        """
        columns = self._chosen(columns)
        time = columns.time if self._from_history else self.clocks.times(columns, received)
        quality = columns.status.copy()
        texts = {place: text for place, text in columns.text.items() if quality[place] < BAD}
        is_burst = np.zeros(len(time), np.bool_)
        bursts = list[_Burst]()
        for place, channel, array in self._arrays(columns):
            if channel.sample_rate is None or not are_exact(array):
                texts[place] = text_of(array.tolist())
            elif len(array):
                is_burst[place] = True
                bursts.append(self._burst(channel, int(time[place]), array, int(quality[place])))
            else:
                quality[place] = BAD_NO_DATA
        samples = self._samples(columns, time, quality, texts, ~is_burst)
        if not self._from_history:
            self.heartbeats.follow(columns.handle[~is_burst].astype(np.int64), samples, received[~is_burst])
        return RawRows(samples, _stretches(bursts))

    def _chosen(self, columns: Columns) -> Columns:
        """Return the columns with the elements and fields that channels name instead of arrays and structures."""
        if not columns.composed and not self._has_parts:
            return columns
        found = replace(
            columns,
            status=columns.status.copy(),
            number=columns.number.copy(),
            is_number=columns.is_number.copy(),
            text=dict(columns.text),
            array=dict(columns.array),
            composed={},
        )
        for place, content in columns.composed.items():
            _set_part(found, place, content, self._channels[columns.handle[place]])
        for place, array in columns.array.items():
            channel = self._channels[columns.handle[place]]
            if channel.is_element:
                del found.array[place]
                _set_part(found, place, array.tolist(), channel)
            elif channel.index_range and "," not in channel.index_range:
                found.array[place] = range_of(array, channel.index_range)
        return found

    def _arrays(self, columns: Columns) -> Iterator[tuple[int, Channel, NDArray[Any]]]:
        """Yield index, channel and elements of each array that is not Bad, in order."""
        for place, array in columns.array.items():
            if columns.status[place] < BAD:
                yield place, self._channels[columns.handle[place]], array

    def _burst(self, channel: Channel, at: int, array: NDArray[Any], quality: int) -> _Burst:
        rate, count = channel.sample_rate or 0.0, len(array)
        first = at - (int(offsets_us(np.array(count - 1), rate)) if channel.stamp == "last" else 0)
        begin = self._arrays_clock.begin(channel.tag, first, count=count, sample_rate=rate)
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
        if self._texts.height:
            frame = self._with_texts(frame, columns.handle)
        return frame.filter(chosen).cast(SCHEMA)

    def _with_texts(self, frame: pl.DataFrame, handle: NDArray[np.uint32]) -> pl.DataFrame:
        """Return samples in which the numbers of enumerations are their texts."""
        named = self._texts.rename({"text": "named"})
        joined = frame.with_columns(handle=pl.Series(handle)).join(
            named, on=["handle", "value"], how="left", maintain_order="left"
        )
        value = pl.when(pl.col("named").is_null()).then("value")
        return joined.select("tag", "timestamp", value, pl.coalesce("named", "text").alias("text"), "quality")


def _set_part(columns: Columns, place: int, content: Any, channel: Channel) -> None:
    """Set one place to the part of a structure or list that the channel names."""
    if channel.is_element:
        part = element_of(content, channel.index_range)
    else:
        part = field_of(content, channel.field) if channel.field else text_of(content)
    if isinstance(part, float):
        columns.number[place], columns.is_number[place] = part, True
    elif part is None:
        columns.status[place] = max(columns.status[place], BAD_DECODING_ERROR)
    else:
        columns.text[place] = text_of(part.content) if isinstance(part, Composed) else part


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
