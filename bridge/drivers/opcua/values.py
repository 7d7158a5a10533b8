"""Converts OPC UA values of publish responses to raw rows. Pure.

| value of the node | rows |
|---|---|
| number, boolean | one sample, in `value` |
| text, time, identifier, and integers that float64 cannot hold | one sample, in `text` |
| array of numbers of a tag with a sample rate | one stretch, in the type of the array |
| any other array | one sample, in `text` |
| anything with a Bad status | one sample, without value |

Nothing is rejected here; the contract rejects what does not fit its tag. The status code is the quality. The timestamp
is the source's; without one the server's; without either the time of reception.

asyncua hands over an array as a list of Python numbers. It becomes an array in one call, and nothing else here is done
per value: that list is what bounds the number of channels.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from asyncua import ua
from numpy.typing import NDArray

from bridge.drivers.opcua.stamps import ArrayClock, Stamp
from bridge.drivers.raw_rows import RawRows
from historian.quality import BAD, BAD_NO_DATA, GOOD
from historian.samples import SCHEMA
from historian.times import micros
from historian.waveforms.batch import WAVEFORM_SCHEMA
from historian.waveforms.encoding import HEADS, encode
from historian.waveforms.timing import offsets_us

_FORMATS: Final = {
    ua.VariantType.SByte: ("b", np.int16),
    ua.VariantType.Byte: ("B", np.int16),
    ua.VariantType.Int16: ("h", np.int16),
    ua.VariantType.UInt16: ("H", np.float64),
    ua.VariantType.Int32: ("i", np.float64),
    ua.VariantType.UInt32: ("I", np.float64),
    ua.VariantType.Int64: ("q", np.float64),
    ua.VariantType.UInt64: ("Q", np.float64),
    ua.VariantType.Float: ("f", np.float32),
    ua.VariantType.Double: ("d", np.float64),
}
"""Type of a number -> its format in `struct`, and the type in which `encode` is given it: int16 and float32 are stored
as they are, float64 in the smallest type that holds its values."""
_HEADS: Final = {**HEADS, "timestamp": pl.Int64()}


@dataclass(frozen=True)
class Channel:
    """How to decode the values of one tag."""

    tag: str
    sample_rate: float | None = None
    stamp: Stamp = "first"
    """Whether an array's timestamp is that of its first or of its last element."""


class _Burst(NamedTuple):
    """An array of a waveform."""

    tag: str
    timestamp: int
    """Of its first element, in microseconds since the epoch."""
    sample_rate: float
    length: int
    quality: int
    values: NDArray[Any]


def raw_rows(values: Iterable[tuple[Channel, ua.DataValue, datetime]], clock: ArrayClock) -> RawRows:
    """Return the raw rows of some values, those of each kind in the order in which they are given.

    Args:
        values: channel, value and time of reception of each notification.
        clock: knows the arrays that came before.
    """
    singles: list[tuple[str, int, float | None, str | None, int]] = []
    bursts: list[_Burst] = []
    for channel, given, received in values:
        quality = given.StatusCode.value if given.StatusCode else GOOD
        at = micros(_timestamp(given, received))
        variant = given.Value if quality < BAD else None
        rate = channel.sample_rate
        if rate is None or variant is None or not _is_waveform(variant):
            singles.append((channel.tag, at, *_single(variant), quality))
        elif variant.Value:
            bursts.append(_burst(channel, at, rate, variant, quality, clock))
        else:
            singles.append((channel.tag, at, None, None, BAD_NO_DATA))
    return RawRows(_rows(singles), _stretches(bursts))


def bad_rows(codes: Iterable[tuple[str, int]], *, at: datetime) -> RawRows:
    """Return a sample without a value for each (tag, status code), stamped `at`."""
    return RawRows(_rows([(tag, micros(at), None, None, code) for tag, code in codes]))


def _rows(singles: list[tuple[str, int, float | None, str | None, int]]) -> pl.DataFrame:
    return pl.DataFrame(singles, schema={**SCHEMA, "timestamp": pl.Int64()}, orient="row").cast(SCHEMA)


def _timestamp(given: ua.DataValue, received: datetime) -> datetime:
    # Servers without a timestamp may send the null DateTime, which is the year 1601.
    stamps = (given.SourceTimestamp, given.ServerTimestamp)
    return next((stamp for stamp in stamps if stamp and stamp.year > 1601), received)


def _is_waveform(variant: ua.Variant) -> bool:
    return bool(variant.is_array) and variant.VariantType in _FORMATS and len(variant.Dimensions or [0]) == 1


def _burst(channel: Channel, at: int, rate: float, variant: ua.Variant, quality: int, clock: ArrayClock) -> _Burst:
    values = _numbers(variant)
    first = at - (int(offsets_us(np.array(len(values) - 1), rate)) if channel.stamp == "last" else 0)
    begin = clock.begin(channel.tag, first, count=len(values), sample_rate=rate)
    return _Burst(channel.tag, begin, rate, len(values), quality, values)


def _numbers(variant: ua.Variant) -> NDArray[Any]:
    """Return the elements of an array; `struct` takes a third of the time that NumPy takes with a list of numbers."""
    code, kept = _FORMATS[variant.VariantType]
    packed = struct.pack(f"<{len(variant.Value)}{code}", *variant.Value)
    return np.frombuffer(packed, f"<{code}").astype(kept, copy=False)


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


def _single(variant: ua.Variant | None) -> tuple[float | None, str | None]:
    """Return one value as (value, text): text if it is not a number, or a number that float64 cannot hold."""
    content = None if variant is None else variant.Value
    if content is None:
        return None, None
    if isinstance(content, (bool, int, float)) and (content != content or float(content) == content):
        return float(content), None
    return None, _text(content)


def _text(content: object) -> str:
    """Return text that is valid UTF-8: asyncua marks invalid bytes by lone surrogates."""
    return _words(content).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _words(content: object) -> str:
    match content:
        case datetime():
            return content.isoformat()
        case bytes():
            return content.hex()
        case ua.LocalizedText():
            return str(content.Text or "")
        case ua.QualifiedName():
            return str(content.Name or "")
        case ua.NodeId():
            return str(content.to_string())
    return str(content)
