"""Converts OPC UA values of publish responses to raw sample rows. Pure.

| value of the node | rows |
|---|---|
| number, boolean | one, in `value` |
| text, time, identifier, and integers that float64 cannot hold | one, in `text` |
| array of numbers of a tag with a sample rate | one an element, spaced by the rate from the value's timestamp |
| any other array | one, in `text` |
| anything with a Bad status | one, without value |

Nothing is rejected here; the contract rejects what does not fit its tag. The status code is the quality. The timestamp
is the source's; without one the server's; without either the time of reception.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
from asyncua import ua
from numpy.typing import NDArray

from bridge.drivers.opcua.stamps import Stamp
from historian.quality import BAD, BAD_NO_DATA, GOOD
from historian.samples import SCHEMA
from historian.times import micros

_NUMBERS: Final = {
    ua.VariantType[name]
    for name in ("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double")
}


@dataclass(frozen=True)
class Channel:
    """How to decode the values of one tag."""

    tag: str
    sample_rate: float | None = None
    stamp: Stamp = "first"
    """Whether an array's timestamp is that of its first or of its last element."""


def sample_rows(values: Iterable[tuple[Channel, ua.DataValue]], *, received: datetime) -> pl.DataFrame:
    """Return raw rows, columns of `samples.SCHEMA`, in the order of `values`; rows of arrays come last.

    Args:
        values: channel and value of each notification.
        received: the time of reception, for values without a timestamp.
    """
    singles: list[tuple[str, int, float | None, str | None, int]] = []
    bursts: list[pl.DataFrame] = []
    for channel, given in values:
        quality = given.StatusCode.value if given.StatusCode else GOOD
        at = micros(_timestamp(given, received))
        variant = given.Value if quality < BAD else None
        rate = channel.sample_rate
        if rate is None or variant is None or not _is_waveform(variant):
            singles.append((channel.tag, at, *_single(variant), quality))
        elif variant.Value:
            times = at + _offsets(len(variant.Value), rate, channel.stamp)
            bursts.append(_burst(channel.tag, times, variant.Value, quality))
        else:
            singles.append((channel.tag, at, None, None, BAD_NO_DATA))
    return pl.concat([_rows(singles), *bursts])


def bad_rows(codes: Iterable[tuple[str, int]], *, at: datetime) -> pl.DataFrame:
    """Return a row without a value for each (tag, status code), stamped `at`."""
    return _rows([(tag, micros(at), None, None, code) for tag, code in codes])


def _rows(singles: list[tuple[str, int, float | None, str | None, int]]) -> pl.DataFrame:
    return pl.DataFrame(singles, schema={**SCHEMA, "timestamp": pl.Int64()}, orient="row").cast(SCHEMA)


def _timestamp(given: ua.DataValue, received: datetime) -> datetime:
    # Servers without a timestamp may send the null DateTime, which is the year 1601.
    stamps = (given.SourceTimestamp, given.ServerTimestamp)
    return next((stamp for stamp in stamps if stamp and stamp.year > 1601), received)


def _is_waveform(variant: ua.Variant) -> bool:
    return bool(variant.is_array) and variant.VariantType in _NUMBERS and len(variant.Dimensions or [0]) == 1


def _offsets(count: int, rate: float, stamp: Stamp) -> NDArray[np.int64]:
    """Return the microseconds from the stamped element to each element: round(i * 1e6 / rate)."""
    steps = np.arange(count) - (count - 1 if stamp == "last" else 0)
    offsets: NDArray[np.int64] = np.rint(steps * 1e6 / rate).astype(np.int64)
    return offsets


def _burst(tag: str, times: NDArray[np.int64], elements: list[float], quality: int) -> pl.DataFrame:
    rows = pl.DataFrame({"timestamp": times, "value": np.asarray(elements, dtype=np.float64)})
    constants = {"tag": pl.lit(tag), "text": pl.lit(None), "quality": pl.lit(quality)}
    return rows.with_columns(**constants).select(SCHEMA.names()).cast(SCHEMA)


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
