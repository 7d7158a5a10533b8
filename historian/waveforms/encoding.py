"""Arrays -> rows of stretches, and back: bytes in the smallest encoding that loses nothing.

Everything works on whole arrays, and bytes are not copied on their way into a frame. Which encoding a stretch gets is
found in `choosing`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from historian.errors import InvalidInput
from historian.waveforms.batch import ITEM_BYTES, MAX_BYTES, WAVEFORM_SCHEMA
from historian.waveforms.choosing import ENCODINGS, LONGEST, Choice, chosen
from historian.waveforms.statistics import statistics
from historian.waveforms.timing import Floats, Integers, offsets_us, row_offsets, starts_us

HEADS: Final = pl.Schema(
    {name: WAVEFORM_SCHEMA[name] for name in ("tag", "timestamp", "sample_rate", "count", "quality")}
)
"""Columns of what `encode` takes: a stretch without its values; `count` may be of any length."""
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "int16": np.dtype("<i2"),
    "int16z": np.dtype("<i2"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
_VIEW: Final = np.dtype([("size", "<i4"), ("prefix", "<i4"), ("buffer", "<i4"), ("offset", "<i4")])
"""A value of an Arrow binary view that is longer than `_INLINE`."""
_INLINE: Final = 12

Array = npt.NDArray[Any]


class Decoded(NamedTuple):
    """The values of several stretches, one after the other."""

    values: Floats
    """[samples]"""
    offsets: Integers
    """[rows + 1] index of each row's first value; row i has the values from offsets[i] to offsets[i + 1]."""


class _Run(NamedTuple):
    """Rows that are encoded alike, and whose bytes lie together."""

    first: int
    last: int
    """The row after the last one."""
    encoding: str
    scale: float
    divisor: float


class _Memory(NamedTuple):
    """Where the bytes of rows are."""

    data: list[pa.Buffer]
    part: npt.NDArray[np.int32]
    """[rows] index into `data`."""
    start: Integers
    """[rows] index of the first byte."""
    size: Integers
    """[rows] number of bytes."""


def encode(heads: pl.DataFrame, values: Array, *, scale: float = 1.0, divisor: float = 1.0) -> pl.DataFrame:
    """Encode arrays as stretches, in the smallest of int16 with scale, float32 and float64 that keeps every bit.

    Stretches longer than `MAX_BYTES` are cut; the pieces join exactly.

    Args:
        heads: stretches without values, columns of `HEADS`, in any order; rows of one tag are best together.
        values: [samples] of all stretches in the order of `heads`. int16 is stored as it is, float32 at most as
            float32; everything else counts as float64.
        scale: for int16 values only, value = counts * scale / divisor.
        divisor: see `scale`.

    Returns:
        Columns of `WAVEFORM_SCHEMA` in the order of `heads`.

    Raises:
        InvalidInput: the counts of `heads` do not add up to the number of values, or a count is 0.
    """
    heads = heads.select(HEADS.names()).cast(HEADS)
    if heads["count"].sum() != len(values) or heads["count"].min() == 0:
        raise InvalidInput(f"stretches of {heads['count'].to_list()[:8]} samples do not match {len(values)} values")
    if heads.is_empty():
        return WAVEFORM_SCHEMA.to_frame()
    units = _cut_heads(heads, np.full(heads.height, LONGEST))
    choice = chosen(units["tag"], units["count"].to_numpy().astype(np.int64), values, scale, divisor)
    longest = MAX_BYTES // np.array([ITEM_BYTES[name] for name in ENCODINGS])[choice.encoding]
    code = (
        pl.Series("encoding", choice.encoding),
        pl.Series("scale", choice.scale),
        pl.Series("divisor", choice.divisor),
    )
    pieces = _cut_heads(units.with_columns(*code), longest)
    rows = _with_values(pieces, choice)
    found = statistics(values, rows["count"].to_numpy().astype(np.int64), (scale, divisor))
    return rows.with_columns(found).select(WAVEFORM_SCHEMA.names())


def decode(frame: pl.DataFrame, out: Floats | None = None) -> Decoded:
    """Decode the values of stretches to float64 at the speed of memory.

    Args:
        frame: rows with the columns `count`, `encoding`, `scale`, `divisor` and `values`.
        out: [samples] where the values are written; new memory if None, which costs more than decoding.
    """
    stored = Stored(frame)
    out = np.empty(len(stored)) if out is None else out
    stored.decode(0, len(stored), out)
    return Decoded(out, stored.offsets)


class Stored:
    """The values of several stretches, one after the other, of which any part is decoded at a time."""

    def __init__(self, frame: pl.DataFrame) -> None:
        """Find where the bytes are.

        Args:
            frame: rows with the columns `count`, `encoding`, `scale`, `divisor` and `values`.
        """
        self.offsets = row_offsets(frame["count"])
        """[rows + 1] index of each row's first value."""
        self._memory = _memory(frame["values"])
        self._runs = list(_runs(frame, self._memory))
        self._ends = [int(self.offsets[run.last]) for run in self._runs]

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self.offsets[-1])

    def decode(self, begin: int, stop: int, out: Floats) -> None:
        """Write the values from `begin` to `stop` - 1 to `out` as float64."""
        for run in self._runs[bisect_right(self._ends, begin) :]:
            first, last = int(self.offsets[run.first]), int(self.offsets[run.last])
            if first >= stop:
                return
            low, high = max(first, begin), min(last, stop)
            self._decode_run(run, low - first, out[low - begin : high - begin])

    def _decode_run(self, run: _Run, skipped: int, target: Floats) -> None:
        dtype = _DTYPES[run.encoding]
        start = int(self._memory.start[run.first]) + skipped * dtype.itemsize
        stored = np.frombuffer(self._memory.data[self._memory.part[run.first]], dtype, len(target), start)
        with np.errstate(over="ignore"):  # the count that stands for minus zero may have no finite value
            _convert(stored, run.scale, run.divisor, target)
        if run.encoding == "int16z":
            target[stored == np.iinfo(np.int16).min] = -0.0


def with_statistics(frame: pl.DataFrame) -> pl.DataFrame:
    """Compute `low`, `high`, `sum_squares` and `not_finite` of each row from its values, and replace what was there.

    Args:
        frame: rows with the columns that `decode` needs.
    """
    found = statistics(decode(frame).values, frame["count"].to_numpy().astype(np.int64))
    return frame.with_columns(found)


def _cut_heads(heads: pl.DataFrame, longest: Array) -> pl.DataFrame:
    """Cut stretches without values into pieces of at most `longest` [rows] samples; other columns are repeated."""
    counts = heads["count"].to_numpy().astype(np.int64)
    if (counts <= longest).all():
        return heads
    pieces = -(-counts // longest)
    row = np.repeat(np.arange(len(counts)), pieces)
    first = (np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * longest[row]
    start = starts_us(heads)[row] + offsets_us(first, heads["sample_rate"].to_numpy()[row])
    return heads[row].with_columns(
        timestamp=pl.Series(start).cast(WAVEFORM_SCHEMA["timestamp"]),
        count=pl.Series(np.minimum(counts[row] - first, longest[row]), dtype=WAVEFORM_SCHEMA["count"]),
    )


def _with_values(pieces: pl.DataFrame, choice: Choice) -> pl.DataFrame:
    """Add the bytes of each piece, and name its encoding."""
    counts, encoding = pieces["count"].to_numpy().astype(np.int64), pieces["encoding"].to_numpy()
    parts: list[pl.Series] = []
    order: list[Integers] = []
    for kind in np.unique(encoding).tolist():
        mine = encoding == kind
        values = choice.stored[kind] if mine.all() else choice.stored[kind][np.repeat(mine, counts)]
        parts.append(_binary(values.astype(_DTYPES[ENCODINGS[kind]], copy=False), counts[mine]))
        order.append(np.flatnonzero(mine))
    column = parts[0] if len(parts) == 1 else pl.concat(parts).gather(np.argsort(np.concatenate(order)))
    return pieces.with_columns(encoding=pl.Series(np.array(ENCODINGS)[encoding]), values=column)


def _binary(values: Array, counts: Integers) -> pl.Series:
    """Return the bytes of stretches that lie one after the other, without copying them."""
    offsets = np.concatenate(([0], np.cumsum(counts * values.itemsize)))
    data = pa.py_buffer(np.ascontiguousarray(values))
    array = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(counts), [None, pa.py_buffer(offsets), data])
    return pl.Series(array)


def _memory(column: pl.Series) -> _Memory:
    """Return where the bytes of each row are; copies only if a row is so short that Arrow keeps it elsewhere."""
    array = column.to_arrow(compat_level=pl.CompatLevel.newest())
    _, views, *data = array.buffers()
    view = np.frombuffer(views, _VIEW)[array.offset : array.offset + len(array)]
    if (view["size"] > _INLINE).all():
        return _Memory(data, view["buffer"], view["offset"].astype(np.int64), view["size"].astype(np.int64))
    array = column.to_arrow()
    _, offsets, together = array.buffers()
    edges = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return _Memory([together], np.zeros(len(array), np.int32), edges[:-1], np.diff(edges))


def _convert(stored: Array, scale: float, divisor: float, target: Floats) -> None:
    """Write stored values to `target` as float64; NumPy converts in pieces that stay in the cache."""
    if scale == divisor == 1.0:
        target[:] = stored
        return
    if scale != 1.0:
        np.multiply(stored, scale, out=target, dtype=np.float64)
    if divisor != 1.0:
        np.divide(stored if scale == 1.0 else target, divisor, out=target, dtype=np.float64)


def _runs(frame: pl.DataFrame, memory: _Memory) -> Iterator[_Run]:
    if frame.is_empty():
        return
    encoding, scale, divisor = frame["encoding"], frame["scale"].to_numpy(), frame["divisor"].to_numpy()
    alike = (scale[1:] == scale[:-1]) & (divisor[1:] == divisor[:-1]) & (encoding[1:] == encoding[:-1]).to_numpy()
    ends = memory.start + memory.size
    together = (memory.part[1:] == memory.part[:-1]) & (memory.start[1:] == ends[:-1])
    borders = [0, *(np.flatnonzero(~(alike & together)) + 1).tolist(), frame.height]
    for first, last in pairwise(borders):
        yield _Run(first, last, encoding[first], scale[first].item(), divisor[first].item())
