"""Publish responses as a server encodes them, byte by byte where asyncua's encoder cannot vary."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary

from bridge.drivers.opcua.columns import columns_of
from bridge.drivers.opcua.messages import Message, message_of
from bridge.drivers.opcua.values import Channel, RowMaker
from bridge.drivers.raw_rows import RawRows
from historian.times import micros

NOW = datetime(2026, 3, 2, tzinfo=UTC)
SUBSCRIPTION = 7


def response(*parts: object, sequence: int = 1, available: Sequence[int] = ()) -> bytes:
    """A publish response with these notifications."""
    whole = ua.PublishResponse()
    whole.Parameters.SubscriptionId = SUBSCRIPTION
    whole.Parameters.AvailableSequenceNumbers = list(available)
    whole.Parameters.NotificationMessage.SequenceNumber = sequence
    whole.Parameters.NotificationMessage.NotificationData = list(parts)
    return bytes(struct_to_binary(whole))


def changes(values: Sequence[tuple[int, ua.DataValue]]) -> ua.DataChangeNotification:
    """A notification of (handle, value)."""
    return ua.DataChangeNotification(MonitoredItems=[ua.MonitoredItemNotification(*each) for each in values])


def message(encoded: bytes) -> Message:
    """A response as it is received."""
    return message_of(Buffer(encoded), NOW)


def raw_message(items: Sequence[bytes], *, length: int | None = None) -> Message:
    """A message of encoded MonitoredItemNotifications; `length` is what the notification says of itself."""
    body = struct.pack("<i", len(items)) + b"".join(items) + struct.pack("<i", -1)
    empty = message(response(ua.DataChangeNotification()))
    kind = struct.pack("<BBH", 1, 0, ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
    size = struct.pack("<Bi", 1, len(body) if length is None else length)
    diagnostics = struct.pack("<i", -1)
    return empty._replace(body=empty.body[: empty.start] + kind + size + body + struct.pack("<i", -1) + diagnostics)


def rows_of_values(values: Sequence[tuple[Channel, ua.DataValue]], received: datetime = NOW) -> RawRows:
    """What some values become on their way over the wire."""
    columns, _ = columns_of(message(response(changes(list(enumerate(value for _, value in values))))))
    return RowMaker([channel for channel, _ in values]).rows(columns, np.full(len(values), micros(received)))
