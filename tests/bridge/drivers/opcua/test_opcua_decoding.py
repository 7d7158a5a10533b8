"""Our decoding of publish responses, compared with asyncua's on everything that a server may send."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, variant_to_binary
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.drivers.opcua.columns import NEVER, Columns, columns_of
from bridge.drivers.opcua.contents import Composed, content_of
from bridge.drivers.opcua.messages import Message
from historian.times import micros
from tests.bridge.drivers.opcua.encoded import changes, message, raw_message, response

T0 = datetime(2026, 3, 1, tzinfo=UTC)
V = ua.VariantType


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    """Integers of so many bits."""
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


texts = st.text(max_size=6)
FIXED: dict[ua.VariantType, st.SearchStrategy[Any]] = {
    V.Boolean: st.booleans(),
    V.SByte: integers(8, signed=True),
    V.Byte: integers(8, signed=False),
    V.Int16: integers(16, signed=True),
    V.UInt16: integers(16, signed=False),
    V.Int32: integers(32, signed=True),
    V.UInt32: integers(32, signed=False),
    V.Int64: integers(64, signed=True),
    V.UInt64: integers(64, signed=False),
    V.Float: st.floats(width=32),
    V.Double: st.floats(),
}
OTHERS: dict[ua.VariantType, st.SearchStrategy[Any]] = {
    V.Null: st.none(),
    V.String: texts | st.none() | st.binary(max_size=4).map(lambda each: each.decode(errors="surrogateescape")),
    V.DateTime: st.just(T0),
    V.Guid: st.just(uuid.UUID(int=7)),
    V.ByteString: st.binary(max_size=5) | st.none(),
    V.NodeId: texts.map(lambda text: ua.NodeId(text, 2)),
    V.ExpandedNodeId: st.just(ua.ExpandedNodeId(3, 1, NamespaceUri="urn:x")),
    V.StatusCode: st.just(ua.StatusCode(0x80000000)),
    V.QualifiedName: texts.map(lambda text: ua.QualifiedName(text, 2)),
    V.LocalizedText: texts.map(lambda text: ua.LocalizedText(text, "de")),
    V.ExtensionObject: st.sampled_from(
        [ua.EUInformation(UnitId=1), ua.ExtensionObject(ua.NodeId(99, 2), b"\x01\x02"), ua.Range(1.0, 2.0)]
    ),
    V.Variant: st.just(ua.Variant(1.5, V.Double)),
}


def variants(kind: ua.VariantType, contents: st.SearchStrategy[Any], *, array: bool) -> st.SearchStrategy[ua.Variant]:
    """Variants of one type."""
    many = st.lists(contents, max_size=5) if array else contents
    return many.map(lambda content: ua.Variant(content, kind, is_array=array))


LISTED = FIXED | {V.String: texts, V.DateTime: st.just(T0)}
scalars = st.one_of([variants(kind, contents, array=False) for kind, contents in (FIXED | OTHERS).items()])
arrays = st.one_of([variants(kind, contents, array=True) for kind, contents in LISTED.items()])
shaped = st.sampled_from(
    [
        ua.Variant([[1.0, 2.0], [3.0, 4.0]], V.Double),
        ua.Variant([1, 2, 3], V.Int16, Dimensions=[3], is_array=True),
        ua.Variant(None, V.Float, is_array=True),
    ]
)
filetimes = st.sampled_from([0, -1, 1, 315_359_999_999_999, 315_360_000_000_000, 2**63 - 1, 133_500_000_000_000_001])
FIELDS = (
    (2, "<I", st.sampled_from([0, 0x480, 0x40000000, 0x80340000, 2**32 - 1])),
    (4, "<q", filetimes),
    (16, "<H", integers(16, signed=False)),
    (8, "<q", filetimes),
    (32, "<H", integers(16, signed=False)),
)
"""Bit in the mask of a DataValue, format and content of its fields behind the value, in the order of Part 6."""
BY_ASYNCUA = (2, 4, 8, 16, 32)
"""The order in which asyncua reads them: it is wrong where there are picoseconds (as of 2.1)."""


@st.composite
def items(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """One MonitoredItemNotification, with any combination of fields; as we and as asyncua understand it."""
    handle, mask = draw(integers(32, signed=False)), draw(st.integers(0, 127))
    head = struct.pack("<IB", handle, mask)
    if mask & 1:
        head += variant_to_binary(draw(scalars | arrays | shaped))
    fields = {bit: struct.pack(form, draw(content)) for bit, form, content in FIELDS if mask & bit}
    theirs = (fields.get(bit, b"") for bit in BY_ASYNCUA)
    return head + b"".join(fields.values()), head + b"".join(theirs)


def by_asyncua(given_message: Message) -> list[tuple[Any, ...]]:
    """(handle, status, times, content) of each value, as asyncua decodes them."""
    result = struct_from_binary(ua.PublishResult, Buffer(given_message.body))
    found = [item for part in result.NotificationMessage.NotificationData for item in part.MonitoredItems]
    return [(item.ClientHandle, *_fields(item.Value), _plain(content_of(item.Value.Value))) for item in found]


def _fields(value: ua.DataValue) -> tuple[int, int, int]:
    stamps = (value.SourceTimestamp, value.ServerTimestamp)
    source, server = (micros(stamp) if stamp and stamp.year > 1601 else NEVER for stamp in stamps)
    return (value.StatusCode.value if value.StatusCode else 0), source, server


def by_us(columns: Columns) -> list[tuple[Any, ...]]:
    """The same as we decode them."""

    def content(place: int) -> Any:
        if place in columns.array:
            return columns.array[place]
        if place in columns.composed:
            return Composed(columns.composed[place])
        return columns.number[place].item() if columns.is_number[place] else columns.text.get(place)

    heads = zip(*(each.tolist() for each in columns.arrays[:4]), strict=True)
    return [(*head, _plain(content(place))) for place, head in enumerate(heads)]


def _plain(content: object) -> object:
    """Contents that compare: arrays with their type, and NaN equal to NaN."""
    if isinstance(content, np.ndarray):
        return content.dtype.str, content.tobytes()
    return repr(content) if isinstance(content, float) else content


@settings(max_examples=150)
@given(st.lists(items(), max_size=12))
def test_every_value_is_decoded_as_asyncua_decodes_it(encoded: list[tuple[bytes, bytes]]) -> None:
    """All built-in types, arrays, statuses, times with and without picoseconds, and values without any of them."""
    columns, ended = columns_of(raw_message([ours for ours, _ in encoded]))
    assert by_us(columns) == by_asyncua(raw_message([theirs for _, theirs in encoded]))
    assert ended == ""


def test_a_notification_that_does_not_say_its_length_is_decoded() -> None:
    """Some old servers write -1; asyncua reads it nevertheless."""
    item = struct.pack("<IBBd", 5, 1, 11, 2.5)
    columns, _ = columns_of(raw_message([item], length=-1))
    assert by_us(columns) == [(5, 0, NEVER, NEVER, "2.5")]


@pytest.mark.parametrize("cut", [13, 40])
def test_a_message_that_is_cut_off_is_an_error(cut: int) -> None:
    """Its values are not dropped in silence."""
    whole = message(response(changes([(number, ua.DataValue(ua.Variant(1.5))) for number in range(9)])))
    with pytest.raises(Exception, match=r".+"):
        columns_of(whole._replace(body=whole.body[:-cut]))


def test_a_value_that_ends_behind_its_notification_is_an_error() -> None:
    """Its bytes belong to something else."""
    item = struct.pack("<IBBd", 5, 1, 11, 2.5)
    with pytest.raises(Exception, match=r".+"):
        columns_of(raw_message([item], length=4 + len(item) - 1))


def test_a_subscription_that_ends_says_why() -> None:
    """Values that came with it are decoded first."""
    ended = ua.StatusChangeNotification(Status=ua.StatusCode(ua.StatusCodes.BadTimeout))
    value = ua.DataValue(ua.Variant(1.5), SourceTimestamp=T0)
    columns, why = columns_of(message(response(changes([(3, value)]), ended, changes([(4, value)]))))
    assert by_us(columns) == [(3, 0, micros(T0), NEVER, "1.5"), (4, 0, micros(T0), NEVER, "1.5")]
    assert why == "BadTimeout"


def test_the_arrays_of_a_message_are_not_copied() -> None:
    """This is what makes a channel of vibration cheap."""
    value = ua.DataValue(ua.Variant([1.5, 2.5], V.Float))
    given_message = message(response(changes([(0, value)])))
    columns, _ = columns_of(given_message)
    assert np.shares_memory(columns.array[0], np.frombuffer(given_message.body, np.uint8))
