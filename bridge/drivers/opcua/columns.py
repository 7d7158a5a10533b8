"""Notifications of a publish response to columns of numbers, without a Python object per value. Pure.

Where a notification begins depends on all before it, so one loop visits them and looks at two bytes each. Those that
are encoded alike are then decoded together. Arrays of numbers stay the bytes they are. What is neither a number, a text
nor an array of numbers is decoded by asyncua, and so is a whole message in which the loop loses its way.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, variant_from_binary
from numpy.typing import NDArray

from bridge.drivers.opcua.contents import EXACT, NUMBERS, Composed, Content, content_of, text_of
from bridge.drivers.opcua.messages import DATA_CHANGE, STATUS_CHANGE, UNDECODABLE, Message, parts_of
from historian.times import micros
from historian.waveforms.timing import Booleans, Floats, Integers

NEVER: Final = np.iinfo(np.int64).min
"""In `Columns.source` and `Columns.server`: no time was given."""

# The bits of a DataValue's encoding mask, in the order of its fields: OPC UA Part 6, 5.2.2.17.
_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
_TAIL: Final = (
    (_STATUS, "status", "<u4"),
    (_SOURCE, "source", "<i8"),
    (_SOURCE_PICO, "source_pico", "<u2"),
    (_SERVER, "server", "<i8"),
    (_SERVER_PICO, "server_pico", "<u2"),
)
_DEFINED: Final = 63
"""The bits of that mask that have a meaning."""
_BOOLEAN, _STRING = 1, 12
_ARRAY: Final = 0x80
"""Bit of a Variant's encoding byte; a matrix has a second bit for its dimensions."""
_BYTE: Final = np.dtype("u1")
_HEAD: Final = np.dtype([("handle", "<u4"), ("mask", "u1")])
"""What is before the value in a MonitoredItemNotification."""
_BARE: Final = np.dtype([("mask", "u1")])
"""The same of a DataValue on its own, as history has it."""
_SCALARS: Final[dict[int, np.dtype[Any]]] = {_BOOLEAN: np.dtype("u1"), **NUMBERS}
"""Number of a built-in type -> its bytes, of those that are one number."""
_EPOCH_US: Final = 11_644_473_600_000_000
"""Microseconds from 1601, where OPC UA's times begin, to 1970."""
_YEAR_1602: Final = 315_360_000_000_000
"""Servers without a timestamp may send the null DateTime, which is in the year 1601."""
_YEAR_9999: Final = 2_650_467_743_990_000_000
"""The last time that OPC UA distinguishes, in units of 100 ns."""


@dataclass(frozen=True)
class Columns:
    """Some notifications as columns, in the order in which they were sent."""

    handle: NDArray[np.uint32]
    """[n] ClientHandle."""
    status: NDArray[np.uint32]
    """[n] StatusCode; 0 is Good."""
    source: Integers
    """[n] the source's time, in microseconds since the epoch; else `NEVER`."""
    server: Integers
    """[n] the server's, likewise."""
    number: Floats
    """[n] the value, if it is a number that float64 can hold."""
    is_number: Booleans
    text: dict[int, str]
    """Index -> the value as text, of those that are neither such a number nor an array of numbers nor null."""
    array: dict[int, NDArray[Any]]
    """Index -> the elements of a one-dimensional array of numbers, in its own type."""
    composed: dict[int, Any]
    """Index -> a structure or list as asyncua decodes it."""

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The columns that have an element for every notification."""
        return self.handle, self.status, self.source, self.server, self.number, self.is_number

    @property
    def time(self) -> Integers:
        """[n] the source's time, else the server's, else `NEVER`."""
        return np.where(self.source == NEVER, self.server, self.source)

    @classmethod
    def empty(cls, size: int) -> Columns:
        """Return `size` notifications that are Good and have neither value nor time."""
        return cls(
            handle=np.zeros(size, np.uint32),
            status=np.zeros(size, np.uint32),
            source=np.full(size, NEVER),
            server=np.full(size, NEVER),
            number=np.zeros(size),
            is_number=np.zeros(size, np.bool_),
            text={},
            array={},
            composed={},
        )


def columns_of(message: Message) -> tuple[Columns, str]:
    """Decode the data changes of a message.

    Returns:
        The columns, and why the server ended the subscription; an empty text if it did not.

    Raises:
        Exception: neither this decoder nor asyncua's can read it; whatever asyncua raises.
    """
    found, ended = list[Columns](), ""
    try:
        for part in parts_of(message):
            if part.kind == DATA_CHANGE:
                found.append(_Decoder(message.body, part.start, part.end).columns())
            elif part.kind == STATUS_CHANGE:
                ended = ua.StatusCode(struct.unpack_from("<I", message.body, part.start)[0]).name
    except UNDECODABLE:
        return _by_asyncua(message)
    return joined(found), ended


def joined(parts: Sequence[Columns]) -> Columns:
    """Return several columns as one, in order."""
    if len(parts) == 1:
        return parts[0]
    stacked = Columns.empty(sum(len(part.handle) for part in parts))
    first = 0
    for part in parts:
        last = first + len(part.handle)
        for mine, theirs in zip(stacked.arrays, part.arrays, strict=True):
            mine[first:last] = theirs
        stacked.text.update((first + place, text) for place, text in part.text.items())
        stacked.array.update((first + place, array) for place, array in part.array.items())
        stacked.composed.update((first + place, content) for place, content in part.composed.items())
        first = last
    return stacked


def selected(columns: Columns, chosen: Booleans) -> Columns:
    """Return the notifications that are chosen, in order."""
    if chosen.all():
        return columns
    kept = np.flatnonzero(chosen)
    places = (
        dict(zip(kept.tolist(), range(len(kept)), strict=True))
        if columns.text or columns.array or columns.composed
        else {}
    )
    taken = Columns.empty(len(kept))
    for mine, theirs in zip(taken.arrays, columns.arrays, strict=True):
        mine[:] = theirs[kept]
    taken.text.update((places[place], text) for place, text in columns.text.items() if place in places)
    taken.array.update((places[place], array) for place, array in columns.array.items() if place in places)
    taken.composed.update((places[place], content) for place, content in columns.composed.items() if place in places)
    return taken


def data_values(body: bytes, start: int, end: int) -> Columns:
    """Decode an array of DataValues, as HistoryData has it: OPC UA Part 11, 6.6.2. All handles are 0.

    Args:
        body: the response that holds it.
        start: where the array's length begins.
        end: where the array ends.

    Raises:
        Exception: neither this decoder nor asyncua's can read it; whatever asyncua raises.
    """
    try:
        return _Decoder(body, start, end, _BARE).columns()
    except UNDECODABLE:
        values = struct_from_binary(ua.HistoryData, Buffer(body, start, end - start)).DataValues
        return columns_of_values([0] * len(values), values)


class _Decoder:
    """Decodes the body of one DataChangeNotification, or the DataValues of one HistoryData."""

    def __init__(self, body: bytes, start: int, end: int, head: np.dtype[Any] = _HEAD) -> None:
        (count,) = struct.unpack_from("<i", body, start)
        if count * head.itemsize > end - start:
            raise ValueError(f"{count:,} values cannot be in {end - start:,} bytes")
        self._body, self._start, self._end = body, start + 4, end
        self._head, self._before = head, head.itemsize - 1
        self._columns = Columns.empty(max(count, 0))
        self._longer: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        """Mask -> index, start and start of what follows the value, of values of variable length."""

    def columns(self) -> Columns:
        """Return the values in order."""
        starts, codes = self._layouts()
        for code in np.unique(codes).tolist():
            if code in _SIZES:
                places = np.flatnonzero(codes == code)
                self._decode_alike(code, places, starts[places])
        for mask, values in self._longer.items():
            places, begins, tails = np.array(values).T
            self._set_handles(places, self._records(begins, self._head))
            self._set_tails(places, self._records(tails, _tail(mask)))
        return self._columns

    def _layouts(self) -> tuple[Integers, Integers]:
        """Return where each value begins, and a number for how it is encoded; decode those of variable length."""
        body, at, before = self._body, self._start, self._before
        starts, codes = list[int](), list[int]()
        for place in range(len(self._columns.handle)):
            mask = body[at + before] & _DEFINED
            code = mask | body[at + before + 1] << 8 if mask & _VALUE else mask
            starts.append(at)
            codes.append(code)
            size = _SIZES.get(code)
            at = self._decode_longer(place, at) if size is None else at + before + size
        if at > self._end:
            raise ValueError(f"the values end {at - self._end} bytes after their notification")
        return np.array(starts, np.int64), np.array(codes, np.int64)

    def _decode_alike(self, code: int, places: Integers, starts: Integers) -> None:
        """Decode values of one layout of fixed length."""
        rows = self._records(starts, _layout(code, self._head))
        self._set_handles(places, rows)
        self._set_tails(places, rows)
        if code >> 8:
            self._set_numbers(places, rows["value"] != 0 if code >> 8 == _BOOLEAN else rows["value"])

    def _decode_longer(self, place: int, at: int) -> int:
        """Decode a value of variable length, but not what follows it; return where the next one begins."""
        head = at
        at += self._before
        body, mask, kind = self._body, self._body[at] & _DEFINED, self._body[at + 1]
        item = NUMBERS.get(kind & ~_ARRAY) if kind & _ARRAY else _BYTE if kind == _STRING else None
        (length,) = struct.unpack_from("<i", body, at + 2)
        begin = at + 6
        if item is None or length < 0:
            end = self._decode_by_asyncua(place, at + 1)
        elif kind == _STRING:
            end = begin + length
            self._columns.text[place] = body[begin:end].decode("utf-8", "replace")
        else:
            end = begin + length * item.itemsize
            self._columns.array[place] = np.frombuffer(body, item, length, begin)
        self._longer[mask].append((place, head, end))
        return end + _tail(mask).itemsize

    def _decode_by_asyncua(self, place: int, at: int) -> int:
        """Decode a Variant, but not the status and the times behind it, whose order asyncua mistakes."""
        buffer = Buffer(self._body, at, self._end - at)
        _set(self._columns, place, content_of(variant_from_binary(buffer)))
        end: int = buffer.cur_pos
        return end

    def _records(self, starts: Integers, layout: np.dtype[Any]) -> NDArray[Any]:
        """Return [rows] the records that begin at these bytes."""
        if not layout.itemsize:
            return np.empty(len(starts), layout)
        places = starts[:, None] + np.arange(layout.itemsize)
        records: NDArray[Any] = np.frombuffer(self._body, np.uint8)[places].view(layout)[:, 0]
        return records

    def _set_handles(self, places: Integers, rows: NDArray[Any]) -> None:
        if "handle" in (rows.dtype.names or ()):
            self._columns.handle[places] = rows["handle"]

    def _set_tails(self, places: Integers, rows: NDArray[Any]) -> None:
        """Set status and time from records with the fields of `_tail`."""
        names = rows.dtype.names or ()
        if "status" in names:
            self._columns.status[places] = rows["status"]
        for name in ("server", "source"):
            if name in names:
                known = rows[name] >= _YEAR_1602
                times = np.minimum(rows[name][known], _YEAR_9999) // 10 - _EPOCH_US
                getattr(self._columns, name)[places[known]] = times

    def _set_numbers(self, places: Integers, values: NDArray[Any]) -> None:
        self._columns.number[places] = values
        self._columns.is_number[places] = True
        if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
            for index in np.flatnonzero((values > EXACT) | (values < -EXACT)).tolist():
                _set(self._columns, int(places[index]), text_of(int(values[index])))


def _by_asyncua(message: Message) -> tuple[Columns, str]:
    """Decode a message as asyncua does."""
    items, ended = list[ua.MonitoredItemNotification](), ""
    result = struct_from_binary(ua.PublishResult, Buffer(message.body))
    for part in result.NotificationMessage.NotificationData or ():
        if isinstance(part, ua.DataChangeNotification):
            items += part.MonitoredItems
        elif isinstance(part, ua.StatusChangeNotification):
            ended = part.Status.name
    return columns_of_values([item.ClientHandle for item in items], [item.Value for item in items]), ended


def columns_of_values(handles: Sequence[int], values: Sequence[ua.DataValue]) -> Columns:
    """Return values that asyncua has decoded as columns."""
    columns = Columns.empty(len(values))
    columns.handle[:] = handles
    for place, given in enumerate(values):
        columns.status[place] = given.StatusCode.value if given.StatusCode else 0
        for times, stamp in ((columns.source, given.SourceTimestamp), (columns.server, given.ServerTimestamp)):
            times[place] = micros(stamp) if stamp and stamp.year > 1601 else NEVER
        _set(columns, place, content_of(given.Value))
    return columns


def _set(columns: Columns, place: int, content: Content) -> None:
    columns.is_number[place] = isinstance(content, float)
    if isinstance(content, float):
        columns.number[place] = content
    elif isinstance(content, str):
        columns.text[place] = content
    elif isinstance(content, Composed):
        columns.composed[place] = content.content
    elif content is not None:
        columns.array[place] = content


@cache
def _tail(mask: int) -> np.dtype[Any]:
    """Return what follows the value in a DataValue."""
    return np.dtype([(name, form) for bit, name, form in _TAIL if mask & bit])


@cache
def _layout(code: int, head: np.dtype[Any] = _BARE) -> np.dtype[Any]:
    """Return a value of fixed length with its head, by its mask and, above it, the type of its value."""
    mask, kind = code & 0xFF, code >> 8
    value = [("kind", "u1")] if mask & _VALUE else []
    value += [("value", _SCALARS[kind].str)] if kind else []
    return np.dtype([*head.descr, *value, *_tail(mask).descr])


_SIZES: Final = {
    mask | kind << 8: _layout(mask | kind << 8).itemsize
    for mask in range(_DEFINED + 1)
    for kind in ((0, *_SCALARS) if mask & _VALUE else (0,))
}
"""Code of a layout of fixed length -> its bytes from the mask on."""
